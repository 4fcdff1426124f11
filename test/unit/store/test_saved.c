#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "test/unit/store/store_bed.h"

Suite *saved_suite(void);

/* Rows, producer ids and timestamps over restarts, on a real disk. The content of
 * a row is its key and the round that wrote it. */

enum { KEYS = 40, SHARDS = 4, IDS = 100 };

struct write {
	struct store_rows_write op;
	bool is_done;
};

static void on_written(struct msg *m)
{
	((struct write *)m)->is_done = true;
}

/* Round r writes the keys from r on and deletes the one before. */
static void write_round(struct bed *b, uint32_t round)
{
	for (uint32_t k = 0; k < KEYS; k++) {
		char key[16];
		char content[32];
		snprintf(key, sizeof key, "key-%u", k);
		snprintf(content, sizeof content, "%u of %u", k, round);
		struct store_row row = {.kind = STORE_ROW_OFFSET,
					.key = span_str(key),
					.content = span_str(content)};
		if (k + 1 == round) {
			row.is_deleted = true;
			row.content = span_of(NULL, 0);
		} else if (k < round) {
			continue;
		}
		struct write w = {.op = {.reply_to = &b->mb,
					 .done = on_written,
					 .shard = k % SHARDS,
					 .rows = &row,
					 .n = 1}};
		store_rows_write(b->store, &w.op);
		ops_until(&b->mb, &w.is_done);
		ck_assert_int_eq(w.op.err, ERR_OK);
	}
}

struct scan {
	struct store_rows_scan op;
	uint32_t round;
	uint32_t n;
	bool is_done;
};

static enum err on_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct scan *s = arg;
	char text[64];
	char want[32];
	unsigned k;
	ck_assert_int_eq(span_to_cstr(key, text, sizeof text), ERR_OK);
	ck_assert_int_eq(sscanf(text, "key-%u", &k), 1);
	ck_assert_uint_ge(k, s->round);
	ck_assert_uint_eq(shard, k % SHARDS);
	snprintf(want, sizeof want, "%u of %u", k, s->round);
	ck_assert(span_eq_str(content, want));
	s->n++;
	return ERR_OK;
}

static void on_scanned(struct msg *m)
{
	((struct scan *)m)->is_done = true;
}

