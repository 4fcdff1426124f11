#include "gateway/wire/codec.h"

#include "base/limits.h"
#include "base/mem.h"
#include "test/unit/amqp/golden.h"
#include "test/unit/amqp/wire_help.h"

Suite *codec_suite(void);

/* ---- every encoding of §1.6 ------------------------------------------- */

static const struct {
	const char *hex;
	enum amqp_type type;
	uint64_t u;
	int64_t i;
	double d;
	const char *data;	/* hexadecimal; NULL: none */
	uint32_t count;
} encodings[] = {
	{"40", AMQP_NULL, 0, 0, 0, NULL, 0},
	{"41", AMQP_BOOL, 1, 0, 0, NULL, 0},
	{"42", AMQP_BOOL, 0, 0, 0, NULL, 0},
	{"5600", AMQP_BOOL, 0, 0, 0, NULL, 0},
	{"5601", AMQP_BOOL, 1, 0, 0, NULL, 0},
	{"50ff", AMQP_UBYTE, 255, 0, 0, NULL, 0},
	{"60fffe", AMQP_USHORT, 65534, 0, 0, NULL, 0},
	{"43", AMQP_UINT, 0, 0, 0, NULL, 0},
	{"5280", AMQP_UINT, 128, 0, 0, NULL, 0},
	{"70fffffffe", AMQP_UINT, 4294967294u, 0, 0, NULL, 0},
	{"44", AMQP_ULONG, 0, 0, 0, NULL, 0},
	{"5380", AMQP_ULONG, 128, 0, 0, NULL, 0},
	{"80ffffffffffffffff", AMQP_ULONG, UINT64_MAX, 0, 0, NULL, 0},
	{"51ff", AMQP_BYTE, 0, -1, 0, NULL, 0},
	{"61fffe", AMQP_SHORT, 0, -2, 0, NULL, 0},
	{"5480", AMQP_INT, 0, -128, 0, NULL, 0},
	{"7180000000", AMQP_INT, 0, INT32_MIN, 0, NULL, 0},
	{"557f", AMQP_LONG, 0, 127, 0, NULL, 0},
	{"55ff", AMQP_LONG, 0, -1, 0, NULL, 0},
	{"818000000000000000", AMQP_LONG, 0, INT64_MIN, 0, NULL, 0},
	{"723fc00000", AMQP_FLOAT, 0, 0, 1.5, NULL, 0},
	{"824002000000000000", AMQP_DOUBLE, 0, 0, 2.25, NULL, 0},
	{"7401020304", AMQP_DECIMAL32, 0, 0, 0, "01020304", 0},
	{"840102030405060708", AMQP_DECIMAL64, 0, 0, 0, "0102030405060708", 0},
	{"94000102030405060708090a0b0c0d0e0f", AMQP_DECIMAL128, 0, 0, 0,
	 "000102030405060708090a0b0c0d0e0f", 0},
	{"730001f600", AMQP_CHAR, 0x1f600, 0, 0, NULL, 0},
	{"83ffffffffffffffff", AMQP_TIMESTAMP, 0, -1, 0, NULL, 0},
	{"98000102030405060708090a0b0c0d0e0f", AMQP_UUID, 0, 0, 0,
	 "000102030405060708090a0b0c0d0e0f", 0},
	{"a0020102", AMQP_BINARY, 0, 0, 0, "0102", 0},
	{"b0000000020102", AMQP_BINARY, 0, 0, 0, "0102", 0},
	{"a10161", AMQP_STRING, 0, 0, 0, "61", 0},
	{"b10000000161", AMQP_STRING, 0, 0, 0, "61", 0},
	{"a30161", AMQP_SYMBOL, 0, 0, 0, "61", 0},
	{"b30000000161", AMQP_SYMBOL, 0, 0, 0, "61", 0},
	{"45", AMQP_LIST, 0, 0, 0, "", 0},
	{"c0030241 42", AMQP_LIST, 0, 0, 0, "4142", 2},
	{"d00000000500000001 43", AMQP_LIST, 0, 0, 0, "43", 1},
	{"c10100", AMQP_MAP, 0, 0, 0, "", 0},
	{"c10502a1016141", AMQP_MAP, 0, 0, 0, "a1016141", 2},
	{"d10000000800000002 a1016141", AMQP_MAP, 0, 0, 0, "a1016141", 2},
	{"e0040250 0102", AMQP_ARRAY, 0, 0, 0, "0102", 2},
	{"f00000000700000002 50 0102", AMQP_ARRAY, 0, 0, 0, "0102", 2},
	{"e00100", AMQP_ARRAY, 0, 0, 0, "", 0},
	{"e0020050", AMQP_ARRAY, 0, 0, 0, "", 0},
	{"e0060200a3016441", AMQP_ARRAY, 0, 0, 0, "", 2},	/* two described true */
	{"0053755601", AMQP_DESCRIBED, 0, 0, 0, NULL, 0},
};
enum { N_ENCODINGS = sizeof encodings / sizeof encodings[0] };

