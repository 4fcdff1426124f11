#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *rows_suite(void);

enum { MANY = 400 };

struct op {
	struct store_rows_write op;
	struct store_row row;
	char key[16];
	uint32_t *answered;
	uint32_t order;
	bool is_done;
};

static struct op ops[MANY];
static struct ops_append appends[MANY];

static void on_done(struct msg *m)
{
	struct op *o = (struct op *)m;
	ck_assert(!o->is_done);
	o->is_done = true;
	o->order = (*o->answered)++;
}

static struct store_row row_of(const char *key, const char *content)
{
	return (struct store_row){.kind = STORE_ROW_GROUP,
				  .is_deleted = content == NULL,
				  .key = span_str(key),
				  .content = span_str(content)};
}

static void op_init(struct op *o, struct bed *b, const char *key, struct span content,
		    uint32_t *answered)
{
	*o = (struct op){.answered = answered};
	snprintf(o->key, sizeof o->key, "%s", key);
	o->row = (struct store_row){
		.kind = STORE_ROW_GROUP, .key = span_str(o->key), .content = content};
	o->op = (struct store_rows_write){
		.reply_to = &b->mb, .done = on_done, .rows = &o->row, .n = 1, .err = ERR_INTERNAL};
}

/* What a scan finds, as text: "shard key=content " sorted by nothing. */
struct found {
	struct store_rows_scan op;
	bool is_done;
	uint32_t n;
	uint32_t stop_after;
	uint32_t shard;
	char key[STORE_ROW_KEY_MAX + 1];
	char content[64];
};

static enum err on_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct found *f = arg;
	f->n++;
	f->shard = shard;
	ck_assert_int_eq(span_to_cstr(key, f->key, sizeof f->key), ERR_OK);
	content.n = content.n < sizeof f->content ? content.n : sizeof f->content - 1;
	ck_assert_int_eq(span_to_cstr(content, f->content, sizeof f->content), ERR_OK);
	return f->n == f->stop_after ? ERR_EOF : ERR_OK;
}

static void on_found(struct msg *m)
{
	((struct found *)m)->is_done = true;
}

static void scan(struct bed *b, uint8_t kind, struct found *f, enum err want)
{
	uint32_t stop_after = f->stop_after;
	*f = (struct found){.op = {.reply_to = &b->mb,
				   .done = on_found,
				   .kind = kind,
				   .row = on_row,
				   .arg = f,
				   .err = ERR_INTERNAL},
			    .stop_after = stop_after};
	shard_core_rows_scan(b->core, &f->op);
	ops_until(&b->mb, &f->is_done);
	ck_assert_int_eq(f->op.err, want);
}

static void expect(struct bed *b, const char *key, const char *content)
{
	struct found f = {.stop_after = 0};
	scan(b, STORE_ROW_GROUP, &f, ERR_OK);
	ck_assert_uint_eq(f.n, content != NULL);
	if (content != NULL) {
		ck_assert_str_eq(f.key, key);
		ck_assert_str_eq(f.content, content);
	}
}

START_TEST(a_row_is_written_replaced_and_deleted)
{
	struct bed b;
	bed_init(&b, 3);
	struct store_row row = row_of("a", "one");
	ck_assert_int_eq(bed_rows_write(&b, 2, &row, 1), ERR_OK);
	expect(&b, "a", "one");
	struct found f = {.stop_after = 0};
	scan(&b, STORE_ROW_OFFSET, &f, ERR_OK);
	ck_assert_uint_eq(f.n, 0);
	row = row_of("a", "");
	ck_assert_int_eq(bed_rows_write(&b, 2, &row, 1), ERR_OK);
	expect(&b, "a", "");
	/* In one write the later of one key counts. */
	struct store_row three[3] = {row_of("a", NULL), row_of("a", "two"), row_of("none", NULL)};
	ck_assert_int_eq(bed_rows_write(&b, 2, three, 3), ERR_OK);
	expect(&b, "a", "two");
	row = row_of("a", NULL);
	ck_assert_int_eq(bed_rows_write(&b, 1, &row, 1), ERR_OK);
	expect(&b, "a", "two");
	ck_assert_int_eq(bed_rows_write(&b, 2, &row, 1), ERR_OK);
	expect(&b, "a", NULL);
	ck_assert_int_eq(bed_rows_write(&b, 2, &row, 1), ERR_OK);
	row = row_of("a", "three");
	ck_assert_int_eq(bed_rows_write(&b, 2, &row, 1), ERR_OK);
	expect(&b, "a", "three");
	bed_fini(&b);
}
END_TEST

