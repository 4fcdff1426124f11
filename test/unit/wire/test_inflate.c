#include <stdlib.h>

#include <lz4frame.h>
#include <snappy-c.h>

#include "base/mem.h"
#include "gateway/wire/records.h"
#include "test/unit/wire/help.h"
#include "test/unit/wire/suites.h"

enum { MIB = 1 << 20, TEXT = 300000, CODECS = RECORDS_ZSTD + 1 };

/* Unpacks all in steps of `step`. */
static enum err unpack(enum records_codec codec, struct span in, size_t max, struct budget *memory,
		       size_t step, struct str *out)
{
	struct inflate *i;
	uint8_t *piece = malloc(step);
	ck_assert_ptr_nonnull(piece);
	size_t got = 1;
	enum err e = inflate_new(codec, in, max, memory, &i);
	while (e == ERR_OK && got > 0) {
		e = inflate_read(i, piece, step, &got);
		ck_assert_uint_le(got, step);
		if (out != NULL) {
			str_addn(out, piece, got);
		}
	}
	inflate_free(&i);
	free(piece);
	return e;
}

static void text_of(struct str *out, size_t n)
{
	*out = (struct str){.max = 64 * MIB};
	uint32_t x = 7;
	while (out->len < n) {
		x = x * 1664525 + 1013904223;
		str_printf(out, "%u event %x, ", (unsigned)(x >> 26), (unsigned)(x >> 12 & 0xff));
	}
	out->len = n;
}

static void packed_text(enum records_codec codec, size_t n, struct str *text, struct str *packed)
{
	text_of(text, n);
	*packed = (struct str){.max = 64 * MIB};
	ck_assert_int_eq(deflate_all(codec, span_in(text), packed), ERR_OK);
}

START_TEST(what_was_packed_unpacks_in_any_steps)
{
	static const size_t steps[] = {1, 7, 4096, RECORDS_PIECE, 2 * TEXT};
	struct str text;
	struct str packed;
	packed_text((enum records_codec)_i, TEXT, &text, &packed);
	for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
		struct str out = {.max = 64 * MIB};
		ck_assert_int_eq(unpack((enum records_codec)_i, span_in(&packed), TEXT, NULL, steps[k],
					&out), ERR_OK);
		ck_assert(span_eq(span_in(&out), span_in(&text)));
		str_fini(&out);
	}
	str_fini(&text);
	str_fini(&packed);
}
END_TEST

START_TEST(bound_holds_for_the_sum)
{
	static const size_t steps[] = {1000, RECORDS_PIECE, 2 * TEXT};
	struct str text;
	struct str packed;
	packed_text((enum records_codec)_i, TEXT, &text, &packed);
	for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
		struct str out = {.max = 64 * MIB};
		ck_assert_int_eq(unpack((enum records_codec)_i, span_in(&packed), TEXT - 1, NULL,
					steps[k], &out), ERR_TOO_LARGE);
		ck_assert_uint_lt(out.len, TEXT);
		str_fini(&out);
		ck_assert_int_eq(unpack((enum records_codec)_i, span_in(&packed), TEXT, NULL, steps[k],
					NULL), ERR_OK);
		ck_assert_int_eq(unpack((enum records_codec)_i, span_in(&packed), TEXT + 1, NULL,
					steps[k], NULL), ERR_OK);
	}
	str_fini(&text);
	str_fini(&packed);
}
END_TEST

/* An end that is missing is seen, but where xerial's framing has none. */
START_TEST(streams_cut_short_are_damaged)
{
	struct str text;
	struct str packed;
	packed_text((enum records_codec)_i, 500, &text, &packed);
	for (size_t n = 0; n < packed.len; n++) {
		uint8_t *copy = mem_dup(packed.p, n);
		struct str out = {.max = MIB};
		enum err e = unpack((enum records_codec)_i, span_of(copy, n), MIB, NULL, 100, &out);
		if (_i == RECORDS_SNAPPY && n == 16) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_uint_eq(out.len, 0);
		} else {
			ck_assert_int_eq(e, ERR_DECODE);
		}
		str_fini(&out);
		mem_free(copy);
	}
	str_fini(&text);
	str_fini(&packed);
}
END_TEST

