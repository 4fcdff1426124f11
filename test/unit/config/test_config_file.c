#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/config.h"

static char path[64];

static void write_file(const char *text)
{
	(void)snprintf(path, sizeof path, "/tmp/sluice-config-XXXXXX");
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
	ck_assert_int_eq(close(fd), 0);
}

/* Loads `text` as the configuration file, with one more flag or NULL. */
static enum err load(const char *text, char *flag, struct config *c, struct err_detail *d)
{
	char config[] = "--config";
	char *argv[] = {config, path, flag};
	bool print;
	write_file(text);
	d->text[0] = '\0';
	enum err e = config_load(flag != NULL ? 3 : 2, argv, c, &print, d);
	ck_assert_int_eq(unlink(path), 0);
	return e;
}

START_TEST(own_layout_is_read)
{
	struct config c;
	struct err_detail d;
	ck_assert_int_eq(load("{\"data\":\"/x\",\"allow_plaintext\":true,\"shards\":4,"
			      "\"cache-bytes\":\"8MiB\",\"disk_reserve\":1048576,\"https\":null,"
			      "\"hubs\":[\"a:2\",{\"name\":\"b\",\"partitions\":\"8\","
			      "\"groups\":[\"g1\",\"$Default\",\"g2\"]}]}",
			      NULL, &c, &d),
			 ERR_OK);
	ck_assert_str_eq(c.data, "/x");
	ck_assert(c.allow_plaintext);
	ck_assert_uint_eq(c.shards, 4);
	ck_assert_uint_eq(c.cache_bytes, UINT64_C(8) << 20);
	ck_assert_uint_eq(c.disk_reserve, UINT64_C(1) << 20);
	ck_assert_str_eq(c.https, "");
	ck_assert_uint_eq(c.n_hubs, 2);
	ck_assert_uint_eq(c.hubs[0].partitions, 2);
	ck_assert_uint_eq(c.hubs[1].partitions, 8);
	ck_assert_uint_eq(c.hubs[1].n_groups, 2);
	ck_assert_str_eq(c.hubs[1].groups[1], "g2");
	ck_assert_int_eq(strncmp(c.origin[CONFIG_SETTING_data], "file /tmp/", 10), 0);
	config_fini(&c);
}
END_TEST

START_TEST(directories_may_be_a_list)
{
	struct config c;
	struct err_detail d;
	ck_assert_int_eq(load("{\"data\":[\"/x\",\"/y:z\"]}", NULL, &c, &d), ERR_OK);
	ck_assert_str_eq(c.data, "/x");
	ck_assert_uint_eq(c.n_more_data, 1);
	ck_assert_str_eq(c.more_data[0], "/y:z");
	config_fini(&c);
}
END_TEST

START_TEST(file_yields_to_environment_and_flag)
{
	struct config c;
	struct err_detail d;
	char flag[] = "--shards=3";
	setenv("SLUICE_CACHE_BYTES", "32MiB", 1);
	enum err e = load("{\"shards\":4,\"cache-bytes\":\"8MiB\",\"link-credit\":100}", flag, &c, &d);
	unsetenv("SLUICE_CACHE_BYTES");
	ck_assert_int_eq(e, ERR_OK);
	ck_assert_uint_eq(c.shards, 3);
	ck_assert_uint_eq(c.cache_bytes, UINT64_C(32) << 20);
	ck_assert_uint_eq(c.link_credit, 100);
	config_fini(&c);
}
END_TEST

static const char emulator[] =
	"{\n"
	"  \"UserConfig\": {\n"
	"    \"NamespaceConfig\": [\n"
	"      {\n"
	"        \"Type\": \"EventHub\",\n"
	"        \"Name\": \"emulatorNs1\",\n"
	"        \"Entities\": [\n"
	"          {\n"
	"            \"Name\": \"eh1\",\n"
	"            \"PartitionCount\": \"2\",\n"
	"            \"ConsumerGroups\": [ { \"Name\": \"cg1\" } ]\n"
	"          },\n"
	"          { \"Name\": \"eh2\", \"PartitionCount\": 32 }\n"
	"        ]\n"
	"      }\n"
	"    ],\n"
	"    \"LoggingConfig\": { \"Type\": \"File\" }\n"
	"  }\n"
	"}\n";

START_TEST(emulator_layout_is_read)
{
	struct config c;
	struct err_detail d;
	ck_assert_int_eq(load(emulator, NULL, &c, &d), ERR_OK);
	ck_assert(c.emulator_key);
	ck_assert_str_eq(c.amqp, "127.0.0.1:5672");
	ck_assert_str_eq(c.kafka_plain, "127.0.0.1:9092");
	ck_assert_uint_eq(c.n_hubs, 2);
	ck_assert_str_eq(c.hubs[0].name, "eh1");
	ck_assert_uint_eq(c.hubs[0].partitions, 2);
	ck_assert_uint_eq(c.hubs[0].n_groups, 1);
	ck_assert_str_eq(c.hubs[0].groups[0], "cg1");
	ck_assert_uint_eq(c.hubs[1].partitions, 32);
	ck_assert_int_eq(strncmp(c.origin[CONFIG_SETTING_amqp], "emulator file", 13), 0);
	config_fini(&c);
}
END_TEST

