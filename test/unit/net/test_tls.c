#include "gateway/net/tls.h"

#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fixture.h"

static struct stage stage;
static struct dir dir;

static void setup(void)
{
	dir_certificates(&dir);
	log_catch();
}

static void teardown(void)
{
	log_release();
	dir_remove(&dir);
}

/* ---- clients that do it wrong ------------------------------------------------ */

START_TEST(plain_client_on_a_tls_port_is_closed_with_one_line)
{
	char line[512];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	int fd = raw_connect(stage.port);
	ck_assert_int_eq(send(fd, "AMQP\x03\x01\x00\x00", 8, 0), 8);
	raw_drain(fd);	/* an alert perhaps, then the end */
	log_wait("NET-TLS-FAILED", line);
	ck_assert_ptr_nonnull(strstr(line, "peer=127.0.0.1:"));
	ck_assert_ptr_nonnull(strstr(line, "does not speak TLS"));
	ck_assert_int_eq(log_seen("NET-TLS-FAILED", line), 1);
	close(fd);
	struct net_dial *c = dial(&stage, dir.ca);
	echo_round(c, 1000);
	net_dial_close(&c);
	stage_stop(&stage, 1000);
	ck_assert_int_eq(stage.opened, 1);
}
END_TEST

/* Beginnings that look like TLS and go wrong in different places. */
START_TEST(garbage_on_a_tls_port_is_closed)
{
	uint8_t bytes[600];
	size_t heads = 5;
	static const uint8_t head[5][9] = {
		{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc},	/* a client hello of garbage */
		{0x16, 3, 3, 0xff, 0xff, 1, 0, 0, 0},	/* an over-long record */
		{0x17, 3, 3, 0, 20, 0, 0, 0, 0},	/* data before the handshake */
		{0x15, 3, 3, 0, 2, 2, 40, 0, 0},	/* an alert */
		{0x00, 0, 0, 0, 0, 0, 0, 0, 0},
	};
	char line[512];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	for (size_t i = 0; i < heads; i++) {
		for (size_t k = 0; k < sizeof bytes; k++) {
			bytes[k] = (uint8_t)(k * 2654435761u >> 13);
		}
		memcpy(bytes, head[i], sizeof head[i]);
		int fd = raw_connect(stage.port);
		ck_assert_int_eq(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
		raw_drain(fd);
		close(fd);
	}
	stage_stop(&stage, 1000);
	ck_assert_int_eq(log_seen("NET-TLS-FAILED", line), (int)heads);
	ck_assert_int_eq(stage.opened, 0);
}
END_TEST

START_TEST(silent_client_is_closed_at_the_handshake_deadline)
{
	struct net_options o = {.loops = 1, .handshake_timeout_ms = 200};
	char line[512];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, &o, dir_tls(&dir, NULL));
	int64_t begun = clock_mono_ms();
	int fd = raw_connect(stage.port);
	ck_assert_int_eq(send(fd, "\x16\x03\x01", 3, 0), 3);
	raw_drain(fd);
	ck_assert_int_ge(clock_mono_ms() - begun, 200);
	close(fd);
	log_wait("NET-TLS-FAILED", line);
	ck_assert_ptr_nonnull(strstr(line, "within 200 ms"));
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(probe_that_sends_nothing_makes_no_line)
{
	char line[512];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	close(raw_connect(stage.port));
	struct net_dial *c = dial(&stage, dir.ca);
	echo_round(c, 10);
	net_dial_close(&c);
	stage_stop(&stage, 1000);
	ck_assert_int_eq(log_seen("NET-TLS-FAILED", line), 0);
}
END_TEST

/* ---- a client of OpenSSL's own making ------------------------------------------ */

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

/* Gives SSL_connect's result. */
static int client_open(struct client *c, const struct dir *cert, int max_version)
{
	c->ctx = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_nonnull(c->ctx);
	SSL_CTX_set_security_level(c->ctx, 0);	/* lets it offer old versions */
	ck_assert_int_eq(SSL_CTX_set_max_proto_version(c->ctx, max_version), 1);
	ck_assert_int_eq(SSL_CTX_load_verify_file(c->ctx, dir.ca), 1);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	if (cert != NULL) {
		ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(c->ctx, cert->cert), 1);
		ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(c->ctx, cert->key, SSL_FILETYPE_PEM), 1);
	}
	c->ssl = SSL_new(c->ctx);
	c->fd = raw_connect(stage.port);
	SSL_set_fd(c->ssl, c->fd);
	return SSL_connect(c->ssl);
}

