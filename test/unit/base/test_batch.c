#include "base/batch.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "suites.h"

enum { MAX = 1 << 20 };

/* A batch of these values, unsealed. The caller drops it. */
static struct buf *batch_of(const char *const *values, size_t n)
{
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 16, MAX);
	for (size_t i = 0; i < n; i++) {
		struct span s = span_str(values[i]);
		batch_builder_add(&b, &s, 1);
	}
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	batch_builder_fini(&b);
	return out;
}

static struct span span_of_buf(const struct buf *b)
{
	return span_of(b->data, b->len);
}

static const char *const three[] = {"one", "", "three"};

START_TEST(built_batch_is_walked_back)
{
	struct buf *b = batch_of(three, 3);
	batch_seal(b->data, b->len, 1700000000123);
	batch_place(b->data, 77);
	ck_assert_int_eq(batch_check(span_of_buf(b)), ERR_OK);
	struct batch_head h;
	ck_assert_int_eq(batch_head_read(span_of_buf(b), &h), ERR_OK);
	ck_assert_int_eq(h.base_offset, 77);
	ck_assert_uint_eq(h.total, b->len);
	ck_assert_uint_eq(h.attributes, 0);
	ck_assert_int_eq(h.last_offset_delta, 2);
	ck_assert_int_eq(h.count, 3);
	ck_assert_int_eq(h.base_timestamp, 1700000000123);
	ck_assert_int_eq(h.max_timestamp, 1700000000123);
	ck_assert_int_eq(h.producer_id, -1);
	ck_assert_int_eq(h.producer_epoch, -1);
	ck_assert_int_eq(h.base_sequence, -1);
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(batch_iter_init(&it, span_of_buf(b)), ERR_OK);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_int_eq(rec.timestamp, 1700000000123);
		ck_assert_int_eq(rec.offset_delta, i);
		ck_assert(!rec.has_key);
		ck_assert(rec.has_value);
		ck_assert(span_eq_str(rec.value, three[i]));
		ck_assert_int_eq(rec.header_count, 0);
		ck_assert_uint_eq(rec.headers.n, 0);
	}
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_EOF);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_EOF);
	buf_drop(&b);
}
END_TEST

/* Field by field as the protocol's description has it; the sum by another
 * implementation. */
START_TEST(bytes_of_a_batch_are_the_known_ones)
{
	static const uint8_t want[] = {
		0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 58, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0, 0, 0, 1,
		16, 0, 0, 0, 1, 4, 'h', 'i', 0,
	};
	static const char *const values[] = {"hi"};
	struct buf *b = batch_of(values, 1);
	batch_seal(b->data, b->len, 9);
	batch_place(b->data, 5);
	ck_assert_uint_eq(b->len, sizeof want);
	ck_assert_mem_eq(b->data, want, 17);
	ck_assert_mem_eq(b->data + 21, want + 21, sizeof want - 21);
	ck_assert_uint_eq(get_u32(b->data + 17), crc32c(0, want + 21, sizeof want - 21));
	buf_drop(&b);
}
END_TEST

START_TEST(parts_are_joined_into_one_value)
{
	struct span parts[] = {span_str("ab"), span_of(NULL, 0), span_str("cde")};
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 0, MAX);
	batch_builder_add(&b, parts, 3);
	batch_builder_add(&b, NULL, 0);
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(batch_iter_init(&it, span_of_buf(out)), ERR_OK);
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	ck_assert(span_eq_str(rec.value, "abcde"));
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
	ck_assert(rec.has_value);
	ck_assert_uint_eq(rec.value.n, 0);
	buf_drop(&out);
	batch_builder_fini(&b);
}
END_TEST

START_TEST(merge_numbers_records_anew)
{
	static const char *const two[] = {"four", "five"};
	struct buf *first = batch_of(three, 3);
	struct buf *second = batch_of(two, 2);
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 16, MAX);
	batch_builder_merge(&b, span_of_buf(first));
	batch_builder_merge(&b, span_of_buf(second));
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	batch_seal(out->data, out->len, 1);
	ck_assert_int_eq(batch_check(span_of_buf(out)), ERR_OK);
	static const char *const all[] = {"one", "", "three", "four", "five"};
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(batch_iter_init(&it, span_of_buf(out)), ERR_OK);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_int_eq(rec.offset_delta, i);
		ck_assert(span_eq_str(rec.value, all[i]));
	}
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_EOF);
	buf_drop(&first);
	buf_drop(&second);
	buf_drop(&out);
	batch_builder_fini(&b);
}
END_TEST