START_TEST(a_scan_ends_with_the_first_error)
{
	struct bed b;
	bed_init(&b, 4);
	for (uint32_t i = 0; i < 40; i++) {
		char key[8];
		snprintf(key, sizeof key, "k%u", i);
		struct store_row row = row_of(key, "x");
		ck_assert_int_eq(bed_rows_write(&b, i % 4, &row, 1), ERR_OK);
	}
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), 40);
	struct found f = {.stop_after = 25};
	scan(&b, STORE_ROW_GROUP, &f, ERR_EOF);
	ck_assert_uint_eq(f.n, 25);
	bed_fini(&b);
}
END_TEST

START_TEST(what_cannot_be_a_row_is_refused)
{
	struct bed b;
	bed_init(&b, 2);
	static uint8_t bytes[STORE_ROWS_MAX + 1];
	memset(bytes, 'x', sizeof bytes);
	struct store_row row = row_of("a", "x");
	struct store_row bad = row;
	ck_assert_int_eq(bed_rows_write(&b, 2, &row, 1), ERR_INVALID);
	bad.kind = STORE_ROW_PRODUCER;
	ck_assert_int_eq(bed_rows_write(&b, 0, &bad, 1), ERR_INVALID);
	bad.kind = 1;
	ck_assert_int_eq(bed_rows_write(&b, 0, &bad, 1), ERR_INVALID);
	bad = row;
	bad.key.n = 0;
	ck_assert_int_eq(bed_rows_write(&b, 0, &bad, 1), ERR_INVALID);
	bad = row;
	bad.is_deleted = true;
	ck_assert_int_eq(bed_rows_write(&b, 0, &bad, 1), ERR_INVALID);
	bad = row;
	bad.key = span_of(bytes, STORE_ROW_KEY_MAX + 1);
	struct store_row two[2] = {row, bad};
	ck_assert_int_eq(bed_rows_write(&b, 0, two, 2), ERR_INVALID);
	/* All or none. */
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), 0);
	uint64_t entries = bed_entries(&b);
	ck_assert_int_eq(bed_rows_write(&b, 0, NULL, 0), ERR_OK);
	ck_assert_uint_eq(bed_entries(&b), entries);
	bad.key.n = STORE_ROW_KEY_MAX;
	ck_assert_int_eq(bed_rows_write(&b, 0, &bad, 1), ERR_OK);
	bed_fini(&b);
}
END_TEST

START_TEST(a_write_has_its_bounds)
{
	struct bed b;
	bed_init(&b, 1);
	static uint8_t bytes[STORE_ROWS_MAX];
	static struct store_row rows[STORE_ROWS_COUNT + 1];
	memset(bytes, 'x', sizeof bytes);
	struct store_row big = row_of("a", "x");
	big.content = span_of(bytes, STORE_ROWS_MAX - 1);
	ck_assert_int_eq(bed_rows_write(&b, 0, &big, 1), ERR_OK);
	big.content = span_of(bytes, STORE_ROWS_MAX);
	ck_assert_int_eq(bed_rows_write(&b, 0, &big, 1), ERR_TOO_LARGE);
	for (uint32_t i = 0; i <= STORE_ROWS_COUNT; i++) {
		put_u32(bytes + (size_t)i * 4, i);
		rows[i] = row_of("a", "1234567890123456789012345678");
		rows[i].key = span_of(bytes + (size_t)i * 4, 4);
	}
	ck_assert_int_eq(bed_rows_write(&b, 0, rows, STORE_ROWS_COUNT), ERR_OK);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), STORE_ROWS_COUNT + 1);
	ck_assert_int_eq(bed_rows_write(&b, 0, rows, STORE_ROWS_COUNT + 1), ERR_TOO_LARGE);
	struct fake_counts c;
	fake_volume_counts(b.volume, &c);
	ck_assert_uint_le(c.size_max, LIMIT_ENTRY);
	bed_fini(&b);
}
END_TEST