START_TEST(encoding_is_read)
{
	struct span in = hex(encodings[_i].hex);
	struct rd r = rd_of(in);
	struct amqp_value v = amqp_read(&r);
	ck_assert(!r.bad);
	ck_assert_ptr_eq(r.p, r.end);
	ck_assert_int_eq(v.type, encodings[_i].type);
	ck_assert_uint_eq(v.u, encodings[_i].u);
	ck_assert_int_eq(v.i, encodings[_i].i);
	ck_assert(v.d == encodings[_i].d);
	ck_assert_uint_eq(v.count, encodings[_i].count);
	check_bytes(v.raw, in);
	if (encodings[_i].data != NULL) {
		check_hex(v.data, encodings[_i].data);
	}
	r = rd_of(in);
	check_bytes(amqp_skip(&r), in);
	r = rd_of(in);
	check_bytes(amqp_skip_shallow(&r), in);
	r = rd_of(in);
	ck_assert_int_eq(amqp_read_shallow(&r).type, encodings[_i].type);
	bytes_free(in);
}
END_TEST

START_TEST(encoding_cut_short_is_bad)
{
	struct span in = hex(encodings[_i].hex);
	for (size_t n = 0; n < in.n; n++) {
		struct span cut = prefix(in, n);
		struct rd r = rd_of(cut);
		ck_assert_int_eq(amqp_read(&r).type, AMQP_NULL);
		ck_assert(r.bad);
		r = rd_of(cut);
		ck_assert_uint_eq(amqp_skip_shallow(&r).n, 0);
		ck_assert(r.bad);
		bytes_free(cut);
	}
	bytes_free(in);
}
END_TEST

static const char *const malformed[] = {
	"",
	"46", "57", "00", "0040", "99", "ff", "b2", "d2",	/* no such constructor, or half a value */
	"5602",				/* boolean that is neither */
	"a0ff01", "b0ffffffff01",	/* longer than what is left */
	"c00101", "c00000", "c0020143 43",	/* list: count too high; no room for count; too long */
	"c0030143 43",			/* list: bytes after its items */
	"d000000003000000",		/* list32: no room for count */
	"d0ffffffff00000000",
	"d000000004ffffffff",
	"c1020143",			/* map of one */
	"c10302a10141",			/* map: value runs over the end */
	"e00101",			/* array without constructor */
	"e0030250 01",			/* array: count too high */
	"e004015001 02",		/* array: bytes after its items */
	"e0020146",
	"e0030156 02",			/* array of boolean bytes */
	"e005 02a1 0161 02",		/* array of strings, the second cut */
	"f000000009 ffffffff 70 00000000",
	"f000000005 00010001 40",	/* more empty items than allowed */
	"f000000005 00000001 00",	/* described array without descriptor */
};

START_TEST(malformed_value_is_bad)
{
	struct span in = hex(malformed[_i]);
	struct rd r = rd_of(in);
	(void)amqp_read(&r);
	ck_assert(r.bad || r.p != r.end);
	if (!r.bad) {	/* trailing octets are the caller's business */
		ck_assert_str_eq(malformed[_i], "c0020143 43");
	}
	bytes_free(in);
}
END_TEST

/* `depth` list8 values in each other, or array8 or described ones. */
static struct span nested(size_t depth, char kind)
{
	static uint8_t buf[4 * 40 + 1];
	size_t at = sizeof buf;
	buf[--at] = 0x40;
	for (size_t i = 0; i < depth; i++) {
		size_t n = sizeof buf - at;
		if (kind == 'd') {
			at -= 3;
			memcpy(buf + at, "\x00\x53\x01", 3);
		} else {
			at -= 3;
			buf[at] = 0xc0;
			buf[at + 1] = (uint8_t)(n + 1);
			buf[at + 2] = 1;
		}
	}
	return span_of(buf + at, sizeof buf - at);
}

START_TEST(nesting_is_limited)
{
	const char kind = _i == 0 ? 'd' : 'l';
	for (size_t depth = 1; depth <= 40; depth++) {
		struct rd r = rd_of(nested(depth, kind));
		(void)amqp_read(&r);
		ck_assert_int_eq(r.bad, depth > LIMIT_AMQP_NESTING);
	}
}
END_TEST

START_TEST(empty_items_are_limited)
{
	struct span in = hex("f000000005 00010000 40");
	struct rd r = rd_of(in);
	struct amqp_value v = amqp_read(&r);
	ck_assert(!r.bad);
	ck_assert_uint_eq(v.count, AMQP_EMPTY_ITEMS_MAX);
	bytes_free(in);
}
END_TEST