START_TEST(merge_of_a_malformed_batch_spoils_the_builder)
{
	struct buf *bad = batch_of(three, 3);
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 16, MAX);
	batch_builder_merge(&b, span_of(bad->data, bad->len - 1));
	ck_assert_int_eq(b.err, ERR_DECODE);
	batch_builder_merge(&b, span_of_buf(bad));
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_DECODE);
	ck_assert_ptr_null(out);
	batch_builder_fini(&b);
	batch_builder_fini(&b);
	bad->data[22] = 1;
	batch_builder_init(&b, 16, MAX);
	batch_builder_merge(&b, span_of_buf(bad));
	ck_assert_int_eq(b.err, ERR_NOT_IMPLEMENTED);
	batch_builder_fini(&b);
	buf_drop(&bad);
}
END_TEST

START_TEST(batch_is_built_up_to_its_bound)
{
	enum { RECORD = 9 };	/* around two bytes, as the known bytes above show */
	for (int over = -1; over <= 1; over++) {
		struct batch_builder b;
		struct buf *out = NULL;
		struct span s = span_str("hi");
		batch_builder_init(&b, 0, (size_t)(BATCH_HEAD + 2 * RECORD + over));
		batch_builder_add(&b, &s, 1);
		ck_assert_int_eq(b.err, ERR_OK);
		batch_builder_add(&b, &s, 1);
		ck_assert_int_eq(b.err, over < 0 ? ERR_TOO_LARGE : ERR_OK);
		batch_builder_add(&b, &s, 1);
		ck_assert_int_eq(b.err, ERR_TOO_LARGE);
		ck_assert_int_eq(b.count, over < 0 ? 1 : 2);
		ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_TOO_LARGE);
		batch_builder_fini(&b);
	}
}
END_TEST

START_TEST(sizes_that_would_overflow_are_too_large)
{
	struct batch_builder b;
	/* Never read: the sizes alone decide. */
	struct span parts[] = {span_of("x", SIZE_MAX), span_of("x", SIZE_MAX)};
	batch_builder_init(&b, 0, MAX);
	batch_builder_add(&b, parts, 2);
	ck_assert_int_eq(b.err, ERR_TOO_LARGE);
	batch_builder_fini(&b);
	parts[0].n = MAX;
	parts[1].n = 1;
	batch_builder_init(&b, SIZE_MAX, MAX);
	batch_builder_add(&b, parts, 2);
	ck_assert_int_eq(b.err, ERR_TOO_LARGE);
	batch_builder_fini(&b);
	batch_builder_init(&b, 0, 0);
	batch_builder_add(&b, NULL, 0);
	ck_assert_int_eq(b.err, ERR_TOO_LARGE);
	batch_builder_fini(&b);
}
END_TEST

START_TEST(empty_and_finished_builders_give_nothing)
{
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 0, MAX);
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_INVALID);
	batch_builder_fini(&b);
	batch_builder_init(&b, 0, MAX);
	batch_builder_add(&b, NULL, 0);
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	struct buf *second = NULL;
	batch_builder_add(&b, NULL, 0);
	ck_assert_int_eq(batch_builder_finish(&b, &second), ERR_INVALID);
	ck_assert_ptr_null(second);
	batch_builder_fini(&b);
	buf_drop(&out);
}
END_TEST

START_TEST(many_records_keep_order_and_numbers)
{
	enum { COUNT = 20000 };
	struct batch_builder b;
	struct buf *out = NULL;
	batch_builder_init(&b, 0, MAX);
	for (uint32_t i = 0; i < COUNT; i++) {
		uint8_t value[4];
		put_u32(value, i);
		struct span s = span_of(value, sizeof value);
		batch_builder_add(&b, &s, 1);
	}
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	struct batch_iter it;
	struct batch_record rec;
	ck_assert_int_eq(batch_iter_init(&it, span_of_buf(out)), ERR_OK);
	for (int i = 0; i < COUNT; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_int_eq(rec.offset_delta, i);
		ck_assert_uint_eq(get_u32(rec.value.p), (uint32_t)i);
	}
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_EOF);
	buf_drop(&out);
}
END_TEST