START_TEST(writes_and_appends_take_turns)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_partition *p = bed_create(&b, "h", 1);
	fake_volume_hold(b.volume);
	static uint8_t bytes[50000];
	uint32_t answered = 0;
	enum { N = 100 };
	for (uint32_t i = 0; i < N; i++) {
		char key[8];
		snprintf(key, sizeof key, "k%u", i % 10);
		memset(bytes, 'x', sizeof bytes);
		op_init(&ops[i], &b, key, span_of(bytes, sizeof bytes), &answered);
		ops_append_init(&appends[i], p, &b.mb, i, 1, sizeof bytes, NULL);
		appends[i].answered = &answered;
	}
	/* All of one kind first. */
	for (uint32_t i = 0; i < N; i++) {
		shard_core_append(b.core, &appends[i].op);
	}
	for (uint32_t i = 0; i < N; i++) {
		shard_core_rows_write(b.core, &ops[i].op);
	}
	bed_on_core(&b, NULL, NULL);
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, 2 * N);
	uint32_t last_early = 0;
	for (uint32_t i = 0; i < N; i++) {
		ck_assert_int_eq(ops[i].op.err, ERR_OK);
		ck_assert_int_eq(appends[i].op.err, ERR_OK);
		ck_assert(i == 0 || ops[i].order > ops[i - 1].order);
		ck_assert(i == 0 || appends[i].order > appends[i - 1].order);
		last_early += ops[i].order < appends[N / 2].order + N / 4;
	}
	/* Half of the writes are answered by the time half of the appends are,
	 * but for what was in flight before the first write came. */
	ck_assert_uint_gt(last_early, N / 8);
	ck_assert_uint_lt(ops[0].order, N);
	struct fake_counts c;
	fake_volume_counts(b.volume, &c);
	ck_assert_uint_le(c.size_max, LIMIT_ENTRY);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), 10);
	store_partition_drop(&p);
	bed_fini(&b);
}
END_TEST

START_TEST(the_last_write_of_a_key_counts)
{
	struct bed b;
	bed_init(&b, 1);
	fake_volume_hold(b.volume);
	static char contents[MANY][8];
	uint32_t answered = 0;
	for (uint32_t i = 0; i < MANY; i++) {
		snprintf(contents[i], sizeof contents[i], "%u", i);
		op_init(&ops[i], &b, "same", span_str(contents[i]), &answered);
		if (i % 3 == 1) {
			ops[i].row.is_deleted = true;
			ops[i].row.content.n = 0;
		}
		shard_core_rows_write(b.core, &ops[i].op);
	}
	/* Nothing is visible before it is durable. */
	expect(&b, "same", NULL);
	fake_volume_release(b.volume);
	ops_until_count(&b.mb, &answered, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(ops[i].op.err, ERR_OK);
		ck_assert_uint_eq(ops[i].order, i);
	}
	expect(&b, "same", contents[MANY - 1]);
	bed_fini(&b);
}
END_TEST

static uint64_t free_bytes;

static bool free_space(const char *dir, uint64_t *out)
{
	(void)dir;
	*out = __atomic_load_n(&free_bytes, __ATOMIC_SEQ_CST);
	return true;
}

START_TEST(the_reserve_refuses_all_but_deletions)
{
	struct bed b;
	bed_init(&b, 1);
	struct store_row row = row_of("a", "x");
	ck_assert_int_eq(bed_rows_write(&b, 0, &row, 1), ERR_OK);
	bed_close(&b);
	free_bytes = 99;
	b.options.disk_reserve_bytes = 100;
	b.options.free_space = free_space;
	bed_open(&b);
	struct store_row two[2] = {row_of("a", NULL), row_of("b", "x")};
	ck_assert_int_eq(bed_rows_write(&b, 0, two, 2), ERR_QUOTA);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), 1);
	ck_assert_int_eq(bed_rows_write(&b, 0, two, 1), ERR_OK);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), 0);
	/* Between two looks what was taken counts. */
	bed_close(&b);
	free_bytes = 100 + 4096;
	bed_open(&b);
	int taken = 0;
	while (taken < 1000 && bed_rows_write(&b, 0, &row, 1) == ERR_OK) {
		taken++;
	}
	ck_assert_int_le(taken, 4096 / (SHARD_ROW_HEAD + 2));
	bed_fini(&b);
}
END_TEST

START_TEST(close_completes_what_waits)
{
	struct bed b;
	bed_init(&b, 2);
	uint32_t answered = 0;
	static char content[1000] = "x";
	for (uint32_t i = 0; i < MANY; i++) {
		char key[8];
		snprintf(key, sizeof key, "k%u", i);
		op_init(&ops[i], &b, key, span_of(content, sizeof content), &answered);
		ops[i].op.shard = i % 2;
	}
	for (uint32_t i = 0; i < MANY - 2; i++) {
		shard_core_rows_write(b.core, &ops[i].op);
	}
	shard_core_close(b.core);
	shard_core_rows_write(b.core, &ops[MANY - 2].op);
	ops[MANY - 1].op.n = 0;
	shard_core_rows_write(b.core, &ops[MANY - 1].op);
	ops_until_count(&b.mb, &answered, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		ck_assert_int_eq(ops[i].op.err, i < MANY - 2 ? ERR_OK : ERR_STOPPING);
	}
	struct found f = {.stop_after = 0};
	scan(&b, STORE_ROW_GROUP, &f, ERR_STOPPING);
	bed_close(&b);
	bed_open(&b);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), MANY - 2);
	bed_fini(&b);
}
END_TEST

