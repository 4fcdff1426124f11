#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/verify.h"
#include "store_bed.h"

Suite *store_verify_suite(void);

enum { FINDINGS = 100, TEXT = 400, EVENTS = 400, PARTITIONS = 4, EVENT = 500, CLEAN_MS = 20 };

struct found {
	struct store_verify_finding f;
	char dir[TEXT];
	char file[TEXT];
	char what[TEXT];
	char hub[TEXT];
};

static struct bed bed;
static struct found found[FINDINGS];
static uint32_t n_found;
static struct store_verify_result result;
static uint64_t progressed;

static void setup(void)
{
	bed_init(&bed);
	bed.options.segment_max_bytes = 256 << 10;
	bed.options.clean_pause_ms = CLEAN_MS;
	bed.options.export_interval_ms = 4 * CLEAN_MS;
	bed.options.retention_check_ms = CLEAN_MS;
}
static void teardown(void)
{
	bed_fini(&bed);
}

static void on_finding(void *arg, const struct store_verify_finding *f)
{
	(void)arg;
	if (n_found < FINDINGS) {
		struct found *to = &found[n_found++];
		to->f = *f;
		snprintf(to->dir, TEXT, "%s", f->dir);
		snprintf(to->file, TEXT, "%s", f->file);
		snprintf(to->what, TEXT, "%s", f->what);
		snprintf(to->hub, TEXT, "%s", f->hub != NULL ? f->hub : "");
	}
}

static void on_progress(void *arg, uint64_t done, uint64_t all)
{
	(void)arg;
	ck_assert_uint_le(done, all);
	ck_assert_uint_ge(done, progressed);
	progressed = done;
}

static enum err verify(struct err_detail *d)
{
	const char *dirs[1 + BED_MORE] = {bed.dir};
	for (uint32_t i = 0; i < bed.options.n_more_dirs; i++) {
		dirs[1 + i] = bed.more[i];
	}
	struct store_verify_options o = {
		.dirs = dirs,
		.n_dirs = 1 + bed.options.n_more_dirs,
		.finding = on_finding,
		.progress = on_progress,
	};
	n_found = 0;
	progressed = 0;
	return store_verify(&o, &result, d);
}

static void verify_finds(uint64_t least, uint64_t most)
{
	struct err_detail d;
	enum err e = verify(&d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	if (result.findings < least || result.findings > most) {
		for (uint32_t i = 0; i < n_found; i++) {
			fprintf(stderr, "  %s/%s: %s\n", found[i].dir, found[i].file, found[i].what);
		}
	}
	ck_assert_uint_ge(result.findings, least);
	ck_assert_uint_le(result.findings, most);
}

static void append(struct store_partition *p, int64_t first, uint32_t n)
{
	struct ops_append a;
	ops_append_init(&a, p, &bed.mb, first, n, EVENT, NULL);
	store_append(bed.store, &a.op);
	ops_until(&bed.mb, &a.is_done);
	ck_assert_int_eq(a.op.err, ERR_OK);
}

struct trim {
	struct store_trim op;	/* first */
	bool is_done;
};

static void on_trimmed(struct msg *m)
{
	((struct trim *)(void *)m)->is_done = true;
}

static void trim(struct store_partition *p, int64_t before_seq)
{
	struct trim t = {.op = {.reply_to = &bed.mb,
				.done = on_trimmed,
				.partition = p,
				.before_seq = before_seq}};
	store_trim(bed.store, &t.op);
	ops_until(&bed.mb, &t.is_done);
	ck_assert_int_eq(t.op.err, ERR_OK);
}

/* Events in every partition of a new hub, over several segments. */
static void fill(const char *hub)
{
	struct store_partition *p = bed_create(&bed, hub, PARTITIONS);
	store_partition_drop(&p);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		p = bed_find(&bed, hub, i);
		for (int64_t at = 0; at < EVENTS; at += 50) {
			append(p, at, 50);
		}
		store_partition_drop(&p);
	}
}

static void segment_file(const char *dir, bool is_last, const char *suffix, char *out, size_t n)
{
	char path[200];
	snprintf(path, sizeof path, "%s/volume/segments", dir);
	struct dirent **list;
	int count = scandir(path, &list, NULL, alphasort);
	ck_assert_int_gt(count, 0);
	out[0] = '\0';
	for (int i = 0; i < count; i++) {
		const char *dot = strrchr(list[i]->d_name, '.');
		if (dot != NULL && strcmp(dot, suffix) == 0 && (is_last || out[0] == '\0')) {
			snprintf(out, n, "%s/%.40s", path, list[i]->d_name);
		}
		free(list[i]);
	}
	free(list);
	ck_assert(out[0] != '\0');
}

START_TEST(sound_store_has_no_findings)
{
	bed_open(&bed);
	fill("orders");
	fill("Logs");
	bed_close(&bed);
	verify_finds(0, 0);
	ck_assert_uint_eq(result.events, 2 * PARTITIONS * EVENTS);
	ck_assert_uint_eq(result.partitions, 2 * PARTITIONS);
	ck_assert_uint_eq(result.volumes, 1);
	ck_assert_uint_gt(result.bytes, 0);
	/* And it opens as one that was stopped in order. */
	bed_open(&bed);
	bed_close(&bed);
	verify_finds(0, 0);
}
END_TEST