/* Walks everything; the last result. */
static enum err walk(struct span s)
{
	struct batch_iter it;
	struct batch_record rec;
	enum err e = batch_iter_init(&it, s);
	while (e == ERR_OK) {
		e = batch_iter_next(&it, &rec);
	}
	return e;
}

START_TEST(each_cut_batch_is_refused)
{
	struct buf *b = batch_of(three, 3);
	batch_seal(b->data, b->len, 1);
	for (uint32_t n = 0; n < b->len; n++) {
		/* An exact copy, so that a read past the end is seen. */
		uint8_t *copy = mem_dup(b->data, n);
		struct span s = span_of(copy, n);
		struct batch_head h;
		ck_assert_int_eq(batch_check(s), ERR_CORRUPT);
		ck_assert_int_eq(batch_head_read(s, &h), ERR_DECODE);
		ck_assert_int_eq(walk(s), ERR_DECODE);
		if (n >= BATCH_HEAD) {
			put_u32(copy + 8, n - 12);
			ck_assert_int_eq(batch_check(s), ERR_CORRUPT);
			ck_assert_int_eq(walk(s), ERR_DECODE);
		}
		mem_free(copy);
	}
	buf_drop(&b);
}
END_TEST

START_TEST(each_changed_bit_is_seen_and_harms_nobody)
{
	struct buf *b = batch_of(three, 3);
	batch_seal(b->data, b->len, 1);
	for (size_t bit = 0; bit < (size_t)b->len * 8; bit++) {
		uint8_t *copy = mem_dup(b->data, b->len);
		copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
		/* The base offset and the leader epoch stand outside the sum. */
		bool outside = bit / 8 < 8 || (bit / 8 >= 12 && bit / 8 < 16);
		ck_assert_int_eq(batch_check(span_of(copy, b->len)),
				 outside ? ERR_OK : ERR_CORRUPT);
		enum err e = walk(span_of(copy, b->len));
		ck_assert(e == ERR_EOF || e == ERR_DECODE || e == ERR_NOT_IMPLEMENTED);
		mem_free(copy);
	}
	buf_drop(&b);
}
END_TEST

static const struct {
	size_t at;
	uint32_t value;
} bad_heads[] = {
	{8, 0}, {8, 48}, {8, UINT32_MAX}, {8, INT32_MAX}, {8, 0x80000000U},
	{57, 0}, {57, UINT32_MAX}, {57, 0x80000000U}, {23, UINT32_MAX}, {23, 0x80000000U},
	{16, 0x01000000U}, {16, 0x03000000U}, {16, 0},
};

START_TEST(impossible_head_is_refused)
{
	struct buf *b = batch_of(three, 3);
	struct batch_head h;
	put_u32(b->data + bad_heads[_i].at, bad_heads[_i].value);
	ck_assert_int_eq(batch_head_read(span_of_buf(b), &h), ERR_DECODE);
	ck_assert_int_eq(batch_check(span_of_buf(b)), ERR_CORRUPT);
	buf_drop(&b);
}
END_TEST

START_TEST(batch_with_bytes_behind_it_is_read_but_not_checked)
{
	struct buf *b = batch_of(three, 3);
	batch_seal(b->data, b->len, 1);
	uint8_t room[256] = {0};
	memcpy(room, b->data, b->len);
	struct batch_head h;
	ck_assert_int_eq(batch_head_read(span_of(room, sizeof room), &h), ERR_OK);
	ck_assert_uint_eq(h.total, b->len);
	ck_assert_int_eq(walk(span_of(room, sizeof room)), ERR_EOF);
	ck_assert_int_eq(batch_check(span_of(room, sizeof room)), ERR_CORRUPT);
	buf_drop(&b);
}
END_TEST

/* One batch around a record body that is given byte by byte. */
static enum err walk_record(const uint8_t *body, size_t n, int32_t count, struct batch_record *rec)
{
	uint8_t room[256] = {0};
	memcpy(room + BATCH_HEAD, body, n);
	put_u32(room + 8, (uint32_t)(BATCH_HEAD + n - 12));
	room[16] = 2;
	put_u64(room + 27, 1000);
	put_u32(room + 57, (uint32_t)count);
	struct batch_iter it;
	enum err e = batch_iter_init(&it, span_of(room, BATCH_HEAD + n));
	ck_assert_int_eq(e, ERR_OK);
	e = batch_iter_next(&it, rec);
	return e != ERR_OK ? e : batch_iter_next(&it, &(struct batch_record){0});
}

