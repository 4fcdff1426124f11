#include "gateway/config.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { WORDS_MAX = 16 };

/* Loads with the words of one line, split at blanks. */
static enum err load(const char *line, struct config *c, bool *print, struct err_detail *d)
{
	char copy[512];
	char *argv[WORDS_MAX];
	int argc = 0;
	(void)snprintf(copy, sizeof copy, "%s", line);
	for (char *w = strtok(copy, " "); w != NULL; w = strtok(NULL, " ")) {
		ck_assert_int_lt(argc, WORDS_MAX);
		argv[argc++] = w;
	}
	d->text[0] = '\0';
	return config_load(argc, argv, c, print, d);
}

START_TEST(defaults_are_those_documented)
{
	struct config c;
	struct err_detail d;
	bool print;
	ck_assert_int_eq(load("", &c, &print, &d), ERR_OK);
	ck_assert(!print);
	ck_assert_str_eq(c.data, "./sluice-data");
	ck_assert_str_eq(c.host, "localhost");
	ck_assert_str_eq(c.node_host, "localhost");
	ck_assert_str_eq(c.amqps, "127.0.0.1:5671");
	ck_assert_str_eq(c.https, "127.0.0.1:8443");
	ck_assert_str_eq(c.metrics, "127.0.0.1:9180");
	ck_assert_str_eq(c.amqp, "");
	ck_assert(!c.allow_plaintext);
	ck_assert_uint_eq(c.n_hubs, 0);
	ck_assert_uint_eq(c.shards, 16);
	ck_assert_uint_eq(c.disk_reserve, UINT64_C(256) << 20);
	ck_assert_uint_eq(c.cache_bytes, UINT64_C(64) << 20);
	ck_assert_uint_eq(c.max_inflight_bytes, UINT64_C(256) << 20);
	ck_assert_uint_eq(c.segment_bytes, UINT64_C(256) << 20);
	ck_assert_uint_eq(c.n_more_data, 0);
	ck_assert_uint_eq(c.max_disk, 0);
	ck_assert_uint_eq(c.default_retention_ms, 0);
	ck_assert_uint_eq(c.retention_check_ms, 1000);
	ck_assert_uint_eq(c.compaction_memory, UINT64_C(64) << 20);
	ck_assert_uint_eq(c.tombstone_retention_ms, 86400000);
	ck_assert_uint_eq(c.cleaner_rate, UINT64_C(128) << 20);
	ck_assert_uint_eq(c.scrub_period_ms, 604800000);
	ck_assert_uint_eq(c.export_interval_ms, 60000);
	ck_assert_uint_eq(c.link_credit, 300);
	ck_assert_uint_eq(c.idle_timeout_ms, 240000);
	ck_assert_uint_eq(c.shutdown_grace_ms, 5000);
	ck_assert_uint_eq(c.http_threads, 1);
	ck_assert_uint_eq(c.max_connections, 10000);
	ck_assert_uint_eq(c.max_unauthenticated_per_address, 256);
	ck_assert(!c.emulator_key);
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		ck_assert_str_eq(c.origin[i], "default");
	}
	config_fini(&c);
}
END_TEST

START_TEST(flags_are_taken_in_both_forms)
{
	struct config c;
	struct err_detail d;
	bool print;
	ck_assert_int_eq(load("--data /d --amqps=0.0.0.0:1 --shards 4 --amqp 127.0.0.1:0 "
			      "--idle-timeout 60s --https off --print-config --log-level debug",
			      &c, &print, &d),
			 ERR_OK);
	ck_assert(print);
	ck_assert_str_eq(c.data, "/d");
	ck_assert_str_eq(c.amqps, "0.0.0.0:1");
	ck_assert_str_eq(c.https, "");
	ck_assert_str_eq(c.amqp, "127.0.0.1:0");
	ck_assert_uint_eq(c.shards, 4);
	ck_assert_uint_eq(c.idle_timeout_ms, 60000);
	ck_assert_str_eq(c.log_level, "debug");
	ck_assert_str_eq(c.origin[CONFIG_SETTING_shards], "flag --shards");
	config_fini(&c);
}
END_TEST

