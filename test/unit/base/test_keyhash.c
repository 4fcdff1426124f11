#include "base/keyhash.h"

#include "suites.h"

/* Computed by the mapper that the SDKs carry. */
static const struct {
	const char *key;
	int hash;
	uint32_t parts;
	uint32_t partition;
} vectors[] = {
	{"", 0, 8, 0},
	{"a", -16220, 8, 4},
	{"hello", 2839, 8, 7},
	{"hello", 2839, 32, 23},
	{"partition-key", -15301, 8, 5},
	{"device-0001", -24874, 8, 2},
	{"device-0001", -24874, 32, 10},
	{"0123456789ab", -17054, 8, 6},
	{"0123456789abc", -4167, 8, 7},
	{"The quick brown fox jumps over the lazy dog", -31937, 32, 1},
	{"Ünïcødé", 13109, 8, 5},
	{"Ünïcødé", 13109, 32, 21},
};

START_TEST(key_goes_to_the_partition_the_sdks_expect)
{
	struct span key = span_str(vectors[_i].key);
	ck_assert_int_eq(keyhash(key), vectors[_i].hash);
	ck_assert_uint_eq(keyhash_partition(key, vectors[_i].parts), vectors[_i].partition);
	ck_assert_uint_eq(keyhash_partition(key, 1), 0);
}
END_TEST

START_TEST(partition_is_always_in_range)
{
	uint8_t key[40];
	for (size_t i = 0; i < sizeof key; i++) {
		key[i] = (uint8_t)(i * 37);
	}
	for (uint32_t parts = 1; parts <= 1024; parts += 31) {
		for (size_t n = 0; n <= sizeof key; n++) {
			ck_assert_uint_lt(keyhash_partition(span_of(key, n), parts), parts);
		}
	}
	ck_assert_int_eq(keyhash(span_of(NULL, 0)), 0);
}
END_TEST

Suite *keyhash_suite(void)
{
	Suite *s = suite_create("keyhash");
	TCase *t = tcase_create("keyhash");
	tcase_add_loop_test(t, key_goes_to_the_partition_the_sdks_expect, 0,
			    (int)(sizeof vectors / sizeof *vectors));
	tcase_add_test(t, partition_is_always_in_range);
	suite_add_tcase(s, t);
	return s;
}