START_TEST(rows_come_back_from_the_log)
{
	struct bed b;
	bed_init(&b, 3);
	enum { N = 300 };
	for (uint32_t i = 0; i < N; i++) {
		char key[8];
		snprintf(key, sizeof key, "k%u", i);
		struct store_row two[2] = {row_of(key, key), row_of(key, key)};
		two[1].kind = STORE_ROW_OFFSET;
		ck_assert_int_eq(bed_rows_write(&b, i % 3, two, 2), ERR_OK);
		if (i % 2 == 0) {
			two[0] = row_of(key, NULL);
			ck_assert_int_eq(bed_rows_write(&b, i % 3, two, 1), ERR_OK);
		}
	}
	bed_close(&b);
	bed_open(&b);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_OFFSET), N);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), N / 2);
	struct found f = {.stop_after = 1};
	scan(&b, STORE_ROW_GROUP, &f, ERR_EOF);
	ck_assert_str_eq(f.key, f.content);
	ck_assert_uint_eq((uint32_t)atoi(f.key + 1) % 3, f.shard);
	bed_fini(&b);
}
END_TEST

/* ---- the table itself ---------------------------------------------------- */

static uint32_t count_dirty(const struct shard *s)
{
	uint32_t n = 0;
	for (const struct shard_row *row = s->rows.dirty; row != NULL; row = row->next_dirty) {
		ck_assert(row->is_dirty);
		n++;
	}
	return n;
}

static const uint8_t payload[] = {
	STORE_ROW_GROUP, 0, 0, 1, 0, 0, 0, 3, 'a', 'o', 'n', 'e',	/* put */
	STORE_ROW_GROUP, 0, 0, 1, 0, 0, 0, 0, 'b',			/* put, empty */
	STORE_ROW_GROUP, 1, 0, 1, 0, 0, 0, 0, 'a',			/* delete */
};
enum { FIRST_ROW = 12, SECOND_ROW = 21 };

START_TEST(deleted_rows_stay_until_they_are_saved)
{
	struct shard s = {0};
	ck_assert_int_eq(shard_rows_load(&s, STORE_ROW_GROUP, span_str("a"), span_str("was")),
			 ERR_OK);
	ck_assert_int_eq(shard_rows_load(&s, STORE_ROW_GROUP, span_str("c"), span_str("was")),
			 ERR_OK);
	ck_assert_uint_eq(count_dirty(&s), 0);
	ck_assert_int_eq(shard_rows_replay(&s, span_of(payload, sizeof payload)), ERR_OK);
	ck_assert_uint_eq(count_dirty(&s), 2);
	ck_assert_uint_eq(s.rows.n, 3);
	shard_rows_all_dirty_core(&s);
	ck_assert_uint_eq(count_dirty(&s), 3);
	shard_rows_saved_core(&s);
	ck_assert_uint_eq(count_dirty(&s), 0);
	ck_assert_uint_eq(s.rows.n, 2);
	ck_assert_int_eq(shard_rows_replay(&s, span_of(payload, FIRST_ROW)), ERR_OK);
	ck_assert_uint_eq(count_dirty(&s), 1);
	ck_assert_uint_eq(s.rows.n, 3);
	shard_rows_fini(&s.rows);
}
END_TEST

START_TEST(a_damaged_payload_is_refused)
{
	uint8_t copy[sizeof payload];
	for (size_t n = 0; n < sizeof payload; n++) {
		struct shard s = {0};
		enum err want = n == 0 || n == FIRST_ROW || n == SECOND_ROW ? ERR_OK : ERR_CORRUPT;
		ck_assert_int_eq(shard_rows_replay(&s, span_of(payload, n)), want);
		shard_rows_fini(&s.rows);
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(copy, payload, sizeof copy);
			copy[n] ^= (uint8_t)(1U << bit);
			enum err e = shard_rows_replay(&s, span_of(copy, sizeof copy));
			ck_assert(e == ERR_OK || e == ERR_CORRUPT);
			shard_rows_fini(&s.rows);
		}
	}
	struct shard s = {0};
	ck_assert_int_eq(shard_rows_load(&s, 1, span_str("a"), span_str("")), ERR_CORRUPT);
	ck_assert_int_eq(shard_rows_load(&s, STORE_ROW_GROUP, span_str(""), span_str("")),
			 ERR_CORRUPT);
	shard_rows_fini(&s.rows);
}
END_TEST

