#include "base/bytes.h"

#include "base/mem.h"
#include "suites.h"

START_TEST(spans_compare_by_content)
{
	ck_assert(span_eq(span_str("ab"), span_of("abc", 2)));
	ck_assert(span_eq(span_of(NULL, 0), span_str("")));
	ck_assert(!span_eq(span_str("ab"), span_str("abc")));
	ck_assert(span_eq_str(span_str(NULL), ""));
	ck_assert(span_ieq_str(span_str("AbC"), "aBc"));
	ck_assert(!span_ieq_str(span_str("abc"), "ab"));
	ck_assert(!span_ieq_str(span_of("a\0c", 3), "abc"));
	ck_assert(span_ieq_str(span_of(NULL, 0), ""));
}
END_TEST

START_TEST(span_becomes_a_string_at_its_limit)
{
	char out[4];
	ck_assert_int_eq(span_to_cstr(span_str("ab"), out, sizeof out), ERR_OK);
	ck_assert_int_eq(span_to_cstr(span_str("abc"), out, sizeof out), ERR_OK);
	ck_assert_str_eq(out, "abc");
	ck_assert_int_eq(span_to_cstr(span_str("abcd"), out, sizeof out), ERR_TOO_LARGE);
	ck_assert_int_eq(span_to_cstr(span_of("a\0", 2), out, sizeof out), ERR_INVALID);
	ck_assert_int_eq(span_to_cstr(span_of(NULL, 0), out, sizeof out), ERR_OK);
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(span_to_cstr(span_of(NULL, 0), out, 0), ERR_TOO_LARGE);
}
END_TEST

START_TEST(buffer_lives_until_its_last_reference)
{
	struct buf *a = buf_new(10);
	ck_assert_uint_eq(a->cap, 10);
	ck_assert_uint_eq(a->len, 0);
	struct buf *b = buf_hold(a);
	ck_assert_ptr_eq(a, b);
	buf_drop(&a);
	ck_assert_ptr_null(a);
	b->data[9] = 1;
	buf_drop(&b);
	buf_drop(&b);
	ck_assert_ptr_null(buf_new((size_t)UINT32_MAX + 1));
	mem_fault_at(1);
	ck_assert_ptr_null(buf_new(1));
	mem_fault_at(0);
}
END_TEST

/* Reads one number of `size` bytes from `left` bytes. */
static uint64_t read_number(struct rd *r, size_t size)
{
	switch (size) {
	case 1:
		return rd_u8(r);
	case 2:
		return rd_u16(r);
	case 4:
		return rd_u32(r);
	default:
		return rd_u64(r);
	}
}

START_TEST(numbers_are_read_at_limit_and_around)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	size_t size = (size_t)1 << _i;
	uint64_t want = 0;
	for (size_t i = 0; i < size; i++) {
		want = want << 8 | bytes[i];
	}
	for (size_t n = size - 1; n <= size + 1; n++) {
		struct rd r = rd_of(span_of(bytes, n));
		uint64_t v = read_number(&r, size);
		ck_assert_int_eq(r.bad, n < size);
		ck_assert_uint_eq(v, n < size ? 0 : want);
		ck_assert_uint_eq(rd_left(&r), n <= size ? 0 : 1);
	}
}
END_TEST

START_TEST(first_failure_of_a_reader_sticks)
{
	static const uint8_t bytes[] = {1, 2, 3};
	struct rd r = rd_of(span_of(bytes, sizeof bytes));
	ck_assert_uint_eq(rd_u32(&r), 0);
	ck_assert(r.bad);
	ck_assert_uint_eq(rd_u8(&r), 0);
	ck_assert_uint_eq(rd_left(&r), 0);
	ck_assert_ptr_null(rd_span(&r, 0).p);
	ck_assert_int_eq(rd_varlong(&r), 0);
	rd_skip(&r, 0);
	ck_assert_ptr_eq(r.p, bytes);
}
END_TEST