START_TEST(emulator_listener_yields_to_flag)
{
	struct config c;
	struct err_detail d;
	char flag[] = "--amqp=127.0.0.1:0";
	ck_assert_int_eq(load(emulator, flag, &c, &d), ERR_OK);
	ck_assert_str_eq(c.amqp, "127.0.0.1:0");
	ck_assert(c.emulator_key);
	config_fini(&c);
}
END_TEST

static const struct {
	const char *json;
	const char *text;
} bad_files[] = {
	{"", "line 1"},
	{"[]", "must be a JSON object"},
	{"{\"shards\":1,}", "line 1"},
	{"{\"shards\":1,\"shards\":2}", "duplicate"},
	{"{\"peer\":\"127.0.0.1:9093\"}", "\"peer\": unknown setting"},
	{"{\"config\":\"x\"}", "\"config\": unknown setting"},
	{"{\"shards\":1.5}", "\"shards\": must be a text"},
	{"{\"shards\":-1}", "\"shards\": \"-1\" is not a whole number"},
	{"{\"shards\":null}", "\"shards\": must be"},
	{"{\"shards\":300}", "\"shards\": 300 is outside"},
	{"{\"amqps\":5671}", "\"amqps\": \"5671\" is not ADDR:PORT"},
	{"{\"data\":{}}", "\"data\": must be"},
	{"{\"data\":[]}", "\"data\": must not be empty"},
	{"{\"data\":[\"a\",{}]}", "\"data\": [1]: must be"},
	{"{\"data\":\"a\\u0000b\"}", "line 1"},
	{"{\"allow-plaintext\":\"x\"}", "\"allow-plaintext\": \"x\" is neither"},
	{"{\"hubs\":{}}", "\"hubs\": must be a list"},
	{"{\"hubs\":[1]}", "\"hubs\": [0]: a hub is an object or"},
	{"{\"hubs\":[{\"partitions\":1}]}", "\"hubs\": [0]: \"name\" is missing"},
	{"{\"hubs\":[{\"name\":\"a\",\"x\":1}]}", "[0]: unknown key \"x\""},
	{"{\"hubs\":[{\"name\":\"a\",\"partitions\":0}]}", "\"partitions\": a hub has 1 to 1024"},
	{"{\"hubs\":[{\"name\":\"a\",\"groups\":[1]}]}", "\"groups\": [0]: a group needs a name"},
	{"{\"hubs\":[{\"name\":\"a\",\"groups\":[\"/\"]}]}", "\"/\" is not a group name"},
	{"{\"UserConfig\":1}", "\"UserConfig\": must be an object"},
	{"{\"UserConfig\":{},\"shards\":1}", "must be the only key"},
	{"{\"UserConfig\":{\"X\":1}}", "\"UserConfig\": \"X\": unknown key"},
	{"{\"UserConfig\":{\"NamespaceConfig\":[]}}", "must be a list of one namespace"},
	{"{\"UserConfig\":{\"NamespaceConfig\":[{\"Type\":\"ServiceBus\"}]}}",
	 "\"NamespaceConfig\": \"Type\": must be \"EventHub\""},
	{"{\"UserConfig\":{\"NamespaceConfig\":[{\"Entities\":[{\"Name\":\"a\","
	 "\"PartitionCount\":\"two\"}]}]}}",
	 "\"Entities\": [0]: \"PartitionCount\": \"two\" is not a whole number"},
	{"{\"UserConfig\":{\"NamespaceConfig\":[{\"Entities\":[\"a\"]}]}}",
	 "[0]: a hub is an object"},
};

START_TEST(bad_file_is_named_with_key_and_reason)
{
	struct config c;
	struct err_detail d;
	enum err e = load(bad_files[_i].json, NULL, &c, &d);
	ck_assert_int_eq(e, ERR_INVALID);
	ck_assert_int_eq(config_exit_status(e), 1);
	ck_assert_msg(strncmp(d.text, path, strlen(path)) == 0, "%s", d.text);
	ck_assert_msg(strstr(d.text, bad_files[_i].text) != NULL, "%s", d.text);
}
END_TEST

START_TEST(missing_file_is_an_error)
{
	struct config c;
	struct err_detail d;
	bool print;
	char word[] = "--config=/nonexistent/x.json";
	char *argv[] = {word};
	enum err e = config_load(1, argv, &c, &print, &d);
	ck_assert_int_eq(e, ERR_IO);
	ck_assert_str_eq(d.text, "/nonexistent/x.json: No such file or directory");
}
END_TEST

Suite *config_file_suite(void);
Suite *config_file_suite(void)
{
	Suite *s = suite_create("config_file");
	TCase *t = tcase_create("all");
	tcase_add_test(t, own_layout_is_read);
	tcase_add_test(t, directories_may_be_a_list);
	tcase_add_test(t, file_yields_to_environment_and_flag);
	tcase_add_test(t, emulator_layout_is_read);
	tcase_add_test(t, emulator_listener_yields_to_flag);
	tcase_add_loop_test(t, bad_file_is_named_with_key_and_reason, 0,
			    (int)(sizeof bad_files / sizeof *bad_files));
	tcase_add_test(t, missing_file_is_an_error);
	suite_add_tcase(s, t);
	return s;
}
