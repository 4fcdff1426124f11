#include "gateway/net/dial.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static struct stage stage;

static enum err try_open(const char *host, bool tls, const char *ca_file, struct err_detail *d)
{
	struct net_dial *c = NULL;
	struct net_dial_options o = {
		.host = host, .port = stage.port, .tls = tls, .ca_file = ca_file, .timeout_ms = 5000};
	enum err e = net_dial_open(&o, &c, d);
	net_dial_close(&c);
	return e;
}

START_TEST(refused_connection_is_io)
{
	struct err_detail d = {0};
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, NULL);
	stage_stop(&stage, 0);	/* the port is free now */
	ck_assert_int_eq(try_open("127.0.0.1", false, NULL, &d), ERR_IO);
	ck_assert_ptr_nonnull(strstr(d.text, "refused"));
}
END_TEST

START_TEST(invalid_target_is_refused)
{
	struct err_detail d = {0};
	stage.port = 0;
	ck_assert_int_eq(try_open("127.0.0.1", false, NULL, &d), ERR_INVALID);
	stage.port = 1;
	ck_assert_int_eq(try_open("", false, NULL, &d), ERR_INVALID);
	ck_assert_int_eq(try_open("127.0.0.1", true, "/nonexistent/ca.pem", &d), ERR_IO);
}
END_TEST

START_TEST(certificates_are_checked)
{
	struct dir dir;
	struct dir other;
	struct err_detail d = {0};
	dir_certificates(&dir);
	dir_certificates(&other);
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	ck_assert_msg(try_open("127.0.0.1", true, dir.ca, &d) == ERR_OK, "%s", d.text);
	ck_assert_msg(try_open("localhost", true, dir.ca, &d) == ERR_OK, "%s", d.text);
	ck_assert_int_eq(try_open("127.0.0.1", true, other.ca, &d), ERR_UNAUTHORIZED);
	ck_assert_ptr_nonnull(strstr(d.text, "pass --ca FILE"));
	ck_assert_int_eq(try_open("127.0.0.1", true, NULL, &d), ERR_UNAUTHORIZED);
	ck_assert_int_eq(try_open("127.0.0.2", true, dir.ca, &d), ERR_IO);	/* not listening there */
	ck_assert_int_eq(try_open("127.0.0.1", true, "/nonexistent/ca.pem", &d), ERR_NOT_FOUND);
	ck_assert_int_eq(try_open("127.0.0.1", true, dir.key, &d), ERR_INVALID);
	stage_stop(&stage, 1000);
	dir_remove(&dir);
	dir_remove(&other);
}
END_TEST

START_TEST(certificate_for_another_name_is_refused)
{
	struct dir dir;
	struct err_detail d = {0};
	char bound[64];
	dir_certificates(&dir);
	stage_init(&stage, PLAY_ECHO);
	stage_listen(&stage, NULL, dir_tls(&dir, NULL));
	/* 127.0.0.2 is this machine too, but not in the certificate. */
	struct net_listen_options o = {.address = "127.0.0.2:0",
				       .protocol = &stage.protocol,
				       .ctx = &stage,
				       .tls = stage.tls};
	ck_assert_int_eq(net_listen(stage.net, &o, bound, &d), ERR_OK);
	stage_run(&stage);
	stage.port = atoi(strrchr(bound, ':') + 1);
	ck_assert_int_eq(try_open("127.0.0.2", true, dir.ca, &d), ERR_UNAUTHORIZED);
	ck_assert_ptr_nonnull(strstr(d.text, "does not name 127.0.0.2"));
	stage_stop(&stage, 1000);
	dir_remove(&dir);
}
END_TEST

START_TEST(tls_to_a_plain_port_says_so)
{
	struct err_detail d = {0};
	stage_init(&stage, PLAY_ECHO);	/* echoes the client hello */
	stage_start(&stage, NULL, NULL);
	ck_assert_int_ne(try_open("127.0.0.1", true, NULL, &d), ERR_OK);
	stage_stop(&stage, 1000);
	stage_init(&stage, PLAY_ANSWER);
	stage_start(&stage, NULL, NULL);
	ck_assert_int_ne(try_open("127.0.0.1", true, NULL, &d), ERR_OK);
	ck_assert_uint_gt(strlen(d.text), 0);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(read_timeout_leaves_the_connection_usable)
{
	struct dir dir;
	struct err_detail d = {0};
	bool tls = _i == 1;
	uint8_t byte;
	size_t n;
	dir_certificates(&dir);
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, tls ? dir_tls(&dir, NULL) : NULL);
	struct net_dial *c = dial(&stage, tls ? dir.ca : NULL);
	ck_assert(!net_dial_readable(c, 0));
	ck_assert(!net_dial_readable(c, 50));
	net_dial_set_timeout(c, 50);
	ck_assert_int_eq(net_dial_read(c, &byte, 1, &n, &d), ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(d.text, "50 ms"));
	net_dial_set_timeout(c, WAIT_MS);
	ck_assert_int_eq(net_dial_write(c, "ab", 2, &d), ERR_OK);
	ck_assert(net_dial_readable(c, WAIT_MS));
	ck_assert_int_eq(net_dial_read(c, &byte, 1, &n, &d), ERR_OK);
	ck_assert_uint_eq(byte, 'a');
	ck_assert(net_dial_readable(c, WAIT_MS));
	ck_assert_int_eq(net_dial_read(c, &byte, 1, &n, &d), ERR_OK);
	ck_assert_uint_eq(byte, 'b');
	ck_assert(!net_dial_readable(c, 0));
	net_stop(&stage.net, 0);
	ck_assert(net_dial_readable(c, WAIT_MS));
	enum err e = net_dial_read(c, &byte, 1, &n, &d);
	ck_assert(e == ERR_EOF || e == ERR_IO);
	net_dial_close(&c);
	stage_stop(&stage, 0);
	dir_remove(&dir);
}
END_TEST

Suite *dial_suite(void)
{
	Suite *s = suite_create("dial");
	TCase *t = tcase_create("dial");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, refused_connection_is_io);
	tcase_add_test(t, invalid_target_is_refused);
	tcase_add_test(t, certificates_are_checked);
	tcase_add_test(t, certificate_for_another_name_is_refused);
	tcase_add_test(t, tls_to_a_plain_port_says_so);
	tcase_add_loop_test(t, read_timeout_leaves_the_connection_usable, 0, 2);
	suite_add_tcase(s, t);
	return s;
}