START_TEST(array_items_are_read)
{
	struct span in = hex("f00000000a 00000002 a1 0161 0262 63");
	struct rd r = rd_of(in);
	struct amqp_value v = amqp_read(&r);
	ck_assert(!r.bad);
	ck_assert_uint_eq(v.item_code, 0xa1);
	struct rd items = rd_of(v.data);
	struct amqp_value item = amqp_read_array_item(&items, v.item_code);
	ck_assert_int_eq(item.type, AMQP_STRING);
	check_hex(item.data, "61");
	item = amqp_read_array_item(&items, v.item_code);
	check_hex(item.data, "6263");
	ck_assert_uint_eq(rd_left(&items), 0);
	(void)amqp_read_array_item(&items, v.item_code);
	ck_assert(items.bad);
	bytes_free(in);
}
END_TEST

START_TEST(described_array_has_its_descriptor)
{
	struct span in = hex("e008 02 00a30164 54 0102");
	struct rd r = rd_of(in);
	struct amqp_value v = amqp_read(&r);
	ck_assert(!r.bad);
	check_hex(v.descriptor, "a30164");
	ck_assert_uint_eq(v.item_code, 0x54);
	check_hex(v.data, "0102");
	bytes_free(in);
}
END_TEST

static uint64_t descriptor_of(const char *text)
{
	struct span in = hex(text);
	struct rd r = rd_of(in);
	struct amqp_value v = amqp_read(&r);
	uint64_t code = r.bad ? 0 : amqp_descriptor_code(&v);
	bytes_free(in);
	return code;
}

START_TEST(descriptor_is_a_code)
{
	ck_assert_uint_eq(descriptor_of("00537540"), AMQP_DATA);
	ck_assert_uint_eq(descriptor_of("0080000000000000007540"), AMQP_DATA);
	ck_assert_uint_eq(descriptor_of("00a310616d71703a646174613a62696e61727940"), AMQP_DATA);
	ck_assert_uint_eq(descriptor_of("00b300000010616d71703a646174613a62696e61727940"), AMQP_DATA);
	ck_assert_uint_eq(descriptor_of("00a311616d71703a616d71702d76616c75653a2a40"), AMQP_AMQP_VALUE);
	ck_assert_uint_eq(descriptor_of("00800000468c0000000440"), 0x468c00000004);
	ck_assert_uint_eq(descriptor_of("00a3017840"), UINT64_MAX);
	ck_assert_uint_eq(descriptor_of("00a1017840"), UINT64_MAX);
	ck_assert_uint_eq(descriptor_of("40"), UINT64_MAX);
}
END_TEST

START_TEST(map_entry_is_found)
{
	struct span in = hex("c11506 a10161 5401 a30162 5402 5403 5404 a10162 5405 40");
	/* The size is that of three pairs; the tail belongs to nobody. */
	struct rd r = rd_of(in);
	struct amqp_value map = amqp_read(&r);
	ck_assert(r.bad);
	bytes_free(in);
	in = hex("c10f06 a10161 5401 a30162 5402 5403 5404");
	r = rd_of(in);
	map = amqp_read(&r);
	ck_assert(!r.bad);
	struct amqp_value v;
	int64_t n = 0;
	ck_assert(amqp_map_find(&map, "a", &v) && amqp_to_i64(&v, &n) && n == 1);
	ck_assert(amqp_map_find(&map, "b", &v) && amqp_to_i64(&v, &n) && n == 2);
	ck_assert(!amqp_map_find(&map, "c", &v));
	ck_assert(!amqp_map_find(&v, "a", &v));
	bytes_free(in);
}
END_TEST

START_TEST(number_that_does_not_fit_is_refused)
{
	struct span in = hex("808000000000000000 807fffffffffffffff 83000000000000002a 5405 a10131 41");
	struct rd r = rd_of(in);
	int64_t n = 7;
	struct amqp_value v = amqp_read(&r);
	ck_assert(!amqp_to_i64(&v, &n));
	ck_assert_int_eq(n, 7);
	v = amqp_read(&r);
	ck_assert(amqp_to_i64(&v, &n) && n == INT64_MAX);
	v = amqp_read(&r);
	ck_assert(amqp_to_i64(&v, &n) && n == 42);
	v = amqp_read(&r);
	ck_assert(amqp_to_i64(&v, &n) && n == 5);
	v = amqp_read(&r);
	ck_assert(!amqp_to_i64(&v, &n) && amqp_is_text(&v));
	v = amqp_read(&r);
	ck_assert(!amqp_to_i64(&v, &n) && !amqp_is_text(&v));
	bytes_free(in);
}
END_TEST

/* ---- writing ---------------------------------------------------------- */

