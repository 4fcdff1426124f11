#include "gateway/amqp/tap.h"

#include "base/mem.h"
#include "gateway/wire/codec.h"
#include "test/unit/amqp/golden.h"
#include "test/unit/amqp/wire_help.h"

Suite *tap_out_suite(void);

/* Writes `in` in pieces of `size` (0: whole). */
static struct str write_pieces(struct span in, size_t size)
{
	struct amqp_tap_out t;
	struct str out = {.max = 0};
	amqp_tap_out_init(&t);
	for (size_t at = 0; at < in.n;) {
		size_t n = size == 0 || size > in.n - at ? in.n - at : size;
		struct span piece = prefix(span_of(in.p + at, in.n - at), n);
		ck_assert_int_eq(amqp_tap_out_write(&t, piece, &out), ERR_OK);
		bytes_free(piece);
		at += n;
	}
	ck_assert_uint_eq(t.pending.len, 0);
	amqp_tap_out_fini(&t);
	return out;
}

static size_t unit_len(struct span s)
{
	ck_assert_uint_ge(s.n, 8);
	size_t n = memcmp(s.p, "AMQP", 4) == 0 ? 8 : get_u32(s.p);
	ck_assert_uint_le(n, s.n);
	return n;
}

static const uint8_t field_count[] = {
	[AMQP_OPEN] = 10, [AMQP_BEGIN] = 8, [AMQP_ATTACH] = 14, [AMQP_FLOW] = 11,
	[AMQP_TRANSFER] = 11, [AMQP_DISPOSITION] = 6, [AMQP_DETACH] = 3, [AMQP_END] = 1,
	[AMQP_CLOSE] = 1,
};

/* A performative with its fields; `payload` is what follows its list. */
struct performative {
	uint64_t code;
	uint32_t count;
	struct amqp_value fields[16];
	struct span payload;
};

static struct performative parse(struct span unit)
{
	struct performative p = {.count = 0};
	struct rd r = rd_of(span_of(unit.p + 8, unit.n - 8));
	struct amqp_value v = amqp_read(&r);
	ck_assert(!r.bad);
	p.payload = span_of(r.p, rd_left(&r));
	p.code = amqp_descriptor_code(&v);
	r = rd_of(v.described);
	v = amqp_read(&r);
	ck_assert_int_eq(v.type, AMQP_LIST);
	ck_assert_uint_le(v.count, 16);
	p.count = v.count;
	r = rd_of(v.data);
	for (uint32_t i = 0; i < v.count; i++) {
		p.fields[i] = amqp_read(&r);
	}
	ck_assert(!r.bad);
	return p;
}

/* A described list with that code: its fields. */
static struct performative parse_field(const struct amqp_value *v)
{
	uint8_t buf[600] = {0};
	ck_assert_uint_lt(v->raw.n, sizeof buf - 8);
	static struct span kept;
	bytes_free(kept);
	memcpy(buf + 8, v->raw.p, v->raw.n);
	kept = prefix(span_of(buf, sizeof buf), v->raw.n + 8);
	return parse(kept);
}

static void check_error(const struct amqp_value *v)
{
	if (v->type == AMQP_NULL) {
		return;
	}
	struct performative e = parse_field(v);
	ck_assert_uint_eq(e.code, 0x1d);
	ck_assert_uint_eq(e.count, 3);
	ck_assert_int_eq(e.fields[0].type, AMQP_SYMBOL);
}