static void check_round(struct bed *b, uint32_t round)
{
	struct scan s = {.op = {.reply_to = &b->mb,
				.done = on_scanned,
				.kind = STORE_ROW_OFFSET,
				.row = on_row,
				.arg = &s},
			 .round = round};
	store_rows_scan(b->store, &s.op);
	ops_until(&b->mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	ck_assert_uint_eq(s.n, KEYS - round);
}

static int64_t take_ids(struct bed *b)
{
	struct ops_command c = {
		.op = {.reply_to = &b->mb,
		       .done = ops_command_done,
		       .command = {.op = CATALOG_PRODUCER_IDS, .producer_ids = IDS}}};
	store_command(b->store, &c.op);
	ops_until(&b->mb, &c.is_done);
	ck_assert_int_eq(c.op.err, ERR_OK);
	return c.op.command.first_producer_id;
}

/* Rows of round `first`, which the state takes while we wait, and of the next. */
static void child_main(struct bed *b, uint32_t first)
{
	enum { SAVED_MS = 1500 };
	bed_open(b);
	write_round(b, first);
	int64_t id = take_ids(b);
	usleep(SAVED_MS * 1000);
	write_round(b, first + 1);
	_exit(take_ids(b) == id + IDS ? 0 : 1);
}

static void run_and_die(struct bed *b, uint32_t first)
{
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		child_main(b, first);
	}
	int status;
	waitpid(child, &status, 0);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void spoil(const char *path)
{
	FILE *f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	for (int i = 0; i < 16384; i++) {
		fputc(0x5a, f);
	}
	fclose(f);
}

START_TEST(rows_before_and_after_the_saved_index_are_there)
{
	struct bed b;
	bed_init(&b);
	uint32_t round = 0;
	for (int i = 0; i < 2; i++) {
		run_and_die(&b, round);
		round += 2;
		bed_open(&b);
		check_round(&b, round - 1);
		bed_close(&b);
		/* From the log alone. */
		spoil(bed_path(&b, "volume/state/data.mdb"));
		bed_open(&b);
		check_round(&b, round - 1);
		write_round(&b, round++);
		bed_close(&b);
		/* From the state that was made anew. */
		bed_open(&b);
		check_round(&b, round - 1);
		bed_close(&b);
	}
	bed_open(&b);
	ck_assert_int_eq(take_ids(&b), 4 * IDS);
	bed_fini(&b);
}
END_TEST

static int64_t seek(struct bed *b, struct store_partition *p, enum store_seek_by by, int64_t ms)
{
	struct ops_seek s = {.op = {.reply_to = &b->mb,
				    .done = ops_seek_done,
				    .partition = p,
				    .by = by,
				    .after_ms = ms,
				    .seq = -1}};
	store_seek(b->store, &s.op);
	ops_until(&b->mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	return s.op.seq;
}

START_TEST(timestamps_are_sought_before_and_after_a_restart)
{
	enum { BATCHES = 5 };
	static const int64_t ms[BATCHES] = {500, 900, 100, 900, 300};
	struct bed b;
	bed_init(&b);
	bed_open(&b);
	struct store_partition *p = bed_create(&b, "h", 1);
	ck_assert_int_eq(seek(&b, p, STORE_SEEK_TIMESTAMP, 0), 0);
	ck_assert_int_eq(seek(&b, p, STORE_SEEK_MAX_TIMESTAMP, 0), 0);
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.max_timestamp_ms, INT64_MIN);
	for (int i = 0; i < BATCHES; i++) {
		struct ops_append a;
		ops_append_init(&a, p, &b.mb, 2 * i, 2, 20, NULL);
		a.op.encoding = BATCH_KAFKA;
		a.op.may_merge = false;
		batch_seal(a.op.batch->data, a.op.batch_len, ms[i]);
		store_append(b.store, &a.op);
		ops_until(&b.mb, &a.is_done);
		ck_assert_int_eq(a.op.err, ERR_OK);
	}
	for (int i = 0; i < 2; i++) {
		store_partition_position(p, &at);
		ck_assert_int_eq(at.max_timestamp_ms, 900);
		ck_assert_int_eq(seek(&b, p, STORE_SEEK_TIMESTAMP, 0), 0);
		ck_assert_int_eq(seek(&b, p, STORE_SEEK_TIMESTAMP, 501), 2);
		ck_assert_int_eq(seek(&b, p, STORE_SEEK_TIMESTAMP, 900), 2);
		ck_assert_int_eq(seek(&b, p, STORE_SEEK_TIMESTAMP, 901), 2 * BATCHES);
		ck_assert_int_eq(seek(&b, p, STORE_SEEK_MAX_TIMESTAMP, 0), 2);
		ck_assert_int_eq(seek(&b, p, STORE_SEEK_APPEND_TIME, 901), 0);
		store_partition_drop(&p);
		bed_close(&b);
		bed_open(&b);
		p = bed_find(&b, "h", 0);
	}
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

/* ---- a state that is damaged ----------------------------------------------------- */

static uint8_t *image;
static size_t image_n;

static void image_take(const char *path)
{
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
	image_n = (size_t)ftell(f);
	rewind(f);
	image = mem_alloc(image_n);
	ck_assert_ptr_nonnull(image);
	ck_assert_uint_eq(fread(image, 1, image_n, f), image_n);
	fclose(f);
}

static void image_give(const char *path)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(image, 1, image_n, f), image_n);
	fclose(f);
}

static bool is_there(struct bed *b, const char *name)
{
	return access(bed_path(b, name), F_OK) == 0;
}

/* Rounds of rows with two exports between them; the last round is in the log alone
 * until the store is closed. Hub "h" has events. */
static uint32_t fill(struct bed *b)
{
	uint32_t round = 0;
	b->options.export_interval_ms = 10;
	bed_open(b);
	struct store_partition *p = bed_create(b, "h", 2);
	ck_assert_int_eq(bed_append(b, p, 0, 3), ERR_OK);
	for (int i = 1; !is_there(b, "volume/export/0000000002.exp"); i++) {
		ck_assert_int_eq(bed_append(b, p, 3 * i, 3), ERR_OK);
		usleep(1000);
	}
	store_partition_drop(&p);
	bed_close(b);
	b->options.export_interval_ms = (int64_t)3600 * 1000;
	bed_open(b);
	while (round < 4) {
		write_round(b, round++);
	}
	bed_close(b);
	return round - 1;
}

static void check_filled(struct bed *b, uint32_t round)
{
	check_round(b, round);
	struct store_partition *p = bed_find(b, "h", 1);
	ck_assert_ptr_nonnull(p);
	store_partition_drop(&p);
	p = bed_find(b, "h", 0);
	ck_assert_ptr_nonnull(p);
	bed_check_all(b, p, bed_next_seq(p));
	ck_assert_int_gt(bed_next_seq(p), 0);
	store_partition_drop(&p);
}