#define RECORD(...)                                                            \
	(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

START_TEST(kafka_record_with_key_and_headers_is_read)
{
	struct batch_record rec;
	ck_assert_int_eq(walk_record(RECORD(24, 0, 3, 4, 2, 'k', 1, 2, 2, 'h', 2, 'v', 0), 1, &rec),
			 ERR_EOF);
	ck_assert_int_eq(rec.timestamp, 998);
	ck_assert_int_eq(rec.offset_delta, 2);
	ck_assert(rec.has_key);
	ck_assert_uint_eq(rec.key.n, 1);
	ck_assert(!rec.has_value);
	ck_assert_int_eq(rec.header_count, 1);
	ck_assert_uint_eq(rec.headers.n, 5);
}
END_TEST

START_TEST(malformed_record_is_refused)
{
	struct batch_record rec;
	/* Length negative, over the end, none, too short for the fields. */
	ck_assert_int_eq(walk_record(RECORD(1), 1, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(16, 0, 0, 0, 1, 0, 0), 1, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(0), 1, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(8, 0, 0, 0, 1), 1, &rec), ERR_DECODE);
	/* Key and value longer than the record, header count negative. */
	ck_assert_int_eq(walk_record(RECORD(12, 0, 0, 0, 20, 0, 0), 1, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(12, 0, 0, 0, 1, 20, 0), 1, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(12, 0, 0, 0, 1, 0, 1), 1, &rec), ERR_DECODE);
	/* Fewer and more records than the count. */
	ck_assert_int_eq(walk_record(RECORD(12, 0, 0, 0, 1, 0, 0), 1, &rec), ERR_EOF);
	ck_assert_int_eq(walk_record(RECORD(12, 0, 0, 0, 1, 0, 0), 2, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(12, 0, 0, 0, 1, 0, 0, 0), 1, &rec), ERR_DECODE);
	/* An over-long varint as length, and a huge one as key length. */
	ck_assert_int_eq(walk_record(RECORD(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2),
				     1, &rec), ERR_DECODE);
	ck_assert_int_eq(walk_record(RECORD(20, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0), 1,
				     &rec), ERR_DECODE);
}
END_TEST

START_TEST(each_failed_allocation_of_a_builder_is_reported)
{
	for (long n = 1; n < 100; n++) {
		struct batch_builder b;
		struct buf *out = NULL;
		mem_fault_at(n);
		batch_builder_init(&b, 0, MAX);
		for (int i = 0; i < 100; i++) {
			struct span s = span_str("a value of some length");
			batch_builder_add(&b, &s, 1);
		}
		enum err e = batch_builder_finish(&b, &out);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(out != NULL, !fired);
		buf_drop(&out);
		batch_builder_fini(&b);
		if (!fired) {
			ck_assert_int_gt(n, 3);
			return;
		}
	}
	ck_abort_msg("allocations without end");
}
END_TEST

Suite *batch_suite(void)
{
	Suite *s = suite_create("batch");
	TCase *t = tcase_create("batch");
	tcase_add_test(t, built_batch_is_walked_back);
	tcase_add_test(t, bytes_of_a_batch_are_the_known_ones);
	tcase_add_test(t, parts_are_joined_into_one_value);
	tcase_add_test(t, merge_numbers_records_anew);
	tcase_add_test(t, merge_of_a_malformed_batch_spoils_the_builder);
	tcase_add_test(t, batch_is_built_up_to_its_bound);
	tcase_add_test(t, sizes_that_would_overflow_are_too_large);
	tcase_add_test(t, empty_and_finished_builders_give_nothing);
	tcase_add_test(t, many_records_keep_order_and_numbers);
	tcase_add_test(t, each_cut_batch_is_refused);
	tcase_add_test(t, each_changed_bit_is_seen_and_harms_nobody);
	tcase_add_loop_test(t, impossible_head_is_refused, 0,
			    (int)(sizeof bad_heads / sizeof *bad_heads));
	tcase_add_test(t, batch_with_bytes_behind_it_is_read_but_not_checked);
	tcase_add_test(t, kafka_record_with_key_and_headers_is_read);
	tcase_add_test(t, malformed_record_is_refused);
	tcase_add_test(t, each_failed_allocation_of_a_builder_is_reported);
	suite_add_tcase(s, t);
	return s;
}