START_TEST(bytes_behind_the_end_are_damage)
{
	static const char *const garbage[] = {"x", "garbage that is longer", "\x1f\x8b", "\x01\x02\x03"};
	for (size_t k = 0; k < sizeof garbage / sizeof garbage[0]; k++) {
		struct str text;
		struct str packed;
		packed_text((enum records_codec)_i, 500, &text, &packed);
		str_add(&packed, garbage[k]);
		ck_assert_int_eq(unpack((enum records_codec)_i, span_in(&packed), MIB, NULL, 1000, NULL),
				 ERR_DECODE);
		str_fini(&text);
		str_fini(&packed);
	}
}
END_TEST

START_TEST(every_changed_byte_is_survived)
{
	struct str text;
	struct str packed;
	packed_text((enum records_codec)_i, 300, &text, &packed);
	for (size_t at = 0; at < packed.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			packed.p[at] = (char)(packed.p[at] ^ 1 << bit);
			struct budget b;
			budget_init(&b, 32 * MIB);
			(void)!unpack((enum records_codec)_i, span_in(&packed), MIB, &b, 1000, NULL);
			ck_assert_uint_eq(budget_used(&b), 0);
			packed.p[at] = (char)(packed.p[at] ^ 1 << bit);
		}
	}
	str_fini(&text);
	str_fini(&packed);
}
END_TEST

START_TEST(memory_that_is_short_is_told_and_nothing_leaks)
{
	struct str text;
	struct str packed;
	packed_text((enum records_codec)_i, TEXT, &text, &packed);
	bool fired = true;
	for (long n = 1; fired; n++) {
		struct budget b;
		budget_init(&b, 64 * MIB);
		mem_fault_at(n);
		enum err e = unpack((enum records_codec)_i, span_in(&packed), TEXT, &b, 5000, NULL);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		ck_assert_uint_eq(budget_used(&b), 0);
	}
	str_fini(&text);
	str_fini(&packed);
}
END_TEST

START_TEST(unknown_codecs_are_refused)
{
	struct inflate *i;
	struct str out = {.max = 0};
	for (int codec = RECORDS_ZSTD + 1; codec < 8; codec++) {
		ck_assert_int_eq(inflate_new((enum records_codec)codec, span_str("x"), 10, NULL, &i),
				 ERR_DECODE);
		ck_assert_ptr_null(i);
		ck_assert_int_eq(deflate_all((enum records_codec)codec, span_str("x"), &out),
				 ERR_INVALID);
	}
	inflate_free(&i);
	str_fini(&out);
}
END_TEST

/* ---- bombs ------------------------------------------------------------------------ */

/* Must stop at `max` with no more working memory than `memory`. */
static void defuse(enum records_codec codec, struct span bomb, size_t max, size_t memory)
{
	struct budget b;
	struct inflate *i;
	uint8_t *piece = malloc(RECORDS_PIECE);
	size_t sum = 0;
	size_t got = 1;
	ck_assert_ptr_nonnull(piece);
	budget_init(&b, memory);
	enum err e = inflate_new(codec, bomb, max, &b, &i);
	while (e == ERR_OK && got > 0) {
		e = inflate_read(i, piece, RECORDS_PIECE, &got);
		sum += got;
	}
	ck_assert_int_eq(e, ERR_TOO_LARGE);
	ck_assert_uint_le(sum, max);
	inflate_free(&i);
	ck_assert_uint_eq(budget_used(&b), 0);
	free(piece);
}

