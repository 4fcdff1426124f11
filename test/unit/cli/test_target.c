#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/cli/target.h"

static char dir[64];

static void write_in(const char *name, const char *text)
{
	char path[128];
	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	(void)fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
	char path[128];
	(void)snprintf(dir, sizeof dir, "/tmp/sluice-target-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/tls", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	write_in("keys", "{\"host\":\"ns.example\",\"policies\":["
			 "{\"name\":\"Sender\",\"rights\":[\"send\"],\"primary\":\"s1\",\"secondary\":\"s2\"},"
			 "{\"name\":\"Root\",\"rights\":[\"send\",\"listen\",\"manage\"],"
			 "\"primary\":\"r1\",\"secondary\":\"r2\"}]}");
	unsetenv("SLUICE_CONNECTION_STRING");
	unsetenv("SLUICE_DATA");
	unsetenv("SLUICE_CA");
	unsetenv("SLUICE_HTTPS");
}

static void teardown(void)
{
	static const char *const names[] = {"keys", "endpoints.json", "tls/ca.pem", "tls", ""};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		(void)remove(path);
	}
}

static enum err find(const char *policy, struct cli_args a, struct cli_target *t,
		     struct err_detail *d)
{
	a.command = &cli_hub_list;
	d->text[0] = '\0';
	return cli_target_find(&a, policy, t, d);
}

static void run_server(const char *amqps, const char *amqp, const char *ca)
{
	char text[512];
	(void)snprintf(text, sizeof text,
		       "{\"event\":\"ready\",\"amqps\":%s,\"amqp\":%s,\"https\":\"127.0.0.1:9999\","
		       "\"ca\":%s}",
		       amqps, amqp, ca);
	write_in("endpoints.json", text);
}

START_TEST(data_directory_gives_key_and_addresses)
{
	struct cli_target t;
	struct err_detail d;
	write_in("tls/ca.pem", "x");
	run_server("\"127.0.0.1:7777\"", "\"127.0.0.1:8888\"", "\"data/tls/ca.pem\"");
	ck_assert_int_eq(find(NULL, (struct cli_args){.v[CLI_DATA] = dir}, &t, &d), ERR_OK);
	ck_assert_str_eq(t.cs.host, "ns.example");
	ck_assert_str_eq(t.cs.key_name, "Root");
	ck_assert_str_eq(t.cs.key, "r1");
	ck_assert_int_eq(t.cs.port, 7777);
	ck_assert_str_eq(t.amqp_host, "127.0.0.1");
	ck_assert_int_eq(t.amqp_port, 7777);
	ck_assert(t.tls);
	ck_assert_str_eq(t.plain, "127.0.0.1:8888");
	ck_assert_str_eq(t.https_host, "127.0.0.1");
	ck_assert_int_eq(t.https_port, 9999);
	ck_assert_int_eq(strncmp(t.ca, dir, strlen(dir)), 0);
	cli_target_fini(&t);
}
END_TEST

START_TEST(own_certificate_needs_the_name)
{
	struct cli_target t;
	struct err_detail d;
	run_server("\"127.0.0.1:7777\"", "null", "null");
	ck_assert_int_eq(find("sender", (struct cli_args){.v[CLI_DATA] = dir}, &t, &d), ERR_OK);
	ck_assert_str_eq(t.cs.key_name, "Sender");
	ck_assert_str_eq(t.amqp_host, "ns.example");
	ck_assert_str_eq(t.ca, "");
	ck_assert_str_eq(t.plain, "");
	cli_target_fini(&t);
}
END_TEST

START_TEST(plain_listener_serves_when_there_is_no_other)
{
	struct cli_target t;
	struct err_detail d;
	run_server("null", "\"127.0.0.1:8888\"", "null");
	ck_assert_int_eq(find(NULL, (struct cli_args){.v[CLI_DATA] = dir}, &t, &d), ERR_OK);
	ck_assert(!t.tls);
	ck_assert_int_eq(t.amqp_port, 8888);
	cli_target_fini(&t);
}
END_TEST

