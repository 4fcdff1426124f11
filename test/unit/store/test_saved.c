#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

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

Suite *saved_suite(void)
{
	Suite *s = suite_create("saved");
	TCase *t = tcase_create("saved");
	tcase_set_timeout(t, 120);
	tcase_add_test(t, rows_before_and_after_the_saved_index_are_there);
	tcase_add_test(t, timestamps_are_sought_before_and_after_a_restart);
	suite_add_tcase(s, t);
	return s;
}