/* 1 GiB of zeros, as 64 members or frames of 16 MiB. */
static void repeat_bomb(enum records_codec codec, size_t memory)
{
	uint8_t *zeros = calloc(16, MIB);
	struct str one = {.max = 64 * MIB};
	struct str bomb = {.max = 64 * MIB};
	ck_assert_ptr_nonnull(zeros);
	ck_assert_int_eq(deflate_all(codec, span_of(zeros, 16 * MIB), &one), ERR_OK);
	for (int k = 0; k < 64; k++) {
		str_addn(&bomb, one.p, one.len);
	}
	ck_assert(!bomb.bad);
	ck_assert_uint_lt(bomb.len, 2 * MIB);
	defuse(codec, span_in(&bomb), 64 * MIB, memory);
	str_fini(&one);
	str_fini(&bomb);
	free(zeros);
}

START_TEST(gzip_bomb_stops_at_the_bound)
{
	repeat_bomb(RECORDS_GZIP, 0);	/* never beyond what is not counted */
}
END_TEST

START_TEST(zstd_bomb_stops_at_the_bound)
{
	repeat_bomb(RECORDS_ZSTD, 4 * MIB);
}
END_TEST

START_TEST(lz4_bomb_stops_at_the_bound)
{
	LZ4F_preferences_t prefs = {.frameInfo = {.blockSizeID = LZ4F_max4MB}};
	LZ4F_cctx *c;
	ck_assert(!LZ4F_isError(LZ4F_createCompressionContext(&c, LZ4F_VERSION)));
	uint8_t *zeros = calloc(1, MIB);
	size_t cap = LZ4F_compressBound(MIB, &prefs);
	char *room = malloc(cap);
	struct str bomb = {.max = 64 * MIB};
	size_t n = LZ4F_compressBegin(c, room, cap, &prefs);
	str_addn(&bomb, room, n);
	for (int k = 0; k < 1024; k++) {
		n = LZ4F_compressUpdate(c, room, cap, zeros, MIB, NULL);
		ck_assert(!LZ4F_isError(n));
		str_addn(&bomb, room, n);
	}
	n = LZ4F_compressEnd(c, room, cap, NULL);
	str_addn(&bomb, room, n);
	ck_assert_uint_lt(bomb.len, 5 * MIB);
	defuse(RECORDS_LZ4, span_in(&bomb), 64 * MIB, 10 * MIB);
	(void)LZ4F_freeCompressionContext(c);
	str_fini(&bomb);
	free(zeros);
	free(room);
}
END_TEST

/* snappy packs at most 21 to 1: a bomb is as large as that, or lies. */
START_TEST(snappy_bomb_stops_at_the_bound)
{
	uint8_t *zeros = calloc(1, MIB);
	size_t len = snappy_max_compressed_length(MIB);
	char *block = malloc(len);
	ck_assert_int_eq(snappy_compress((const char *)zeros, MIB, block, &len), SNAPPY_OK);
	struct str bomb = {.max = 64 * MIB};
	str_addn(&bomb, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
	uint8_t head[4];
	put_u32(head, (uint32_t)len);
	for (int k = 0; k < 1024; k++) {
		str_addn(&bomb, head, sizeof head);
		str_addn(&bomb, block, len);
	}
	ck_assert(!bomb.bad);
	defuse(RECORDS_SNAPPY, span_in(&bomb), 64 * MIB, MIB);
	str_fini(&bomb);
	free(zeros);
	free(block);
}
END_TEST

START_TEST(snappy_length_that_lies_costs_no_memory)
{
	/* 1 GiB and 2 GiB in a few octets; 1 MiB where 64 KiB are allowed. */
	static const uint8_t gib[] = {0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 'a', 0xfe, 1, 0};
	struct budget b;
	budget_init(&b, 0);
	ck_assert_int_eq(unpack(RECORDS_SNAPPY, span_of(gib, sizeof gib), SIZE_MAX, &b, 1000, NULL),
			 ERR_DECODE);
	uint8_t *zeros = calloc(1, MIB);
	size_t len = snappy_max_compressed_length(MIB);
	char *block = malloc(len);
	ck_assert_int_eq(snappy_compress((const char *)zeros, MIB, block, &len), SNAPPY_OK);
	ck_assert_int_eq(unpack(RECORDS_SNAPPY, span_of(block, len), MIB - 1, &b, 1000, NULL),
			 ERR_TOO_LARGE);
	/* The budget will never have what the block needs; or has not at present. */
	ck_assert_int_eq(unpack(RECORDS_SNAPPY, span_of(block, len), MIB, &b, 1000, NULL),
			 ERR_TOO_LARGE);
	budget_init(&b, MIB);
	ck_assert(budget_take(&b, MIB / 2));
	ck_assert_int_eq(unpack(RECORDS_SNAPPY, span_of(block, len), MIB, &b, 1000, NULL), ERR_BUSY);
	ck_assert_uint_eq(budget_used(&b), MIB / 2);
	budget_give(&b, MIB / 2);
	ck_assert_int_eq(unpack(RECORDS_SNAPPY, span_of(block, len), MIB, &b, 1000, NULL), ERR_OK);
	ck_assert_uint_eq(budget_used(&b), 0);
	free(zeros);
	free(block);
}
END_TEST

/* ---- zstd's windows ----------------------------------------------------------------- */

/* A frame of one octet with that window descriptor. */
static enum err unpack_window(uint8_t descriptor, struct budget *b)
{
	uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, descriptor, 9, 0, 0, 'x'};
	return unpack(RECORDS_ZSTD, span_of(frame, sizeof frame), 100, b, 10, NULL);
}