static void write_all(struct str *s)
{
	amqp_put_null(s);
	amqp_put_bool(s, true);
	amqp_put_bool(s, false);
	amqp_put_ubyte(s, 200);
	amqp_put_ushort(s, 60000);
	amqp_put_uint(s, 0);
	amqp_put_uint(s, 255);
	amqp_put_uint(s, 256);
	amqp_put_ulong(s, 0);
	amqp_put_ulong(s, 255);
	amqp_put_ulong(s, UINT64_MAX);
	amqp_put_int(s, -128);
	amqp_put_int(s, 128);
	amqp_put_long(s, 127);
	amqp_put_long(s, -129);
	amqp_put_double(s, 2.25);
	amqp_put_timestamp(s, -1);
	amqp_put_binary(s, span_str("ab"));
	amqp_put_string(s, span_str(""));
	amqp_put_symbol(s, span_str("s"));
	amqp_put_raw(s, span_of("\x45", 1));
	amqp_put_descriptor(s, AMQP_DATA);
	size_t list = amqp_begin_list(s);
	size_t map = amqp_begin_map(s);
	amqp_put_string(s, span_str("k"));
	amqp_put_null(s);
	amqp_end(s, map, 2);
	amqp_end(s, list, 1);
	struct span items[2] = {span_str("0"), span_str("12")};
	amqp_put_string_array(s, items, 2);
}

START_TEST(values_are_written_small)
{
	struct str s = {.max = 0};
	write_all(&s);
	ck_assert(!s.bad);
	check_hex(str_span(&s), "40 41 42 50c8 60ea60 43 52ff 7000000100 44 53ff 80ffffffffffffffff"
		  "5480 7100000080 557f 81ffffffffffffff7f 824002000000000000 83ffffffffffffffff"
		  "a0026162 a100 a30173 45 005375"
		  "d000000011 00000001 d100000008 00000002 a1016b 40"
		  "f00000000a 00000002 a1 0130 023132");
	struct rd r = rd_of(str_span(&s));
	unsigned n = 0;
	while (rd_left(&r) > 0) {
		(void)amqp_read(&r);
		n++;
	}
	ck_assert(!r.bad);
	ck_assert_uint_eq(n, 23);
	str_fini(&s);
}
END_TEST

START_TEST(long_text_takes_the_long_form)
{
	char text[300];
	memset(text, 'x', sizeof text);
	for (size_t n = 254; n < 258; n++) {
		struct str s = {.max = 0};
		struct span items[2] = {span_of(text, n), span_of(text, 1)};
		amqp_put_binary(&s, items[0]);
		amqp_put_string(&s, items[0]);
		amqp_put_symbol(&s, items[0]);
		amqp_put_string_array(&s, items, 2);
		struct rd r = rd_of(str_span(&s));
		for (int i = 0; i < 3; i++) {
			struct amqp_value v = amqp_read(&r);
			check_bytes(v.data, items[0]);
			ck_assert_uint_eq(v.raw.n, n + (n > 255 ? 5 : 2));
		}
		struct amqp_value array = amqp_read(&r);
		ck_assert(!r.bad);
		struct rd in = rd_of(array.data);
		check_bytes(amqp_read_array_item(&in, array.item_code).data, items[0]);
		check_bytes(amqp_read_array_item(&in, array.item_code).data, items[1]);
		str_fini(&s);
	}
}
END_TEST

START_TEST(writing_without_memory_is_remembered)
{
	for (long n = 1;; n++) {
		struct str s = {.max = 0};
		mem_fault_at(n);
		write_all(&s);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(s.bad, fired);
		str_fini(&s);
		if (!fired) {
			ck_assert_int_gt(n, 1);
			break;
		}
	}
}
END_TEST

Suite *codec_suite(void)
{
	Suite *s = suite_create("amqp codec");
	TCase *t = tcase_create("codec");
	tcase_add_loop_test(t, encoding_is_read, 0, N_ENCODINGS);
	tcase_add_loop_test(t, encoding_cut_short_is_bad, 0, N_ENCODINGS);
	tcase_add_loop_test(t, malformed_value_is_bad, 0, sizeof malformed / sizeof malformed[0]);
	tcase_add_loop_test(t, nesting_is_limited, 0, 2);
	tcase_add_test(t, empty_items_are_limited);
	tcase_add_test(t, array_items_are_read);
	tcase_add_test(t, described_array_has_its_descriptor);
	tcase_add_test(t, descriptor_is_a_code);
	tcase_add_test(t, map_entry_is_found);
	tcase_add_test(t, number_that_does_not_fit_is_refused);
	tcase_add_test(t, values_are_written_small);
	tcase_add_test(t, long_text_takes_the_long_form);
	tcase_add_test(t, writing_without_memory_is_remembered);
	suite_add_tcase(s, t);
	return s;
}