START_TEST(stopped_server_leaves_the_usual_ports)
{
	struct cli_target t;
	struct err_detail d;
	ck_assert_int_eq(find(NULL, (struct cli_args){.v[CLI_DATA] = dir}, &t, &d), ERR_OK);
	ck_assert(!t.is_running);
	ck_assert_int_eq(t.amqp_port, 5671);
	ck_assert_int_eq(t.cs.port, 0);
	ck_assert_int_eq(t.https_port, 8443);
	ck_assert_str_eq(t.kafka_host, "ns.example");
	ck_assert_int_eq(t.kafka_port, 9093);
	cli_target_fini(&t);
}
END_TEST

static void run_kafka(const char *kafka, const char *plain)
{
	char text[256];
	(void)snprintf(text, sizeof text, "{\"kafka\":%s,\"kafka_plain\":%s,\"ca\":\"tls/ca.pem\"}", kafka,
		       plain);
	write_in("endpoints.json", text);
}

START_TEST(kafka_port_with_tls_comes_first)
{
	struct cli_target t;
	struct err_detail d;
	struct cli_args a = {.v[CLI_DATA] = dir};
	write_in("tls/ca.pem", "x");
	run_kafka("\"0.0.0.0:7001\"", "\"127.0.0.1:7002\"");
	ck_assert_int_eq(find(NULL, a, &t, &d), ERR_OK);
	ck_assert_str_eq(t.kafka_host, "127.0.0.1");
	ck_assert_int_eq(t.kafka_port, 7001);
	ck_assert(t.kafka_tls && t.kafka_sasl);
	cli_target_fini(&t);
	run_kafka("null", "\"127.0.0.1:7002\"");
	ck_assert_int_eq(find(NULL, a, &t, &d), ERR_OK);
	ck_assert_int_eq(t.kafka_port, 7002);
	ck_assert(!t.kafka_tls && t.kafka_sasl);
	cli_target_fini(&t);
	a.v[CLI_KAFKA] = "other.example:7003";
	ck_assert_int_eq(find(NULL, a, &t, &d), ERR_OK);
	ck_assert_str_eq(t.kafka_host, "other.example");
	ck_assert_int_eq(t.kafka_port, 7003);
	ck_assert(t.kafka_tls);
	cli_target_fini(&t);
	run_kafka("null", "null");
	a.v[CLI_KAFKA] = NULL;
	ck_assert_int_eq(find(NULL, a, &t, &d), ERR_OK);
	ck_assert_int_eq(t.kafka_port, 0);
	cli_target_fini(&t);
}
END_TEST

