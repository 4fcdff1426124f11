/* A store over several data directories: what each of them holds, and what becomes of
 * the rest when one cannot be used. */

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "test/lib/fake_sync.h"
#include "test/unit/store/store_bed.h"

Suite *volumes_suite(void);

enum { VOLUMES = 3, PARTITIONS = 9, SHARDS = 6 };

static void volumes_init(struct bed *b)
{
	bed_init(b);
	bed_volumes(b, VOLUMES);
	b->options.shards = SHARDS;
}

static const char *more_path(const struct bed *b, int at, const char *name)
{
	static char path[160];
	snprintf(path, sizeof path, "%s/%s", b->more[at], name);
	return path;
}

/* Which volume holds a partition of the hub. */
static uint32_t volume_of(struct bed *b, const char *hub, uint32_t partition)
{
	const struct catalog *c = store_catalog(b->store);
	const struct catalog_hub *h = catalog_hub_find(c, span_str(hub));
	ck_assert_ptr_nonnull(h);
	uint32_t volume = h->shards[partition] % VOLUMES;
	catalog_drop(&c);
	return volume;
}

static void append_all(struct bed *b, uint32_t n)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(b, "h", i);
		ck_assert_ptr_nonnull(p);
		ck_assert_int_eq(bed_append(b, p, bed_next_seq(p), n), ERR_OK);
		store_partition_drop(&p);
	}
}

static void check_all(struct bed *b, int64_t want)
{
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(b, "h", i);
		ck_assert_ptr_nonnull(p);
		ck_assert_int_eq(bed_next_seq(p), want);
		bed_check_all(b, p, want);
		store_partition_drop(&p);
	}
}

static void fill(struct bed *b)
{
	struct store_partition *p = bed_create(b, "h", PARTITIONS);
	store_partition_drop(&p);
	append_all(b, 10);
}

START_TEST(events_of_all_volumes_come_back)
{
	struct bed b;
	volumes_init(&b);
	bed_open(&b);
	ck_assert_uint_eq(store_volumes(b.store), VOLUMES);
	ck_assert_str_eq(store_volume_dir(b.store, 2), b.more[1]);
	fill(&b);
	bool is_used[VOLUMES] = {false};
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		is_used[volume_of(&b, "h", i)] = true;
	}
	ck_assert(is_used[0] && is_used[1] && is_used[2]);
	for (int round = 1; round < 4; round++) {
		bed_close(&b);
		bed_open(&b);
		check_all(&b, round * 10);
		append_all(&b, 10);
	}
	bed_fini(&b);
}
END_TEST

/* The process goes without a word. */
START_TEST(unclean_stop_loses_nothing_of_any_volume)
{
	struct bed b;
	volumes_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", PARTITIONS);
	store_partition_drop(&p);
	bed_close(&b);
	for (int round = 1; round < 4; round++) {
		pid_t child = fork();
		if (child == 0) {
			bed_open(&b);
			append_all(&b, 10);
			_exit(7);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
		struct stat st;
		ck_assert_int_ne(stat(more_path(&b, 0, "CLEAN"), &st), 0);
		bed_open(&b);
		check_all(&b, round * 10);
		bed_close(&b);
		ck_assert_int_eq(stat(more_path(&b, 0, "CLEAN"), &st), 0);
	}
	bed_fini(&b);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
	char command[400];
	snprintf(command, sizeof command, "cp '%s' '%s'", from, to);
	ck_assert_int_eq(system(command), 0);
}

/* Both copies of which segments a further volume has are spoilt; or put right. */
static void damage(struct bed *b, bool is_damaged)
{
	static const char *const names[] = {"volume/MANIFEST", "volume/MANIFEST.copy"};
	for (int i = 0; i < 2; i++) {
		char path[160];
		char aside[180];
		snprintf(path, sizeof path, "%s", more_path(b, 0, names[i]));
		snprintf(aside, sizeof aside, "%s/aside%d", b->root, i);
		if (is_damaged) {
			copy_file(path, aside);
			FILE *f = fopen(path, "r+");
			ck_assert_ptr_nonnull(f);
			fputs("#####", f);
			fclose(f);
		} else {
			copy_file(aside, path);
		}
	}
}

static enum err read_one(struct bed *b, struct store_partition *p)
{
	struct ops_read r = {.op = {.reply_to = &b->mb,
				    .done = ops_read_done,
				    .partition = p,
				    .max_bytes = 1 << 20}};
	store_read(b->store, &r.op);
	ops_until(&b->mb, &r.is_done);
	store_batches_drop(&r.op.out);
	return r.op.err;
}

static enum err seek_one(struct bed *b, struct store_partition *p)
{
	struct ops_seek s = {.op = {.reply_to = &b->mb, .done = ops_seek_done, .partition = p}};
	store_seek(b->store, &s.op);
	ops_until(&b->mb, &s.is_done);
	return s.op.err;
}

struct trim {
	struct store_trim op;
	bool is_done;
};

static void on_trimmed(struct msg *m)
{
	((struct trim *)(void *)m)->is_done = true;
}

static enum err trim_one(struct bed *b, struct store_partition *p)
{
	struct trim t = {.op = {.reply_to = &b->mb, .done = on_trimmed, .partition = p}};
	store_trim(b->store, &t.op);
	ops_until(&b->mb, &t.is_done);
	return t.op.err;
}

static unsigned told;

static void on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	told += level == LOG_ERROR && strstr(line, "STORE-VOLUME-OUT") != NULL &&
		strstr(line, "MANIFEST") != NULL;
}