START_TEST(zstd_windows_are_counted_and_bounded)
{
	enum { LOG_21 = 11 << 3, LOG_27 = 17 << 3, LOG_28 = 18 << 3 };
	struct budget b;
	ck_assert_int_eq(unpack_window(LOG_27, NULL), ERR_OK);
	ck_assert_int_eq(unpack_window(LOG_28, NULL), ERR_DECODE);
	ck_assert_int_eq(unpack_window(LOG_27 + 1, NULL), ERR_DECODE);
	budget_init(&b, 3 * MIB);
	ck_assert_int_eq(unpack_window(LOG_21, &b), ERR_OK);
	ck_assert_int_eq(unpack_window(LOG_27, &b), ERR_TOO_LARGE);
	ck_assert(budget_take(&b, 2 * MIB));
	ck_assert_int_eq(unpack_window(LOG_21, &b), ERR_BUSY);
	ck_assert_uint_eq(budget_used(&b), 2 * MIB);
}
END_TEST

START_TEST(zstd_formats_older_than_its_standard_are_refused)
{
	for (unsigned v = 0x1e; v < 0x28; v++) {
		uint8_t frame[] = {(uint8_t)v, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 9, 0, 0, 'x'};
		ck_assert_int_eq(unpack(RECORDS_ZSTD, span_of(frame, sizeof frame), 100, NULL, 10, NULL),
				 ERR_DECODE);
	}
}
END_TEST

Suite *inflate_suite(void)
{
	Suite *s = suite_create("inflate");
	TCase *t = tcase_create("codecs");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_was_packed_unpacks_in_any_steps, 0, CODECS);
	tcase_add_loop_test(t, bound_holds_for_the_sum, 0, CODECS);
	tcase_add_loop_test(t, streams_cut_short_are_damaged, 1, CODECS);
	tcase_add_loop_test(t, bytes_behind_the_end_are_damage, 1, CODECS);
	tcase_add_loop_test(t, every_changed_byte_is_survived, 1, CODECS);
	tcase_add_loop_test(t, memory_that_is_short_is_told_and_nothing_leaks, 0, CODECS);
	tcase_add_test(t, unknown_codecs_are_refused);
	suite_add_tcase(s, t);
	t = tcase_create("bombs");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, gzip_bomb_stops_at_the_bound);
	tcase_add_test(t, zstd_bomb_stops_at_the_bound);
	tcase_add_test(t, lz4_bomb_stops_at_the_bound);
	tcase_add_test(t, snappy_bomb_stops_at_the_bound);
	tcase_add_test(t, snappy_length_that_lies_costs_no_memory);
	tcase_add_test(t, zstd_windows_are_counted_and_bounded);
	tcase_add_test(t, zstd_formats_older_than_its_standard_are_refused);
	suite_add_tcase(s, t);
	return s;
}