START_TEST(every_flipped_bit_of_the_state_is_harmless_or_made_good)
{
	enum { FLIPS = 160, META_USED = 160, PAGE = 4096 };
	struct bed b;
	uint32_t seed = 31;
	uint32_t made_good = 0;
	bed_init(&b);
	uint32_t round = fill(&b);
	char path[160];
	snprintf(path, sizeof path, "%s", bed_path(&b, "volume/state/data.mdb"));
	image_take(path);
	for (int i = 0; i < FLIPS; i++) {
		seed = seed * 1664525 + 1013904223;
		size_t at = (seed >> 4) % image_n;
		if (i % 4 == 0) {
			at = (seed >> 4) % META_USED + (i % 8 == 0 ? PAGE : 0);
		} else if (i % 4 == 1) {
			at = at / PAGE * PAGE + at % 48;
		}
		image[at] ^= (uint8_t)(1U << (seed >> 28) % 8);
		image_give(path);
		image[at] ^= (uint8_t)(1U << (seed >> 28) % 8);
		bed_open(&b);
		check_filled(&b, round);
		bed_close(&b);
		/* And what was made stays. */
		made_good += is_there(&b, "volume/state.damaged");
		if (is_there(&b, "volume/state.damaged")) {
			ck_assert_int_eq(unlink(bed_path(&b, "volume/state.damaged/data.mdb")), 0);
			ck_assert_int_eq(rmdir(bed_path(&b, "volume/state.damaged")), 0);
			bed_open(&b);
			check_filled(&b, round);
			bed_close(&b);
		}
	}
	ck_assert_uint_gt(made_good, FLIPS / 8);
	mem_free(image);
	bed_fini(&b);
}
END_TEST

static void flip_one(const char *path)
{
	FILE *f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 70, SEEK_SET), 0);
	int c = fgetc(f);
	ck_assert_int_eq(fseek(f, 70, SEEK_SET), 0);
	fputc(c ^ 1, f);
	fclose(f);
}

/* Numbers of the two exports, older first; 0: there is none. */
static void find_exports(struct bed *b, unsigned at[2])
{
	unsigned n = 0;
	at[0] = 0;
	at[1] = 0;
	for (unsigned i = 1; i < 1000 && n < 2; i++) {
		char name[64];
		snprintf(name, sizeof name, "volume/export/%010u.exp", i);
		if (is_there(b, name)) {
			at[n++] = i;
		}
	}
}

START_TEST(a_lost_state_is_made_of_an_export_and_the_log)
{
	struct bed b;
	bed_init(&b);
	uint32_t round = fill(&b);
	unsigned at[2];
	for (int damaged = 0; damaged < 3; damaged++) {
		find_exports(&b, at);
		ck_assert_uint_ne(at[1], 0);
		for (int i = 0; i < damaged; i++) {
			char name[64];
			snprintf(name, sizeof name, "volume/export/%010u.exp", at[1 - i]);
			flip_one(bed_path(&b, name));
		}
		spoil(bed_path(&b, "volume/state/data.mdb"));
		bed_open(&b);
		check_filled(&b, round);
		bed_close(&b);
		bed_open(&b);
		check_filled(&b, round);
		write_round(&b, ++round);
		bed_close(&b);
		for (int i = 0; i < damaged; i++) {
			char name[64];
			snprintf(name, sizeof name, "volume/export/%010u.exp", at[1 - i]);
			flip_one(bed_path(&b, name));
		}
	}
	bed_fini(&b);
}
END_TEST

/* ---- when the log does not go back to its begin any more ------------------------- */

struct trim {
	struct store_trim op;
	bool is_done;
};

static void on_trimmed(struct msg *m)
{
	((struct trim *)m)->is_done = true;
}

static void trim(struct bed *b, struct store_partition *p, int64_t before_seq)
{
	struct trim t = {.op = {.reply_to = &b->mb,
				.done = on_trimmed,
				.partition = p,
				.before_seq = before_seq,
				.err = ERR_INTERNAL}};
	store_trim(b->store, &t.op);
	ops_until(&b->mb, &t.is_done);
	ck_assert_int_eq(t.op.err, ERR_OK);
}

