#include "base/crypto.h"

#include <stdio.h>

#include "base/mem.h"
#include "suites.h"

static void hex(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		snprintf(out + 2 * i, 3, "%02x", p[i]);
	}
}

/* RFC 4231. */
static const struct {
	const char *key;
	const char *data;
	const char *mac;
} macs[] = {
	{"\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b",
	 "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
	{"Jefe", "what do ya want for nothing?",
	 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
};

START_TEST(mac_is_the_known_one_however_the_data_is_cut)
{
	struct span data = span_str(macs[_i].data);
	for (size_t cut = 0; cut <= data.n; cut++) {
		uint8_t mac[CRYPTO_SHA256];
		char text[2 * CRYPTO_SHA256 + 1];
		ck_assert_int_eq(crypto_hmac_sha256(span_str(macs[_i].key), span_of(data.p, cut),
						    span_of(data.p + cut, data.n - cut), mac),
				 ERR_OK);
		hex(mac, sizeof mac, text);
		ck_assert_str_eq(text, macs[_i].mac);
	}
}
END_TEST

START_TEST(digest_is_the_known_one)
{
	uint8_t d[CRYPTO_SHA256];
	char text[2 * CRYPTO_SHA256 + 1];
	ck_assert_int_eq(crypto_sha256(span_str("abc"), d), ERR_OK);
	hex(d, sizeof d, text);
	ck_assert_str_eq(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ck_assert_int_eq(crypto_sha256(span_of(NULL, 0), d), ERR_OK);
	hex(d, sizeof d, text);
	ck_assert_str_eq(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

START_TEST(mac_without_memory_is_reported)
{
	uint8_t mac[CRYPTO_SHA256];
	mem_fault_at(1);
	ck_assert_int_eq(crypto_hmac_sha256(span_str("k"), span_str("a"), span_str("b"), mac),
			 ERR_NOMEM);
	mem_fault_at(0);
}
END_TEST

START_TEST(equality_needs_length_and_content)
{
	ck_assert(crypto_equal(span_str("abc"), span_str("abc")));
	ck_assert(!crypto_equal(span_str("abc"), span_str("abd")));
	ck_assert(!crypto_equal(span_str("abc"), span_str("ab")));
	ck_assert(crypto_equal(span_of(NULL, 0), span_str("")));
}
END_TEST

/* RFC 4648. */
static const struct {
	const char *raw;
	const char *text;
} base64[] = {
	{"", ""},	   {"f", "Zg=="},	  {"fo", "Zm8="},	 {"foo", "Zm9v"},
	{"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xfe", "+//+"},
};

START_TEST(base64_is_the_known_one_both_ways)
{
	struct span raw = span_str(base64[_i].raw);
	size_t need = strlen(base64[_i].text) + 1;
	char text[16];
	uint8_t back[16];
	size_t n = 99;
	ck_assert_int_eq(crypto_base64_encode(raw, text, need), ERR_OK);
	ck_assert_str_eq(text, base64[_i].text);
	ck_assert_int_eq(crypto_base64_encode(raw, text, need - 1), ERR_TOO_LARGE);
	ck_assert_int_eq(crypto_base64_decode(span_str(base64[_i].text), back, raw.n, &n), ERR_OK);
	ck_assert(span_eq(span_of(back, n), raw));
	if (raw.n != 0) {
		ck_assert_int_eq(crypto_base64_decode(span_str(base64[_i].text), back, raw.n - 1,
						      &n), ERR_TOO_LARGE);
	}
	size_t bare = strcspn(base64[_i].text, "=");
	ck_assert_int_eq(crypto_base64_decode(span_of(base64[_i].text, bare), back, raw.n, &n),
			 ERR_OK);
	ck_assert(span_eq(span_of(back, n), raw));
}
END_TEST

START_TEST(bad_base64_is_rejected)
{
	static const char *const rows[] = {"A", "AAAAA", "A=AA", "AA AA", "AA\n", "AA-A", "AA_A",
					   "AAA%3D"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t out[16];
		size_t n;
		ck_assert_int_eq(crypto_base64_decode(span_str(rows[i]), out, sizeof out, &n),
				 ERR_DECODE);
	}
}
END_TEST

START_TEST(ids_are_well_formed_and_differ)
{
	uint8_t a[16];
	uint8_t b[16];
	crypto_uuid(a);
	crypto_uuid(b);
	ck_assert_mem_ne(a, b, sizeof a);
	ck_assert_uint_eq(a[6] >> 4, 4);
	ck_assert_uint_eq(a[8] >> 6, 2);
	static const uint8_t raw[16] = {0, 1, 2,  3,  4,  5,  6,  7,
					8, 9, 10, 11, 12, 13, 14, 255};
	char text[CRYPTO_UUID_TEXT];
	crypto_uuid_text(raw, text);
	ck_assert_str_eq(text, "00010203-0405-0607-0809-0a0b0c0d0eff");
	char t1[TRACKING_ID_MAX];
	char t2[TRACKING_ID_MAX];
	crypto_tracking_id(t1);
	crypto_tracking_id(t2);
	ck_assert_uint_eq(strlen(t1), TRACKING_ID_MAX - 1);
	ck_assert_uint_eq(strspn(t1, "0123456789abcdef"), TRACKING_ID_MAX - 1);
	ck_assert_str_ne(t1, t2);
}
END_TEST

START_TEST(wiped_memory_is_zero)
{
	char secret[] = "secret";
	static const char zero[sizeof secret];
	crypto_wipe(secret, sizeof secret);
	ck_assert_mem_eq(secret, zero, sizeof secret);
}
END_TEST

Suite *crypto_suite(void)
{
	Suite *s = suite_create("crypto");
	TCase *t = tcase_create("crypto");
	tcase_add_loop_test(t, mac_is_the_known_one_however_the_data_is_cut, 0,
			    (int)(sizeof macs / sizeof *macs));
	tcase_add_test(t, digest_is_the_known_one);
	tcase_add_test(t, mac_without_memory_is_reported);
	tcase_add_test(t, equality_needs_length_and_content);
	tcase_add_loop_test(t, base64_is_the_known_one_both_ways, 0,
			    (int)(sizeof base64 / sizeof *base64));
	tcase_add_test(t, bad_base64_is_rejected);
	tcase_add_test(t, ids_are_well_formed_and_differ);
	tcase_add_test(t, wiped_memory_is_zero);
	suite_add_tcase(s, t);
	return s;
}
