#include <check.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fixture.h"
#include "gateway/net/tls.h"

enum { DAY_S = 24 * 60 * 60 };

static struct dir dir;

static void setup(void)
{
	dir_certificates(&dir);
}

static void teardown(void)
{
	dir_remove(&dir);
}

static X509 *read_cert(const char *path)
{
	FILE *f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	ck_assert_ptr_nonnull(cert);
	return cert;
}

/* What `openssl verify -x509_strict -purpose sslserver` does. */
static int verify(const char *ca_path, const char *cert_path)
{
	X509 *ca = read_cert(ca_path);
	X509 *cert = read_cert(cert_path);
	X509_STORE *store = X509_STORE_new();
	X509_STORE_add_cert(store, ca);
	X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE_CTX_init(ctx, store, cert, NULL);
	X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
	X509_verify_cert(ctx);
	int result = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	X509_free(cert);
	X509_free(ca);
	return result;
}

static void make(const char *host)
{
	struct err_detail d = {0};
	ck_assert_msg(net_tls_make_development(dir.path, host, "node-1.example.test", &d) == ERR_OK,
		      "%s", d.text);
}

/* Which certificate a file holds. */
static void print_of(const char *path, unsigned char out[EVP_MAX_MD_SIZE])
{
	X509 *cert = read_cert(path);
	memset(out, 0, EVP_MAX_MD_SIZE);
	ck_assert_int_eq(X509_digest(cert, EVP_sha256(), out, NULL), 1);
	X509_free(cert);
}

START_TEST(leaf_verifies_strictly_and_has_all_names)
{
	ck_assert_int_eq(verify(dir.ca, dir.cert), X509_V_OK);
	X509 *cert = read_cert(dir.cert);
	static const char *const hosts[] = {"hub.example.test", "node-1.example.test", "localhost"};
	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
		ck_assert_int_eq(X509_check_host(cert, hosts[i], 0, 0, NULL), 1);
	}
	ck_assert_int_eq(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
	ck_assert_int_eq(X509_check_ip_asc(cert, "::1", 0), 1);
	ck_assert_int_eq(X509_check_host(cert, "other.example.test", 0, 0, NULL), 0);
	int days;
	int seconds;
	ck_assert_int_eq(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert),
					X509_get0_notAfter(cert)), 1);
	ck_assert_int_le(days, 825);
	X509_free(cert);
}
END_TEST

START_TEST(files_are_for_their_owner_only)
{
	const char *const paths[] = {dir.ca, dir.ca_key, dir.cert, dir.key};
	for (size_t i = 0; i < 4; i++) {
		struct stat st;
		ck_assert_int_eq(stat(paths[i], &st), 0);
		ck_assert_int_eq(st.st_mode & 0777, 0600);
	}
}
END_TEST

START_TEST(second_call_changes_nothing)
{
	unsigned char ca[2][EVP_MAX_MD_SIZE];
	unsigned char leaf[2][EVP_MAX_MD_SIZE];
	print_of(dir.ca, ca[0]);
	print_of(dir.cert, leaf[0]);
	make("hub.example.test");
	print_of(dir.ca, ca[1]);
	print_of(dir.cert, leaf[1]);
	ck_assert_mem_eq(ca[0], ca[1], sizeof ca[0]);
	ck_assert_mem_eq(leaf[0], leaf[1], sizeof leaf[0]);
}
END_TEST

START_TEST(leaf_near_its_end_or_with_other_names_is_renewed_by_the_same_ca)
{
	unsigned char ca[2][EVP_MAX_MD_SIZE];
	unsigned char leaf[2][EVP_MAX_MD_SIZE];
	print_of(dir.ca, ca[0]);
	print_of(dir.cert, leaf[0]);
	if (_i == 0) {
		clock_wall_shift_ms((int64_t)(820 - 29) * DAY_S * 1000);
		make("hub.example.test");
		clock_wall_shift_ms(-(int64_t)(820 - 29) * DAY_S * 1000);
	} else if (_i == 1) {
		make("192.0.2.7");
		X509 *cert = read_cert(dir.cert);
		ck_assert_int_eq(X509_check_ip_asc(cert, "192.0.2.7", 0), 1);
		X509_free(cert);
	} else {
		unlink(dir.key);
		make("hub.example.test");
	}
	print_of(dir.ca, ca[1]);
	print_of(dir.cert, leaf[1]);
	ck_assert_mem_eq(ca[0], ca[1], sizeof ca[0]);
	ck_assert(memcmp(leaf[0], leaf[1], sizeof leaf[0]) != 0);
	if (_i != 0) {
		ck_assert_int_eq(verify(dir.ca, dir.cert), X509_V_OK);
	}
}
END_TEST

START_TEST(damaged_ca_is_made_anew_with_a_leaf)
{
	FILE *f = fopen(dir.ca, "we");
	ck_assert_ptr_nonnull(f);
	fputs("not a certificate\n", f);
	fclose(f);
	make("hub.example.test");
	ck_assert_int_eq(verify(dir.ca, dir.cert), X509_V_OK);
}
END_TEST

START_TEST(missing_ca_key_matters_only_when_it_is_needed)
{
	struct err_detail d = {0};
	unlink(dir.ca_key);
	make("hub.example.test");
	ck_assert_int_eq(net_tls_make_development(dir.path, "new.example.test", NULL, &d),
			 ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, "ca.key"));
}
END_TEST

START_TEST(directory_that_is_missing_is_named)
{
	struct err_detail d = {0};
	ck_assert_int_eq(net_tls_make_development("/nonexistent/tls", "h", NULL, &d), ERR_IO);
	ck_assert_ptr_nonnull(strstr(d.text, "/nonexistent/tls"));
}
END_TEST

Suite *devcert_suite(void)
{
	Suite *s = suite_create("devcert");
	TCase *t = tcase_create("devcert");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, leaf_verifies_strictly_and_has_all_names);
	tcase_add_test(t, files_are_for_their_owner_only);
	tcase_add_test(t, second_call_changes_nothing);
	tcase_add_loop_test(t, leaf_near_its_end_or_with_other_names_is_renewed_by_the_same_ca, 0, 3);
	tcase_add_test(t, damaged_ca_is_made_anew_with_a_leaf);
	tcase_add_test(t, missing_ca_key_matters_only_when_it_is_needed);
	tcase_add_test(t, directory_that_is_missing_is_named);
	suite_add_tcase(s, t);
	return s;
}