/* Events of hub "h" and rows of the last round; the first segment is gone. */
static uint32_t fill_and_clean(struct bed *b, int64_t *next_seq)
{
	enum { EVENTS = 1000, WAIT_MS = 20000 };
	uint32_t round = 0;
	b->options.export_interval_ms = 20;
	b->options.clean_pause_ms = 10;
	b->options.segment_max_bytes = 1 << 20;
	bed_open(b);
	struct store_partition *p = bed_create(b, "h", 2);
	int64_t seq = 0;
	for (int i = 0; i < 60; i++, seq += EVENTS) {
		ck_assert_int_eq(bed_append(b, p, seq, EVENTS), ERR_OK);
		if (i % 10 == 0) {
			write_round(b, round++);
		}
	}
	trim(b, p, seq - EVENTS);
	for (int i = 0; is_there(b, "volume/segments/0000000001.mdb"); i++) {
		/* Exports are made while something moves. */
		ck_assert_int_lt(i, WAIT_MS / 10);
		ck_assert_int_eq(bed_append(b, p, seq++, 1), ERR_OK);
		usleep(10000);
	}
	write_round(b, round);
	*next_seq = bed_next_seq(p);
	ck_assert_int_eq(*next_seq, seq);
	store_partition_drop(&p);
	b->options.export_interval_ms = (int64_t)3600 * 1000;
	bed_close(b);
	return round;
}

static void check_cleaned(struct bed *b, uint32_t round, int64_t *next_seq)
{
	check_round(b, round);
	struct store_partition *p = bed_find(b, "h", 0);
	ck_assert_ptr_nonnull(p);
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_eq(at.next_seq, *next_seq);
	ck_assert_int_gt(at.first_seq, 0);
	ck_assert_int_eq(bed_append(b, p, *next_seq, 1), ERR_OK);
	ck_assert_int_eq(bed_next_seq(p), ++*next_seq);
	store_partition_drop(&p);
}

START_TEST(a_lost_state_is_made_good_though_the_log_was_cleaned)
{
	struct bed b;
	struct err_detail d;
	unsigned at[2];
	int64_t next_seq;
	char names[2][64];
	bed_init(&b);
	uint32_t round = fill_and_clean(&b, &next_seq);
	find_exports(&b, at);
	ck_assert_uint_ne(at[1], 0);
	for (int i = 0; i < 2; i++) {
		snprintf(names[i], sizeof names[i], "volume/export/%010u.exp", at[1 - i]);
	}
	for (int damaged = 0; damaged < 2; damaged++) {
		spoil(bed_path(&b, "volume/state/data.mdb"));
		bed_open(&b);
		check_cleaned(&b, round, &next_seq);
		bed_close(&b);
		bed_open(&b);
		check_cleaned(&b, round, &next_seq);
		bed_close(&b);
		flip_one(bed_path(&b, names[damaged]));
	}
	spoil(bed_path(&b, "volume/state/data.mdb"));
	ck_assert_int_eq(bed_try(&b, &d), ERR_CORRUPT);
	ck_assert_msg(strstr(d.text, "no export that reaches") != NULL, "%s", d.text);
	flip_one(bed_path(&b, names[0]));
	bed_open(&b);
	check_cleaned(&b, round, &next_seq);
	bed_fini(&b);
}
END_TEST

START_TEST(short_memory_fails_a_start_from_an_export)
{
	struct bed b;
	struct err_detail d;
	bed_init(&b);
	uint32_t round = fill(&b);
	bool fired = true;
	for (long n = 1; fired; n += 1 + n / 8) {
		/* It is not there when the last try ended after it was put aside. */
		if (is_there(&b, "volume/state/data.mdb")) {
			spoil(bed_path(&b, "volume/state/data.mdb"));
		}
		mem_fault_at(n);
		enum err e = bed_try(&b, &d);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_msg(e == ERR_OK || (fired && e == ERR_NOMEM), "%s", d.text);
		if (e == ERR_OK) {
			check_filled(&b, round);
			bed_close(&b);
		}
	}
	bed_open(&b);
	check_filled(&b, round);
	bed_fini(&b);
}
END_TEST

Suite *saved_suite(void)
{
	Suite *s = suite_create("saved");
	TCase *t = tcase_create("saved");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, rows_before_and_after_the_saved_index_are_there);
	tcase_add_test(t, timestamps_are_sought_before_and_after_a_restart);
	tcase_add_test(t, every_flipped_bit_of_the_state_is_harmless_or_made_good);
	tcase_add_test(t, a_lost_state_is_made_of_an_export_and_the_log);
	tcase_add_test(t, a_lost_state_is_made_good_though_the_log_was_cleaned);
	tcase_add_test(t, short_memory_fails_a_start_from_an_export);
	suite_add_tcase(s, t);
	return s;
}