static void client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
	ERR_clear_error();
}

static void client_echo(struct client *c)
{
	char buf[8];
	ck_assert_int_eq(SSL_write(c->ssl, "ping", 4), 4);
	ck_assert_int_eq(SSL_read(c->ssl, buf, sizeof buf), 4);
	ck_assert_int_eq(memcmp(buf, "ping", 4), 0);
}

START_TEST(versions_below_1_2_are_refused)
{
	struct client c;
	char line[512];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	ck_assert_int_ne(client_open(&c, NULL, TLS1_1_VERSION), 1);
	client_close(&c);
	log_wait("NET-TLS-FAILED", line);
	ck_assert_ptr_nonnull(strstr(line, "below 1.2"));
	ck_assert_int_eq(client_open(&c, NULL, TLS1_2_VERSION), 1);
	client_echo(&c);
	client_close(&c);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(key_update_in_the_middle_is_answered)
{
	struct client c;
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	ck_assert_int_eq(client_open(&c, NULL, TLS1_3_VERSION), 1);
	for (int i = 0; i < 5; i++) {
		client_echo(&c);
		ck_assert_int_eq(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	}
	client_echo(&c);
	client_close(&c);
	stage_stop(&stage, 1000);
}
END_TEST

/* close_notify followed by more bytes in the same packet: they are nobody's. */
START_TEST(bytes_after_close_notify_are_ignored)
{
	struct client c;
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	ck_assert_int_eq(client_open(&c, NULL, TLS1_3_VERSION), 1);
	client_echo(&c);
	int one = 1;
	setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &one, sizeof one);
	SSL_shutdown(c.ssl);
	ck_assert_int_eq(send(c.fd, "garbage garbage", 15, MSG_NOSIGNAL), 15);
	int zero = 0;
	setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &zero, sizeof zero);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_OK);
	ck_assert_int_eq(stage.ended, 1);
	client_close(&c);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(verified_client_certificate_gives_its_name)
{
	struct client c;
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, dir.ca));
	ck_assert_int_eq(client_open(&c, &dir, TLS1_3_VERSION), 1);
	client_echo(&c);
	ck_assert_str_eq(stage.peer_name, "hub.example.test");
	client_close(&c);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(client_open(&c, NULL, TLS1_3_VERSION), 1);
	client_echo(&c);
	ck_assert_str_eq(stage.peer_name, "");
	client_close(&c);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(client_certificate_of_a_stranger_is_refused)
{
	struct client c;
	struct dir stranger;
	char line[512];
	char byte;
	dir_certificates(&stranger);
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, dir.ca));
	/* In TLS 1.3 the client learns it with its first read. */
	if (client_open(&c, &stranger, TLS1_3_VERSION) == 1) {
		ck_assert_int_le(SSL_read(c.ssl, &byte, 1), 0);
	}
	client_close(&c);
	log_wait("NET-TLS-FAILED", line);
	stage_stop(&stage, 1000);
	ck_assert_int_eq(stage.opened, 0);
	dir_remove(&stranger);
}
END_TEST

/* ---- files ------------------------------------------------------------------------ */

static void copy_file(const char *from, const char *to)
{
	char buf[8192];
	FILE *in = fopen(from, "re");
	FILE *out = fopen(to, "we");
	ck_assert_ptr_nonnull(in);
	ck_assert_ptr_nonnull(out);
	size_t n = fread(buf, 1, sizeof buf, in);
	ck_assert_uint_eq(fwrite(buf, 1, n, out), n);
	fclose(in);
	fclose(out);
}