START_TEST(directories_of_one_source_add_up)
{
	struct config c;
	struct err_detail d;
	bool print;
	setenv("SLUICE_DATA", "/v0:/v1:/v2", 1);
	ck_assert_int_eq(load("", &c, &print, &d), ERR_OK);
	ck_assert_str_eq(c.data, "/v0");
	ck_assert_uint_eq(c.n_more_data, 2);
	ck_assert_str_eq(c.more_data[0], "/v1");
	ck_assert_str_eq(c.more_data[1], "/v2");
	config_fini(&c);
	ck_assert_int_eq(load("--data /a --shards 2 --data=/b:c", &c, &print, &d), ERR_OK);
	ck_assert_str_eq(c.data, "/a");
	ck_assert_uint_eq(c.n_more_data, 1);
	ck_assert_str_eq(c.more_data[0], "/b:c");
	config_fini(&c);
	ck_assert_int_eq(load("--data /a", &c, &print, &d), ERR_OK);
	ck_assert_str_eq(c.data, "/a");
	ck_assert_uint_eq(c.n_more_data, 0);
	config_fini(&c);
	setenv("SLUICE_DATA", "/v0:", 1);
	ck_assert_int_eq(load("", &c, &print, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "SLUICE_DATA: a data directory has no name");
	setenv("SLUICE_DATA", "0:1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:g", 1);
	ck_assert_int_eq(load("", &c, &print, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "SLUICE_DATA: more than 16 data directories");
	unsetenv("SLUICE_DATA");
}
END_TEST

START_TEST(off_is_nothing_where_that_may_be)
{
	struct config c;
	struct err_detail d;
	bool print;
	ck_assert_int_eq(load("--max-disk 1g --default-retention 400d --scrub-period off "
			      "--disk-reserve OFF", &c, &print, &d), ERR_OK);
	ck_assert_uint_eq(c.max_disk, UINT64_C(1) << 30);
	ck_assert_uint_eq(c.default_retention_ms, UINT64_C(400) * 86400000);
	ck_assert_uint_eq(c.scrub_period_ms, 0);
	ck_assert_uint_eq(c.disk_reserve, 0);
	config_fini(&c);
	ck_assert_int_ne(load("--cache-bytes off", &c, &print, &d), ERR_OK);
	ck_assert_ptr_nonnull(strstr(d.text, "is not a size"));
}
END_TEST

START_TEST(hubs_add_up_and_later_ones_replace)
{
	struct config c;
	struct err_detail d;
	bool print;
	setenv("SLUICE_HUB", "one:2, two", 1);
	ck_assert_int_eq(load("--hub two:8 --hub three/x", &c, &print, &d), ERR_OK);
	unsetenv("SLUICE_HUB");
	ck_assert_uint_eq(c.n_hubs, 3);
	ck_assert_str_eq(c.hubs[0].name, "one");
	ck_assert_uint_eq(c.hubs[0].partitions, 2);
	ck_assert_str_eq(c.hubs[1].name, "two");
	ck_assert_uint_eq(c.hubs[1].partitions, 8);
	ck_assert_str_eq(c.hubs[2].name, "three/x");
	ck_assert_uint_eq(c.hubs[2].partitions, 0);
	config_fini(&c);
}
END_TEST

START_TEST(environment_yields_to_flags)
{
	struct config c;
	struct err_detail d;
	bool print;
	setenv("SLUICE_SHARDS", "8", 1);
	setenv("SLUICE_MAX_CONNECTIONS", "77", 1);
	setenv("SLUICE_HOST", "", 1);
	setenv("SLUICE_URL", "anything", 1);
	ck_assert_int_eq(load("--shards 9", &c, &print, &d), ERR_OK);
	ck_assert_uint_eq(c.shards, 9);
	ck_assert_uint_eq(c.max_connections, 77);
	ck_assert_str_eq(c.host, "localhost");
	ck_assert_str_eq(c.origin[CONFIG_SETTING_max_connections],
			 "variable SLUICE_MAX_CONNECTIONS");
	config_fini(&c);
	unsetenv("SLUICE_SHARDS");
	unsetenv("SLUICE_MAX_CONNECTIONS");
	unsetenv("SLUICE_HOST");
	unsetenv("SLUICE_URL");
}
END_TEST

START_TEST(bad_variable_is_named)
{
	struct config c;
	struct err_detail d;
	bool print;
	setenv("SLUICE_CACHE_BYTES", "lots", 1);
	enum err e = load("", &c, &print, &d);
	unsetenv("SLUICE_CACHE_BYTES");
	ck_assert_int_eq(e, ERR_INVALID);
	ck_assert_int_eq(config_exit_status(e), 1);
	ck_assert_ptr_nonnull(strstr(d.text, "SLUICE_CACHE_BYTES: \"lots\" is not a size"));
}
END_TEST

static const struct {
	const char *line;
	const char *text;
} usage_flags[] = {
	{"--peer 127.0.0.1:9093", "unknown setting --peer"},
	{"--sharts=3", "unknown setting --sharts"},
	{"--", "unexpected argument"},
	{"hub1", "unexpected argument \"hub1\""},
	{"-d x", "unexpected argument \"-d\""},
	{"--data", "--data needs a value"},
	{"--config", "--config needs a value"},
	{"--print-config=1", "takes no value"},
	{"--data a --max-disk", "--max-disk needs a value"},
};

/* A bad value is bad configuration, wherever it came from. */
static const struct {
	const char *line;
	const char *text;
} value_flags[] = {
	{"--shards 0", "--shards: 0 is outside 1 to 256"},
	{"--shards 257", "--shards: 257 is outside"},
	{"--shards x", "--shards: \"x\" is not a whole number"},
	{"--amqps 5671", "--amqps: \"5671\" is not ADDR:PORT"},
	{"--amqps :5671", "is not ADDR:PORT"},
	{"--amqps 127.0.0.1:", "is not ADDR:PORT"},
	{"--amqps 127.0.0.1:65536", "is not ADDR:PORT"},
	{"--amqps ::1:5671", "is not ADDR:PORT"},
	{"--host a/b", "--host: \"a/b\" is not a host name"},
	{"--disk-reserve 1x", "--disk-reserve: \"1x\" is not a size"},
	{"--segment-bytes 1k", "--segment-bytes: 1k is outside 1MiB to 4GiB"},
	{"--idle-timeout 60", "--idle-timeout: \"60\" is not a duration"},
	{"--idle-timeout 1s", "--idle-timeout: 1s is outside 10s to 1h"},
	{"--log-level loud", "--log-level: \"loud\" is not one of debug|info|warn|error"},
	{"--log-format tex", "is not one of text|json"},
	{"--allow-plaintext=maybe", "--allow-plaintext: \"maybe\" is neither"},
	{"--hub a:0", "--hub: a hub has 1 to 1024 partitions"},
	{"--hub a:1025", "a hub has 1 to 1024"},
	{"--hub a:x", "partitions of \"a\": \"x\" is not a whole number"},
	{"--hub=", "a hub needs a name"},
	{"--hub -a", "\"-a\" is not a hub name"},
	{"--hub a%b", "\"a%b\" is not a hub name"},
};

START_TEST(bad_flag_is_wrong_usage)
{
	struct config c;
	struct err_detail d;
	bool print;
	enum err e = load(usage_flags[_i].line, &c, &print, &d);
	ck_assert_int_eq(e, ERR_NOT_ALLOWED);
	ck_assert_int_eq(config_exit_status(e), 2);
	ck_assert_msg(strstr(d.text, usage_flags[_i].text) != NULL, "%s", d.text);
}
END_TEST

START_TEST(bad_value_of_a_flag_is_refused)
{
	struct config c;
	struct err_detail d;
	bool print;
	enum err e = load(value_flags[_i].line, &c, &print, &d);
	ck_assert_int_eq(e, ERR_INVALID);
	ck_assert_int_eq(config_exit_status(e), 1);
	ck_assert_msg(strstr(d.text, value_flags[_i].text) != NULL, "%s", d.text);
}
END_TEST

static const struct {
	const char *line;
	const char *text;
} contradictions[] = {
	{"--amqp 0.0.0.0:5672", "amqp (flag --amqp): 0.0.0.0:5672 is not a loopback address"},
	{"--kafka-plain 0.0.0.0:9092",
	 "kafka-plain (flag --kafka-plain): 0.0.0.0:9092 is not a loopback address"},
	{"--kafka-advertise broker", "kafka-advertise: \"broker\" is not HOST:PORT"},
	{"--kafka-advertise :9093", "kafka-advertise: \":9093\" is not HOST:PORT"},
	{"--kafka-advertise broker:0", "kafka-advertise: \"broker:0\" is not HOST:PORT"},
	{"--kafka-advertise broker:9x", "kafka-advertise: \"broker:9x\" is not HOST:PORT"},
	{"--metrics 10.0.0.1:1", "metrics (flag --metrics): 10.0.0.1:1 is not"},
	{"--tls-cert x", "tls-cert and tls-key are needed together"},
	{"--data=", "data must not be empty"},
	{"--host=", "host must not be empty"},
	{"--data a --data b --data a", "data: a stands there twice"},
	{"--data a --data b --data b", "data: b stands there twice"},
	{"--data a --data=", "--data: a data directory has no name"},
};

START_TEST(contradiction_is_refused)
{
	struct config c;
	struct err_detail d;
	bool print;
	enum err e = load(contradictions[_i].line, &c, &print, &d);
	ck_assert_int_ne(e, ERR_OK);
	ck_assert_int_eq(config_exit_status(e), 1);
	ck_assert_msg(strstr(d.text, contradictions[_i].text) != NULL, "%s", d.text);
}
END_TEST

START_TEST(plaintext_is_allowed_when_asked)
{
	struct config c;
	struct err_detail d;
	bool print;
	ck_assert_int_eq(load("--amqp 0.0.0.0:5672 --metrics [::]:1 --allow-plaintext", &c, &print,
			      &d),
			 ERR_OK);
	config_fini(&c);
	ck_assert_int_eq(load("--amqp [::1]:5672 --metrics localhost:1", &c, &print, &d), ERR_OK);
	config_fini(&c);
}
END_TEST

START_TEST(print_shows_value_and_origin)
{
	struct config c;
	struct err_detail d;
	bool print;
	char *text = NULL;
	size_t n = 0;
	ck_assert_int_eq(load("--hub a:2 --hub b --cache-bytes 128m --data x --data y", &c, &print, &d), ERR_OK);
	FILE *f = open_memstream(&text, &n);
	ck_assert_ptr_nonnull(f);
	config_print(&c, f);
	config_help(f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_ptr_nonnull(strstr(text, "= a:2,b"));
	ck_assert_ptr_nonnull(strstr(text, "= x:y                      # flag --data"));
	ck_assert_ptr_nonnull(strstr(text, "(off)"));
	ck_assert_ptr_nonnull(strstr(text, "= 128MiB                   # flag --cache-bytes"));
	ck_assert_ptr_nonnull(strstr(text, "= off                      # default"));
	ck_assert_ptr_nonnull(strstr(text, "  --amqps ADDR:PORT"));
	free(text);
	config_fini(&c);
}
END_TEST

START_TEST(each_failed_allocation_is_survived)
{
	for (long n = 1;; n++) {
		struct config c;
		struct err_detail d;
		bool print;
		mem_fault_at(n);
		enum err e = load("--hub a:2 --data x --data y", &c, &print, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			config_fini(&c);
			ck_assert_int_gt(n, 20);
			return;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
	}
}
END_TEST

Suite *config_suite(void);
Suite *config_suite(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("all");
	tcase_add_test(t, defaults_are_those_documented);
	tcase_add_test(t, flags_are_taken_in_both_forms);
	tcase_add_test(t, directories_of_one_source_add_up);
	tcase_add_test(t, off_is_nothing_where_that_may_be);
	tcase_add_test(t, hubs_add_up_and_later_ones_replace);
	tcase_add_test(t, environment_yields_to_flags);
	tcase_add_test(t, bad_variable_is_named);
	tcase_add_loop_test(t, bad_flag_is_wrong_usage, 0,
			    (int)(sizeof usage_flags / sizeof *usage_flags));
	tcase_add_loop_test(t, bad_value_of_a_flag_is_refused, 0,
			    (int)(sizeof value_flags / sizeof *value_flags));
	tcase_add_loop_test(t, contradiction_is_refused, 0,
			    (int)(sizeof contradictions / sizeof *contradictions));
	tcase_add_test(t, plaintext_is_allowed_when_asked);
	tcase_add_test(t, print_shows_value_and_origin);
	tcase_add_test(t, each_failed_allocation_is_survived);
	suite_add_tcase(s, t);
	return s;
}