START_TEST(spans_are_read_at_limit_and_around)
{
	static const uint8_t bytes[] = {1, 2, 3, 4};
	for (size_t n = 3; n <= 5; n++) {
		struct rd r = rd_of(span_of(bytes, sizeof bytes));
		struct span s = rd_span(&r, n);
		ck_assert_int_eq(r.bad, n > 4);
		ck_assert_uint_eq(s.n, n > 4 ? 0 : n);
		struct rd k = rd_of(span_of(bytes, sizeof bytes));
		rd_skip(&k, n);
		ck_assert_int_eq(k.bad, n > 4);
	}
	struct rd r = rd_of(span_of(bytes, sizeof bytes));
	(void)rd_u8(&r);
	rd_skip(&r, SIZE_MAX);
	ck_assert(r.bad);
	r = rd_of(span_of(NULL, 0));
	ck_assert_uint_eq(rd_span(&r, 0).n, 0);
	ck_assert(!r.bad);
}
END_TEST

START_TEST(writer_stops_at_its_end)
{
	uint8_t room[15];
	for (size_t n = 14; n <= 15; n++) {
		struct wr w = wr_of(room, n);
		wr_u8(&w, 0x01);
		wr_u16(&w, 0x0203);
		wr_u32(&w, 0x04050607);
		wr_u64(&w, 0x08090a0b0c0d0e0f);
		ck_assert_int_eq(w.bad, n < 15);
		ck_assert_uint_eq(wr_len(&w), n < 15 ? 7 : 15);
		wr_bytes(&w, "x", 1);
		ck_assert(w.bad);
		ck_assert_ptr_null(wr_reserve(&w, 0));
	}
	for (size_t i = 0; i < sizeof room; i++) {
		ck_assert_uint_eq(room[i], i + 1);
	}
	struct wr w = wr_of(room, 3);
	wr_span(&w, span_of(NULL, 0));
	wr_span(&w, span_str("abc"));
	ck_assert(!w.bad);
	w = wr_of(room, 3);
	wr_span(&w, span_str("abcd"));
	ck_assert(w.bad);
	ck_assert_uint_eq(wr_len(&w), 0);
}
END_TEST

static const struct {
	int64_t v;
	size_t size;
} varlongs[] = {
	{0, 1}, {-1, 1}, {1, 1}, {63, 1}, {-64, 1}, {64, 2}, {-65, 2}, {8191, 2}, {8192, 3},
	{INT32_MAX, 5}, {INT32_MIN, 5}, {(int64_t)INT32_MAX + 1, 5}, {INT64_MAX, 10},
	{INT64_MIN, 10}, {INT64_MAX / 2, 9}, {INT64_MAX / 2 + 1, 10}, {INT64_MIN / 2, 9},
	{INT64_MIN / 2 - 1, 10},
};

START_TEST(varlong_round_trips_and_needs_every_byte)
{
	uint8_t room[10];
	int64_t v = varlongs[_i].v;
	size_t size = varlongs[_i].size;
	struct wr w = wr_of(room, sizeof room);
	wr_varlong(&w, v);
	ck_assert(!w.bad);
	ck_assert_uint_eq(wr_len(&w), size);
	ck_assert_uint_eq(varlong_size(v), size);
	struct rd r = rd_of(span_of(room, size));
	ck_assert_int_eq(rd_varlong(&r), v);
	ck_assert(!r.bad);
	r = rd_of(span_of(room, size - 1));
	ck_assert_int_eq(rd_varlong(&r), 0);
	ck_assert(r.bad);
	w = wr_of(room, size - 1);
	wr_varlong(&w, v);
	ck_assert(w.bad);
}
END_TEST

START_TEST(varint_is_bounded_to_32_bits)
{
	uint8_t room[10];
	int64_t edge[] = {INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1, (int64_t)INT32_MIN - 1,
			  INT64_MIN};
	for (size_t i = 0; i < 5; i++) {
		struct wr w = wr_of(room, sizeof room);
		wr_varlong(&w, edge[i]);
		struct rd r = rd_of(span_of(room, wr_len(&w)));
		ck_assert_int_eq(rd_varint(&r), i < 2 ? edge[i] : 0);
		ck_assert_int_eq(r.bad, i >= 2);
	}
}
END_TEST

