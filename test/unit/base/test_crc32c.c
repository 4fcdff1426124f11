/* The source itself is included under another name, which makes the table-driven
 * path reachable on machines that would never take it. */
#define crc32c crc32c_inner
#include "base/crc32c.c"
#undef crc32c

#include "suites.h"

uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* Bit by bit, straight from the polynomial. */
static uint32_t crc_plain(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int k = 0; k < 8; k++) {
			crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
		}
	}
	return ~crc;
}

/* "123456789", and RFC 3720 B.4. */
START_TEST(checksums_are_the_known_ones)
{
	uint8_t data[32];
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xE3069283);
	ck_assert_uint_eq(crc32c(0, "", 0), 0);
	memset(data, 0, sizeof data);
	ck_assert_uint_eq(crc32c(0, data, sizeof data), 0x8A9136AA);
	memset(data, 0xff, sizeof data);
	ck_assert_uint_eq(crc32c(0, data, sizeof data), 0x62A8AB43);
	for (size_t i = 0; i < sizeof data; i++) {
		data[i] = (uint8_t)i;
	}
	ck_assert_uint_eq(crc32c(0, data, sizeof data), 0x46DD794E);
}
END_TEST

START_TEST(all_paths_agree_at_every_length_and_start)
{
	uint8_t data[96];
	for (size_t i = 0; i < sizeof data; i++) {
		data[i] = (uint8_t)(i * 151 + 7);
	}
	for (size_t from = 0; from < 9; from++) {
		for (size_t n = 0; from + n <= sizeof data; n++) {
			uint32_t want = crc_plain(0, data + from, n);
			ck_assert_uint_eq(~crc_soft(~0U, data + from, n), want);
			ck_assert_uint_eq(crc32c_inner(0, data + from, n), want);
			ck_assert_uint_eq(crc32c(0, data + from, n), want);
		}
	}
}
END_TEST

START_TEST(checksum_continues_over_pieces)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog";
	size_t n = sizeof text - 1;
	uint32_t whole = crc32c(0, text, n);
	for (size_t cut = 0; cut <= n; cut++) {
		ck_assert_uint_eq(crc32c(crc32c(0, text, cut), text + cut, n - cut), whole);
	}
}
END_TEST

Suite *crc32c_suite(void)
{
	Suite *s = suite_create("crc32c");
	TCase *t = tcase_create("crc32c");
	tcase_add_test(t, checksums_are_the_known_ones);
	tcase_add_test(t, all_paths_agree_at_every_length_and_start);
	tcase_add_test(t, checksum_continues_over_pieces);
	suite_add_tcase(s, t);
	return s;
}