/* Every field of the frame as Proton wrote it is in the padded one. */
static void check_padded(struct span before, struct span after)
{
	struct performative a = parse(before);
	struct performative b = parse(after);
	ck_assert_uint_eq(a.code, b.code);
	ck_assert_uint_eq(b.count, field_count[a.code]);
	check_bytes(b.payload, a.payload);
	ck_assert_uint_le(after.n, before.n + AMQP_TAP_PADDING);
	ck_assert(span_eq(span_of(before.p + 4, 4), span_of(after.p + 4, 4)));
	for (uint32_t i = 0; i < b.count; i++) {
		bool was = i < a.count && a.fields[i].type != AMQP_NULL;
		if (a.code == AMQP_BEGIN && i == 4 && !was) {
			ck_assert_uint_eq(b.fields[i].u, 255);
		} else if (a.code == AMQP_ATTACH && i == 13 && !was) {
			ck_assert_int_eq(b.fields[i].type, AMQP_MAP);
		} else if (a.code == AMQP_TRANSFER && i == 3 && !was) {
			ck_assert_int_eq(b.fields[i].type, AMQP_UINT);
			ck_assert_uint_eq(b.fields[i].u, 0);
		} else if (!was) {
			ck_assert_int_eq(b.fields[i].type, AMQP_NULL);
		} else if (b.fields[i].type != AMQP_DESCRIBED) {
			check_bytes(b.fields[i].raw, a.fields[i].raw);
		}
	}
	if (a.code == AMQP_DETACH) {
		check_error(&b.fields[2]);
	} else if (a.code == AMQP_END || a.code == AMQP_CLOSE) {
		check_error(&b.fields[0]);
	} else if (a.code == AMQP_DISPOSITION && b.fields[4].type == AMQP_DESCRIBED &&
		   amqp_descriptor_code(&b.fields[4]) == 0x24) {
		struct performative rejected = parse_field(&b.fields[4]);
		ck_assert_uint_eq(rejected.count, 1);
		struct amqp_value error = rejected.fields[0];
		check_error(&error);
	}
}

static const char *const streams[] = {
	golden_proton_engine, golden_js_main, golden_js_reader, golden_pyamqp, golden_proton_client,
};

START_TEST(every_performative_is_padded)
{
	struct span in = hex(streams[_i]);
	struct str whole = write_pieces(in, 0);
	struct span before = in;
	struct span after = str_span(&whole);
	unsigned seen = 0;
	while (before.n > 0) {
		struct span a = span_of(before.p, unit_len(before));
		struct span b = span_of(after.p, unit_len(after));
		if (memcmp(a.p, "AMQP", 4) == 0 || a.p[5] != 0 || a.n == 8) {
			check_bytes(b, a);
		} else {
			check_padded(a, b);
			seen |= 1u << (a.p[10] - AMQP_OPEN);
		}
		before = span_of(before.p + a.n, before.n - a.n);
		after = span_of(after.p + b.n, after.n - b.n);
	}
	ck_assert_uint_eq(after.n, 0);
	if (_i == 0) {
		ck_assert_uint_eq(seen, 0x1ff);	/* all nine */
	}
	for (size_t i = 0; i < 4; i++) {
		struct str pieces = write_pieces(in, fragment_sizes[i]);
		check_bytes(str_span(&pieces), str_span(&whole));
		str_fini(&pieces);
	}
	/* What is padded already stays as it is. */
	struct str again = write_pieces(str_span(&whole), 0);
	check_bytes(str_span(&again), str_span(&whole));
	str_fini(&again);
	str_fini(&whole);
	bytes_free(in);
}
END_TEST