START_TEST(over_long_varlong_is_bad)
{
	uint8_t bytes[11];
	memset(bytes, 0x80, sizeof bytes);
	struct rd r = rd_of(span_of(bytes, sizeof bytes));
	(void)rd_varlong(&r);
	ck_assert(r.bad);
	/* The tenth byte carries one bit only. */
	memset(bytes, 0xff, 9);
	bytes[9] = 0x01;
	r = rd_of(span_of(bytes, 10));
	ck_assert_int_eq(rd_varlong(&r), INT64_MIN);
	ck_assert(!r.bad);
	for (unsigned last = 2; last < 256; last++) {
		bytes[9] = (uint8_t)last;
		r = rd_of(span_of(bytes, 10));
		ck_assert_int_eq(rd_varlong(&r), 0);
		ck_assert(r.bad);
	}
}
END_TEST

START_TEST(text_grows_to_its_bound)
{
	struct str s = {.max = 8};
	str_add(&s, "abc");
	str_printf(&s, "%d", 1234);
	ck_assert(!s.bad);
	ck_assert_str_eq(s.p, "abc1234");
	str_add(&s, "");
	ck_assert(!s.bad);
	str_add(&s, "x");
	ck_assert(s.bad);
	ck_assert_str_eq(s.p, "abc1234");
	str_add(&s, "");
	ck_assert(s.bad);
	str_fini(&s);
	ck_assert(!s.bad);
	ck_assert_uint_eq(s.max, 8);
	str_addn(&s, "12345678", 8);
	ck_assert(s.bad);
	str_fini(&s);
}
END_TEST

START_TEST(long_formats_are_whole)
{
	char big[1000];
	struct str s = {0};
	memset(big, 'b', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	for (int n = 254; n <= 257; n++) {
		str_printf(&s, "%.*s", n, big);
		ck_assert_uint_eq(s.len, (size_t)n);
		ck_assert_uint_eq(strlen(s.p), (size_t)n);
		str_fini(&s);
	}
	str_printf(&s, "%s|", big);
	ck_assert_uint_eq(s.len, 1000);
	str_fini(&s);
}
END_TEST

START_TEST(each_failed_allocation_of_text_sticks)
{
	char big[1000];
	memset(big, 'b', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	for (long n = 1; n < 100; n++) {
		struct str s = {0};
		mem_fault_at(n);
		str_add(&s, "a");
		str_printf(&s, "%s", big);
		str_add(&s, "c");
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(s.bad, fired);
		size_t len = s.len;
		str_fini(&s);
		if (!fired) {
			ck_assert_uint_eq(len, 1001);
			ck_assert_int_gt(n, 2);
			return;
		}
	}
	ck_abort_msg("allocations without end");
}
END_TEST

Suite *bytes_suite(void)
{
	Suite *s = suite_create("bytes");
	TCase *t = tcase_create("bytes");
	tcase_add_test(t, spans_compare_by_content);
	tcase_add_test(t, span_becomes_a_string_at_its_limit);
	tcase_add_test(t, buffer_lives_until_its_last_reference);
	tcase_add_loop_test(t, numbers_are_read_at_limit_and_around, 0, 4);
	tcase_add_test(t, first_failure_of_a_reader_sticks);
	tcase_add_test(t, spans_are_read_at_limit_and_around);
	tcase_add_test(t, writer_stops_at_its_end);
	tcase_add_loop_test(t, varlong_round_trips_and_needs_every_byte, 0,
			    (int)(sizeof varlongs / sizeof *varlongs));
	tcase_add_test(t, varint_is_bounded_to_32_bits);
	tcase_add_test(t, over_long_varlong_is_bad);
	tcase_add_test(t, text_grows_to_its_bound);
	tcase_add_test(t, long_formats_are_whole);
	tcase_add_test(t, each_failed_allocation_of_text_sticks);
	suite_add_tcase(s, t);
	return s;
}