START_TEST(damaged_further_volume_is_out_and_the_rest_serves)
{
	struct bed b;
	log_sink(on_line, NULL);
	volumes_init(&b);
	bed_open(&b);
	fill(&b);
	bed_close(&b);
	damage(&b, true);
	for (int round = 0; round < 2; round++) {
		bed_open(&b);
		ck_assert_int_eq(metric_get(METRIC_STORE_OFFLINE), 1);
		unsigned out = 0;
		for (uint32_t i = 0; i < PARTITIONS; i++) {
			struct store_partition *p = bed_find(&b, "h", i);
			ck_assert_ptr_nonnull(p);
			bool is_out = volume_of(&b, "h", i) == 1;
			enum err want = is_out ? ERR_OFFLINE : ERR_OK;
			int64_t next = 10 + round;
			ck_assert_int_eq(bed_append(&b, p, next, 1), want);
			ck_assert_int_eq(read_one(&b, p), want);
			ck_assert_int_eq(seek_one(&b, p), want);
			ck_assert_int_eq(trim_one(&b, p), want);
			const struct catalog *c = store_catalog(b.store);
			uint32_t shard = catalog_hub_find(c, span_str("h"))->shards[i];
			ck_assert(store_shard_is_out(b.store, shard) == is_out);
			catalog_drop(&c);
			out += is_out;
			if (!is_out) {
				bed_check_all(&b, p, next + 1);
			}
			store_partition_drop(&p);
		}
		ck_assert_uint_gt(out, 0);
		bed_close(&b);
		ck_assert_int_eq(metric_get(METRIC_STORE_OFFLINE), 0);
	}
	log_sink(NULL, NULL);
	ck_assert_uint_eq(told, 2);
	/* The disk is well again: nothing of it was lost. */
	damage(&b, false);
	bed_open(&b);
	ck_assert_int_eq(metric_get(METRIC_STORE_OFFLINE), 0);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(&b, "h", i);
		bed_check_all(&b, p, volume_of(&b, "h", i) == 1 ? 10 : 12);
		store_partition_drop(&p);
	}
	bed_fini(&b);
}
END_TEST

START_TEST(first_volume_that_is_damaged_is_refused)
{
	struct bed b;
	struct err_detail d;
	volumes_init(&b);
	bed_open(&b);
	fill(&b);
	bed_close(&b);
	for (int i = 0; i < 2; i++) {
		FILE *f = fopen(bed_path(&b, i == 0 ? "volume/MANIFEST" : "volume/MANIFEST.copy"), "r+");
		ck_assert_ptr_nonnull(f);
		fputs("#####", f);
		fclose(f);
	}
	ck_assert_int_eq(bed_try(&b, &d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "MANIFEST"));
	bed_fini(&b);
}
END_TEST

static int remove_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return type == FTW_F ? unlink(path) : 0;
}

/* As when the disk is mounted on its volume/ and is not now. */
START_TEST(further_volume_that_is_empty_is_refused)
{
	struct bed b;
	struct err_detail d;
	volumes_init(&b);
	bed_open(&b);
	fill(&b);
	bed_close(&b);
	ck_assert_int_eq(nftw(more_path(&b, 1, "volume"), remove_file, 8, FTW_DEPTH | FTW_PHYS), 0);
	ck_assert_int_eq(bed_try(&b, &d), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, "mounted"));
	ck_assert_ptr_nonnull(strstr(d.text, b.more[1]));
	bed_fini(&b);
}
END_TEST

/* At each sync of the directories, and a few moments between. */
START_TEST(founding_that_ends_anywhere_can_be_repeated)
{
	bool ended = false;
	for (unsigned at = 1; !ended; at++) {
		struct bed b;
		volumes_init(&b);
		pid_t child = fork();
		if (child == 0) {
			struct err_detail d;
			fake_sync_exit_at(at);
			_exit(store_open(&b.options, &b.store, &d) == ERR_OK ? 7 : 1);
		}
		int status;
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 1);
		ended = WEXITSTATUS(status) == 7;
		bed_open(&b);
		fill(&b);
		bed_close(&b);
		bed_open(&b);
		check_all(&b, 10);
		bed_fini(&b);
		ck_assert_uint_lt(at, 300);
	}
}
END_TEST

Suite *volumes_suite(void)
{
	Suite *s = suite_create("volumes");
	TCase *t = tcase_create("volumes");
	tcase_set_timeout(t, 240);
	tcase_add_test(t, events_of_all_volumes_come_back);
	tcase_add_test(t, unclean_stop_loses_nothing_of_any_volume);
	tcase_add_test(t, damaged_further_volume_is_out_and_the_rest_serves);
	tcase_add_test(t, first_volume_that_is_damaged_is_refused);
	tcase_add_test(t, further_volume_that_is_empty_is_refused);
	tcase_add_test(t, founding_that_ends_anywhere_can_be_repeated);
	suite_add_tcase(s, t);
	return s;
}