static const struct {
	const char *in;
	const char *want;
} frames[] = {
	/* begin without and with handle-max */
	{"0000001c02000000 005311 c00f04 60000043707fffffff707fffffff",
	 "0000002102000000 005311 c01408 60000043707fffffff707fffffff 52ff 404040"},
	{"0000001602000000 005311 c00a05 40 43 43 43 7000000010",
	 "0000001902000000 005311 c00d08 40 43 43 43 7000000010 404040"},
	/* transfer: format null, missing, given; with payload */
	{"0000001c02000000 005314 c00a05 5201 43 a00274314 341 68656c6c6f",
	 "0000002202000000 005314 c0100b 5201 43 a002743143 41 404040404040 68656c6c6f"},
	{"0000001a02000001 005314 c00905 43 43 a0027431 40 41 cafe",
	 "0000001f02000001 005314 c00f0b 43 43 a0027431 43 41 404040404040 cafe"},
	{"0000001002000000 005314 c0020143 abcd",
	 "0000001a02000000 005314 c00c0b 43 4040 43 40404040404040 abcd"},
	{"0000002002000000 005314 c0110b 43 43 a00174 7080013700 424240404042 40",
	 "0000002002000000 005314 c0110b 43 43 a00174 7080013700 424240404042 40"},
	{"0000001302000000 005314 d000000005 00000001 43",
	 "0000001802000000 005314 c00c0b 43 4040 43 40404040404040"},
	/* list0 */
	{"0000000c02000000 005317 45", "0000000f02000000 005317 c00201 40"},
	{"0000000c02000000 005318 45", "0000000f02000000 005318 c00201 40"},
	{"0000000c02000000 005313 45", "0000001902000000 005313 c00c0b 4040404040404040404040"},
	{"0000000c02000000 005314 45", "0000001902000000 005314 c00c0b 4040 40 43 40404040404040"},
	/* errors in detach, end, close; short ones are filled */
	{"0000001702000000 005316 c00c03 43 41 00531d c00401 a30178",
	 "0000001902000000 005316 c00e03 43 41 00531d c00603 a30178 4040"},
	{"0000001402000000 005317 c00a01 00531dc00401a30178 ",
	 "0000001702000000 005317 c00c01 00531dc00603a301784040"},
	{"0000001e02000000 005318 c01301 00531d d00000000a 00000002 a30178a10164",
	 "0000001a02000000 005318 c00e01 00531d c00803 a30178a1016440"},
	/* rejected */
	{"0000001f02000000 005315 c01405 41 43 40 41 005324c00a01 00531dc00401a30178",
	 "0000002202000000 005315 c01706 41 43 40 41 005324c00c01 00531dc00603a301784040 40"},
	{"0000001502000000 005315 c00905 41 43 40 41 00532445 ",
	 "0000001902000000 005315 c00d06 41 43 40 41 005324c0020140 40"},
	{"0000001502000000 005315 c00905 41 43 40 41 00532545",
	 "0000001502000000 005315 c00a06 41 43 40 41 00532545 40"},
	/* extended header; unknown, SASL, empty and unreadable frames pass */
	{"0000001003000000 deadbeef 00531745", "0000001303000000 deadbeef 005317c0020140"},
	{"0000000c02000000 00531945", NULL},
	{"0000000c02010000 00534445", NULL},
	{"0000000802000000", NULL},
	{"0000000e02000000 005314c00501", NULL},
	{"0000000f02000000 005314c0030243", NULL},
	{"0000000b02000000 005314", NULL},
	{"0000000902000000 00", NULL},
	{"414d515003010000", NULL},
};

START_TEST(frame_is_written_as)
{
	struct span in = hex(frames[_i].in);
	bool frame = memcmp(in.p, "AMQP", 4) != 0;
	/* The sizes in the table are those of the bytes. */
	struct str fixed = {.max = 0};
	str_addn(&fixed, in.p, in.n);
	if (frame) {
		put_u32((uint8_t *)fixed.p, (uint32_t)fixed.len);
	}
	struct str out = write_pieces(str_span(&fixed), 0);
	if (frames[_i].want == NULL) {
		check_bytes(str_span(&out), str_span(&fixed));
	} else {
		struct span want = hex(frames[_i].want);
		check_bytes(span_of(out.p + 4, out.len - 4), span_of(want.p + 4, want.n - 4));
		ck_assert_uint_eq(get_u32((uint8_t *)out.p), out.len);
		bytes_free(want);
	}
	str_fini(&fixed);
	str_fini(&out);
	bytes_free(in);
}
END_TEST

/* An error whose description pushes its lists over 255 octets. */
START_TEST(long_description_takes_long_lists)
{
	static const char filler[300];
	for (size_t n = 200; n < 300; n++) {
		struct str f = {.max = 0};
		str_addn(&f, "\0\0\0\0\2\0\0\0", 8);
		amqp_put_descriptor(&f, AMQP_CLOSE);
		size_t list = amqp_begin_list(&f);
		amqp_put_descriptor(&f, 0x1d);
		size_t error = amqp_begin_list(&f);
		amqp_put_symbol(&f, span_str("amqp:not-found"));
		amqp_put_string(&f, span_of(filler, n));
		amqp_end(&f, error, 2);
		amqp_end(&f, list, 1);
		put_u32((uint8_t *)f.p, (uint32_t)f.len);
		struct str out = write_pieces(str_span(&f), 0);
		check_padded(str_span(&f), str_span(&out));
		struct performative p = parse(str_span(&out));
		ck_assert_uint_eq(p.count, 1);
		struct performative e = parse_field(&p.fields[0]);
		ck_assert_uint_eq(e.fields[1].data.n, n);
		str_fini(&f);
		str_fini(&out);
	}
}
END_TEST