START_TEST(used_store_is_refused)
{
	struct err_detail d;
	bed_open(&bed);
	ck_assert_int_eq(verify(&d), ERR_IN_USE);
	ck_assert_ptr_nonnull(strstr(d.text, bed.dir));
	bed_close(&bed);
	snprintf(bed.dir, sizeof bed.dir, "%s/nowhere", bed.root);
	ck_assert_int_eq(verify(&d), ERR_NOT_FOUND);
}
END_TEST

/* Retention and deletion leave gaps that are none. */
START_TEST(removed_events_are_not_missing)
{
	bed_open(&bed);
	fill("orders");
	fill("gone");
	fill("logs");
	char first[256];
	segment_file(bed.dir, false, ".mdb", first, sizeof first);
	struct catalog_command del = {.op = CATALOG_HUB_DELETE};
	snprintf(del.hub, sizeof del.hub, "gone");
	ck_assert_int_eq(bed_command(&bed, &del), ERR_OK);
	for (uint32_t i = 0; i < PARTITIONS; i++) {
		struct store_partition *p = bed_find(&bed, "orders", i);
		trim(p, EVENTS - 7);
		store_partition_drop(&p);
	}
	bed_close(&bed);
	verify_finds(0, 0);
	bed_open(&bed);
	for (int i = 0; i < 20000 && access(first, F_OK) == 0; i++) {
		usleep(1000);
	}
	ck_assert_int_ne(access(first, F_OK), 0);
	bed_close(&bed);
	verify_finds(0, 0);
	ck_assert_uint_lt(result.events, 3 * PARTITIONS * EVENTS);
	bed_open(&bed);
	bed_close(&bed);
	verify_finds(0, 0);
}
END_TEST

START_TEST(lost_events_are_named)
{
	char path[256];
	bed_open(&bed);
	fill("orders");
	bed_close(&bed);
	segment_file(bed.dir, false, ".mdb", path, sizeof path);
	ck_assert_int_eq(unlink(path), 0);
	verify_finds(1, 100);
	uint64_t lost = 0;
	for (uint32_t i = 0; i < n_found; i++) {
		ck_assert_str_eq(found[i].dir, bed.dir);
		if (found[i].f.has_part) {
			ck_assert_str_eq(found[i].hub, "orders");
			ck_assert_int_lt(found[i].f.first_seq, found[i].f.end_seq);
			ck_assert_int_le(found[i].f.end_seq, EVENTS);
			lost += (uint64_t)(found[i].f.end_seq - found[i].f.first_seq);
		}
	}
	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_eq(lost + result.events, PARTITIONS * EVENTS);
}
END_TEST

START_TEST(damaged_state_is_repairable)
{
	char path[256];
	bed_open(&bed);
	fill("orders");
	bed_close(&bed);
	snprintf(path, sizeof path, "%s", bed_path(&bed, "volume/state/data.mdb"));
	ck_assert_int_eq(truncate(path, 5000), 0);
	verify_finds(1, 1);
	ck_assert(found[0].f.is_repairable);
	ck_assert_str_eq(found[0].file, "volume/state/data.mdb");
	/* As it says. */
	bed_open(&bed);
	bed_close(&bed);
	verify_finds(0, 0);
}
END_TEST

START_TEST(all_volumes_are_checked)
{
	char path[256];
	bed_volumes(&bed, 3);
	bed_open(&bed);
	fill("orders");
	bed_close(&bed);
	verify_finds(0, 0);
	ck_assert_uint_eq(result.volumes, 3);
	ck_assert_uint_eq(result.events, PARTITIONS * EVENTS);
	segment_file(bed.more[1], true, ".mdb", path, sizeof path);
	int fd = open(path, O_RDWR);
	uint8_t byte = 0xff;
	ck_assert_int_eq(pwrite(fd, &byte, 1, 40), 1);	/* the size of its pages */
	close(fd);
	verify_finds(1, 100);
	for (uint32_t i = 0; i < n_found; i++) {
		ck_assert_str_eq(found[i].dir, bed.more[1]);
	}
}
END_TEST

/* The log ends before what the state knows. */
START_TEST(older_log_is_found)
{
	char path[256];
	char aside[300];
	char copy[700];
	bed_open(&bed);
	struct store_partition *p = bed_create(&bed, "orders", 1);
	bed_close(&bed);
	store_partition_drop(&p);
	segment_file(bed.dir, true, ".mdb", path, sizeof path);
	snprintf(aside, sizeof aside, "%s/aside", bed.root);
	snprintf(copy, sizeof copy, "cp %s %s", path, aside);
	ck_assert_int_eq(system(copy), 0);
	bed_open(&bed);
	p = bed_find(&bed, "orders", 0);
	ck_assert_int_eq(bed_append(&bed, p, 0, 10), ERR_OK);
	store_partition_drop(&p);
	bed_close(&bed);
	verify_finds(0, 0);
	ck_assert_int_eq(rename(aside, path), 0);
	verify_finds(1, 100);
	ck_assert_ptr_nonnull(strstr(found[0].what, "acknowledged entries are lost"));
}
END_TEST

Suite *store_verify_suite(void)
{
	Suite *s = suite_create("store_verify");
	TCase *t = tcase_create("verify");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, sound_store_has_no_findings);
	tcase_add_test(t, used_store_is_refused);
	tcase_add_test(t, removed_events_are_not_missing);
	tcase_add_test(t, lost_events_are_named);
	tcase_add_test(t, damaged_state_is_repairable);
	tcase_add_test(t, all_volumes_are_checked);
	tcase_add_test(t, older_log_is_found);
	suite_add_tcase(s, t);
	return s;
}