START_TEST(kafka_in_the_clear_needs_only_an_address)
{
	struct cli_target t;
	struct err_detail d;
	struct cli_args a = {.command = &cli_bench};
	ck_assert_int_eq(cli_target_plaintext(&a, &t, &d), ERR_INVALID);
	a.v[CLI_KAFKA] = "nix";
	ck_assert_int_eq(cli_target_plaintext(&a, &t, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "--kafka: \"nix\" is not HOST:PORT");
	a.v[CLI_KAFKA] = "[::1]:9";
	ck_assert_int_eq(cli_target_plaintext(&a, &t, &d), ERR_OK);
	ck_assert_str_eq(t.kafka_host, "::1");
	ck_assert(!t.kafka_tls && !t.kafka_sasl);
	cli_target_fini(&t);
}
END_TEST

START_TEST(unknown_policy_and_directory_are_not_found)
{
	struct cli_target t;
	struct err_detail d;
	ck_assert_int_eq(find("nix", (struct cli_args){.v[CLI_DATA] = dir}, &t, &d), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(d.text, "has no policy \"nix\""));
	ck_assert_int_eq(find(NULL, (struct cli_args){.v[CLI_DATA] = "/nonexistent"}, &t, &d),
			 ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(d.text, "/nonexistent/keys"));
}
END_TEST

#define CS "Endpoint=sb://far.example:1234/;SharedAccessKeyName=n;SharedAccessKey=k=;EntityPath=hub"

START_TEST(connection_string_comes_first)
{
	struct cli_target t;
	struct err_detail d;
	struct cli_args a = {.v[CLI_CONNECTION_STRING] = CS, .v[CLI_DATA] = dir,
			     .v[CLI_HTTPS] = "[::1]:99"};
	ck_assert_int_eq(find(NULL, a, &t, &d), ERR_OK);
	ck_assert_str_eq(t.amqp_host, "far.example");
	ck_assert_int_eq(t.amqp_port, 1234);
	ck_assert_str_eq(t.cs.key, "k=");
	ck_assert_str_eq(t.https_host, "::1");
	ck_assert_int_eq(t.https_port, 99);
	ck_assert(!t.from_data);
	cli_target_fini(&t);
}
END_TEST

START_TEST(flag_comes_before_variable)
{
	struct cli_target t;
	struct err_detail d;
	setenv("SLUICE_CONNECTION_STRING", CS, 1);
	ck_assert_int_eq(find(NULL, (struct cli_args){.v[CLI_DATA] = dir}, &t, &d), ERR_OK);
	ck_assert(t.from_data);
	cli_target_fini(&t);
	ck_assert_int_eq(find(NULL, (struct cli_args){0}, &t, &d), ERR_OK);
	ck_assert_str_eq(t.cs.host, "far.example");
	cli_target_fini(&t);
	setenv("SLUICE_HTTPS", "x", 1);
	ck_assert_int_eq(find(NULL, (struct cli_args){0}, &t, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "SLUICE_HTTPS: \"x\" is not HOST:PORT");
	unsetenv("SLUICE_HTTPS");
	unsetenv("SLUICE_CONNECTION_STRING");
	setenv("SLUICE_DATA", dir, 1);
	setenv("SLUICE_CA", "/my/ca", 1);
	ck_assert_int_eq(find(NULL, (struct cli_args){0}, &t, &d), ERR_OK);
	ck_assert_str_eq(t.ca, "/my/ca");
	cli_target_fini(&t);
	unsetenv("SLUICE_DATA");
	unsetenv("SLUICE_CA");
}
END_TEST

START_TEST(emulator_form_has_no_tls)
{
	struct cli_target t;
	struct err_detail d;
	struct cli_args a = {.v[CLI_CONNECTION_STRING] =
				     "Endpoint=sb://localhost;SharedAccessKeyName=n;SharedAccessKey=k;"
				     "UseDevelopmentEmulator=true;"};
	ck_assert_int_eq(find(NULL, a, &t, &d), ERR_OK);
	ck_assert(!t.tls);
	ck_assert_int_eq(t.amqp_port, 5672);
	ck_assert(!t.kafka_tls);
	ck_assert_int_eq(t.kafka_port, 9092);
	cli_target_fini(&t);
}
END_TEST

START_TEST(hub_must_agree_with_the_connection_string)
{
	struct cli_target t = {.cs.hub = "hub"};
	struct cli_target none = {.amqp_port = 1};
	struct err_detail d;
	const char *hub;
	ck_assert_int_eq(cli_target_hub(&t, NULL, &hub, &d), ERR_OK);
	ck_assert_str_eq(hub, "hub");
	ck_assert_int_eq(cli_target_hub(&t, "HUB", &hub, &d), ERR_OK);
	ck_assert_int_eq(cli_target_hub(&t, "other", &hub, &d), ERR_INVALID);
	ck_assert_int_eq(cli_target_hub(&none, NULL, &hub, &d), ERR_INVALID);
}
END_TEST

static const char *const bad_addresses[] = {"", "h", "h:", ":1", "h:0", "h:65536", "h:1x", "[]:1"};

START_TEST(bad_address_is_refused)
{
	char host[64];
	int port;
	struct err_detail d;
	ck_assert_int_eq(cli_split_address(bad_addresses[_i], host, sizeof host, &port, &d),
			 ERR_INVALID);
}
END_TEST

Suite *target_suite(void);
Suite *target_suite(void)
{
	Suite *s = suite_create("target");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, data_directory_gives_key_and_addresses);
	tcase_add_test(t, own_certificate_needs_the_name);
	tcase_add_test(t, plain_listener_serves_when_there_is_no_other);
	tcase_add_test(t, stopped_server_leaves_the_usual_ports);
	tcase_add_test(t, kafka_port_with_tls_comes_first);
	tcase_add_test(t, kafka_in_the_clear_needs_only_an_address);
	tcase_add_test(t, unknown_policy_and_directory_are_not_found);
	tcase_add_test(t, connection_string_comes_first);
	tcase_add_test(t, flag_comes_before_variable);
	tcase_add_test(t, emulator_form_has_no_tls);
	tcase_add_test(t, hub_must_agree_with_the_connection_string);
	tcase_add_loop_test(t, bad_address_is_refused, 0,
			    (int)(sizeof bad_addresses / sizeof *bad_addresses));
	suite_add_tcase(s, t);
	return s;
}