/* A transfer whose fields do not fit a list8, and one on the edge. */
START_TEST(long_transfer_takes_a_long_list)
{
	static const char filler[300];
	for (size_t n = 220; n < 270; n++) {
		struct str f = {.max = 0};
		str_addn(&f, "\0\0\0\0\2\0\0\0", 8);
		amqp_put_descriptor(&f, AMQP_TRANSFER);
		size_t list = amqp_begin_list(&f);
		amqp_put_uint(&f, 0);
		amqp_put_uint(&f, 1);
		amqp_put_binary(&f, span_of(filler, n));
		amqp_end(&f, list, 3);
		str_add(&f, "payload");
		put_u32((uint8_t *)f.p, (uint32_t)f.len);
		struct str out = write_pieces(str_span(&f), 0);
		check_padded(str_span(&f), str_span(&out));
		str_fini(&f);
		str_fini(&out);
	}
}
END_TEST

START_TEST(output_that_is_not_amqp_is_refused)
{
	static const struct {
		const char *hex;
		enum err err;
	} rows[] = {
		{"0000000702000000", ERR_PROTOCOL},
		{"0000000801000000", ERR_PROTOCOL},
		{"0000000804000000", ERR_PROTOCOL},
		{"7fffffff02000000", ERR_TOO_LARGE},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t first = 0; first < 8; first++) {
			struct span in = hex(rows[i].hex);
			struct amqp_tap_out t;
			struct str out = {.max = 0};
			amqp_tap_out_init(&t);
			ck_assert_int_eq(amqp_tap_out_write(&t, span_of(in.p, first), &out), ERR_OK);
			ck_assert_int_eq(amqp_tap_out_write(&t, span_of(in.p + first, 8 - first), &out),
					 rows[i].err);
			amqp_tap_out_fini(&t);
			str_fini(&out);
			bytes_free(in);
		}
	}
}
END_TEST

START_TEST(flipped_byte_is_survived)
{
	struct span in = hex(golden_proton_engine);
	struct span copy = prefix(in, 600);
	union {
		const uint8_t *in;
		uint8_t *out;
	} p = {.in = copy.p};
	for (size_t at = 0; at < copy.n; at++) {
		static const uint8_t flips[] = {0x01, 0x80, 0xff};
		for (size_t f = 0; f < sizeof flips; f++) {
			struct amqp_tap_out t;
			struct str out = {.max = 0};
			p.out[at] ^= flips[f];
			amqp_tap_out_init(&t);
			(void)!amqp_tap_out_write(&t, copy, &out);
			amqp_tap_out_fini(&t);
			str_fini(&out);
			p.out[at] ^= flips[f];
		}
	}
	bytes_free(copy);
	bytes_free(in);
}
END_TEST

START_TEST(writing_without_memory_fails)
{
	struct span in = hex(golden_proton_engine);
	for (long n = 1;; n++) {
		struct amqp_tap_out t;
		struct str out = {.max = 0};
		enum err e = ERR_OK;
		amqp_tap_out_init(&t);
		mem_fault_at(n);
		for (size_t at = 0; at < in.n && e == ERR_OK; at += 50) {
			size_t len = in.n - at < 50 ? in.n - at : 50;
			e = amqp_tap_out_write(&t, span_of(in.p + at, len), &out);
		}
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		amqp_tap_out_fini(&t);
		str_fini(&out);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			ck_assert_int_gt(n, 1);
			break;
		}
	}
	bytes_free(in);
}
END_TEST

Suite *tap_out_suite(void)
{
	Suite *s = suite_create("amqp tap out");
	TCase *t = tcase_create("tap out");
	tcase_add_loop_test(t, every_performative_is_padded, 0, sizeof streams / sizeof streams[0]);
	tcase_add_loop_test(t, frame_is_written_as, 0, sizeof frames / sizeof frames[0]);
	tcase_add_test(t, long_description_takes_long_lists);
	tcase_add_test(t, long_transfer_takes_a_long_list);
	tcase_add_test(t, output_that_is_not_amqp_is_refused);
	tcase_add_test(t, flipped_byte_is_survived);
	tcase_add_test(t, writing_without_memory_fails);
	suite_add_tcase(s, t);
	return s;
}