START_TEST(reload_changes_new_connections_only)
{
	struct dir other;
	struct net_dial *fresh = NULL;
	struct err_detail d = {0};
	char before[CLOCK_ISO_MAX];
	dir_certificates(&other);
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	struct net_dial *old = dial(&stage, dir.ca);
	echo_round(old, 1000);
	net_tls_expiry(stage.tls, before);
	ck_assert_int_eq(strncmp(before, "20", 2), 0);
	copy_file(other.cert, dir.cert);
	/* The key does not fit yet: what is in use stays. */
	ck_assert_int_eq(net_tls_reload(stage.tls, &d), ERR_INVALID);
	ck_assert_ptr_nonnull(strstr(d.text, "does not belong"));
	fresh = dial(&stage, dir.ca);
	net_dial_close(&fresh);
	copy_file(other.key, dir.key);
	ck_assert_msg(net_tls_reload(stage.tls, &d) == ERR_OK, "%s", d.text);
	echo_round(old, 100000);
	struct net_dial_options o = {
		.host = "127.0.0.1", .port = stage.port, .tls = true, .ca_file = dir.ca};
	ck_assert_int_eq(net_dial_open(&o, &fresh, &d), ERR_UNAUTHORIZED);
	fresh = dial(&stage, other.ca);
	echo_round(fresh, 1000);
	net_dial_close(&fresh);
	net_dial_close(&old);
	stage_stop(&stage, 1000);
	dir_remove(&other);
}
END_TEST

static void expect_new(const struct net_tls_files *files, enum err want, const char *text)
{
	struct net_tls *tls = NULL;
	struct err_detail d = {0};
	ck_assert_int_eq(net_tls_new(files, &tls, &d), want);
	ck_assert_msg(strstr(d.text, text) != NULL, "%s", d.text);
	ck_assert_ptr_null(tls);
}

START_TEST(unusable_files_are_named)
{
	char locked[128];
	struct net_tls_files files = {"/nonexistent/cert.pem", dir.key, NULL};
	expect_new(&files, ERR_NOT_FOUND, "/nonexistent/cert.pem");
	files = (struct net_tls_files){dir.cert, "/nonexistent/key.pem", NULL};
	expect_new(&files, ERR_NOT_FOUND, "/nonexistent/key.pem");
	files = (struct net_tls_files){dir.cert, dir.cert, NULL};
	expect_new(&files, ERR_INVALID, "not usable PEM");
	files = (struct net_tls_files){dir.key, dir.key, NULL};
	expect_new(&files, ERR_INVALID, "not usable PEM");
	files = (struct net_tls_files){dir.cert, dir.ca_key, NULL};
	expect_new(&files, ERR_INVALID, "does not belong");
	files = (struct net_tls_files){dir.cert, dir.key, dir.key};
	expect_new(&files, ERR_INVALID, "client CA");
	snprintf(locked, sizeof locked, "%s/locked.pem", dir.path);
	FILE *f = fopen(locked, "we");
	ck_assert_ptr_nonnull(f);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	ck_assert_int_eq(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL),
			 1);
	EVP_PKEY_free(key);
	fclose(f);
	files = (struct net_tls_files){dir.cert, locked, NULL};
	expect_new(&files, ERR_INVALID, "encrypted");
	unlink(locked);
}
END_TEST

START_TEST(failed_allocation_of_settings_frees_all)
{
	struct net_tls_files files = {dir.cert, dir.key, dir.ca};
	for (long n = 1;; n++) {
		struct net_tls *tls = NULL;
		mem_fault_at(n);
		enum err e = net_tls_new(&files, &tls, NULL);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			net_tls_free(&tls);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
	}
}
END_TEST

Suite *tls_suite(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("tls");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, plain_client_on_a_tls_port_is_closed_with_one_line);
	tcase_add_test(t, garbage_on_a_tls_port_is_closed);
	tcase_add_test(t, silent_client_is_closed_at_the_handshake_deadline);
	tcase_add_test(t, probe_that_sends_nothing_makes_no_line);
	tcase_add_test(t, versions_below_1_2_are_refused);
	tcase_add_test(t, key_update_in_the_middle_is_answered);
	tcase_add_test(t, bytes_after_close_notify_are_ignored);
	tcase_add_test(t, verified_client_certificate_gives_its_name);
	tcase_add_test(t, client_certificate_of_a_stranger_is_refused);
	tcase_add_test(t, reload_changes_new_connections_only);
	tcase_add_test(t, unusable_files_are_named);
	tcase_add_test(t, failed_allocation_of_settings_frees_all);
	suite_add_tcase(s, t);
	return s;
}