START_TEST(short_memory_fails_the_start)
{
	for (long n = 1;; n++) {
		struct shard s = {0};
		mem_fault_at(n);
		enum err e = shard_rows_load(&s, STORE_ROW_GROUP, span_str("z"), span_str("x"));
		if (e == ERR_OK) {
			e = shard_rows_replay(&s, span_of(payload, sizeof payload));
		}
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		shard_rows_fini(&s.rows);
		if (!fired) {
			ck_assert_int_gt(n, 5);
			break;
		}
	}
}
END_TEST

static void fault_at(struct shard_core *core, void *arg)
{
	(void)core;
	mem_fault_at(*(long *)arg);
}

START_TEST(short_memory_costs_only_the_write_it_meets)
{
	struct bed b;
	bed_init(&b, 1);
	uint32_t want = 0;
	uint32_t failed = 0;
	for (long n = 1; n < 60; n++) {
		char keys[3][40];
		struct store_row rows[3];
		for (int i = 0; i < 3; i++) {
			snprintf(keys[i], sizeof keys[i], "%ld-%d", n, i);
			rows[i] = row_of(keys[i], "content");
		}
		long at = n % 14;
		bed_on_core(&b, fault_at, &at);
		enum err e = bed_rows_write(&b, 0, rows, 3);
		ck_assert(e == ERR_OK || e == ERR_NOMEM);
		failed += e != ERR_OK;
		want += e == ERR_OK ? 3 : 0;
		at = 0;
		bed_on_core(&b, fault_at, &at);
		ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), want);
	}
	ck_assert_uint_gt(failed, 10);
	ck_assert_uint_gt(want, 10);
	bed_close(&b);
	bed_open(&b);
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), want);
	bed_fini(&b);
}
END_TEST

static void count_slots(struct shard_core *core, void *arg)
{
	*(size_t *)arg = core->shards[0].rows.n_slots;
}

START_TEST(table_grows_with_its_rows_and_finds_them)
{
	enum { ROWS = 5000 };
	struct bed b;
	bed_init(&b, 1);
	static char keys[ROWS][16];
	static struct store_row rows[ROWS];
	for (uint32_t i = 0; i < ROWS; i++) {
		snprintf(keys[i], sizeof keys[i], "row-%u", i);
		rows[i] = row_of(keys[i], keys[i]);
	}
	/* 1, 2, 3, ... at a time: no step takes more slots than it brings rows. */
	size_t before = 0;
	uint32_t done = 0;
	for (uint32_t n = 1; done < ROWS; n++) {
		n = n < ROWS - done ? n : ROWS - done;
		ck_assert_int_eq(bed_rows_write(&b, 0, &rows[done], n), ERR_OK);
		done += n;
		size_t slots;
		bed_on_core(&b, count_slots, &slots);
		ck_assert_uint_ge(slots, done);
		ck_assert_uint_le(slots, before + n > 64 ? before + n : 64);
		before = slots;
	}
	ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		rows[i].is_deleted = true;
		rows[i].content = span_of(NULL, 0);
	}
	for (done = 0; done < ROWS; done += 1000) {
		ck_assert_int_eq(bed_rows_write(&b, 0, &rows[done], 1000), ERR_OK);
		ck_assert_uint_eq(bed_rows(&b, STORE_ROW_GROUP), ROWS - done - 1000);
	}
	bed_fini(&b);
}
END_TEST

Suite *rows_suite(void)
{
	Suite *s = suite_create("rows");
	TCase *t = tcase_create("rows");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_row_is_written_replaced_and_deleted);
	tcase_add_test(t, a_scan_ends_with_the_first_error);
	tcase_add_test(t, what_cannot_be_a_row_is_refused);
	tcase_add_test(t, a_write_has_its_bounds);
	tcase_add_test(t, writes_and_appends_take_turns);
	tcase_add_test(t, the_last_write_of_a_key_counts);
	tcase_add_test(t, the_reserve_refuses_all_but_deletions);
	tcase_add_test(t, close_completes_what_waits);
	tcase_add_test(t, rows_come_back_from_the_log);
	tcase_add_test(t, deleted_rows_stay_until_they_are_saved);
	tcase_add_test(t, a_damaged_payload_is_refused);
	tcase_add_test(t, short_memory_fails_the_start);
	tcase_add_test(t, short_memory_costs_only_the_write_it_meets);
	tcase_add_test(t, table_grows_with_its_rows_and_finds_them);
	suite_add_tcase(s, t);
	return s;
}
