#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/cli/cli.h"
#include "gateway/cli/cli_priv.h"

enum { WORDS_MAX = 16 };

static char copy[512];
static char *argv_of[WORDS_MAX];

static int split(const char *line)
{
	int argc = 0;
	(void)snprintf(copy, sizeof copy, "%s", line);
	for (char *w = strtok(copy, " "); w != NULL; w = strtok(NULL, " ")) {
		ck_assert_int_lt(argc, WORDS_MAX);
		argv_of[argc++] = w;
	}
	return argc;
}

static enum err parse(const struct cli_command *command, const char *line, struct cli_args *out,
		      struct err_detail *d)
{
	bool help;
	int argc = split(line);
	d->text[0] = '\0';
	return cli_args_parse(command, argc, argv_of, out, &help, d);
}

START_TEST(options_and_operands_mix)
{
	struct cli_args a;
	struct err_detail d;
	ck_assert_int_eq(parse(&cli_send, "--key k hub --property a=1 --property=b=2 - --json", &a, &d),
			 ERR_OK);
	ck_assert_int_eq(a.n, 2);
	ck_assert_str_eq(a.at[0], "hub");
	ck_assert_str_eq(a.at[1], "-");
	ck_assert_str_eq(a.v[CLI_PARTITION_KEY], "k");
	ck_assert(cli_has(&a, CLI_JSON));
	ck_assert(!cli_has(&a, CLI_WHOLE));
	ck_assert_uint_eq(a.n_properties, 2);
	ck_assert_str_eq(a.property[1], "b=2");
}
END_TEST

START_TEST(same_name_means_what_the_command_says)
{
	struct cli_args a;
	struct err_detail d;
	ck_assert_int_eq(parse(&cli_token, "--key-name n --key secret", &a, &d), ERR_OK);
	ck_assert_str_eq(a.v[CLI_SAS_KEY], "secret");
	ck_assert(!cli_has(&a, CLI_PARTITION_KEY));
	ck_assert_int_eq(parse(&cli_policy_rotate, "p --key secondary", &a, &d), ERR_OK);
	ck_assert_str_eq(a.v[CLI_WHICH_KEY], "secondary");
}
END_TEST

START_TEST(double_dash_ends_options)
{
	struct cli_args a;
	struct err_detail d;
	ck_assert_int_eq(parse(&cli_send, "-- hub --json", &a, &d), ERR_OK);
	ck_assert_str_eq(a.at[1], "--json");
	ck_assert(!cli_has(&a, CLI_JSON));
}
END_TEST

static const struct {
	const struct cli_command *command;
	const char *line;
	const char *text;
} bad[] = {
	{&cli_send, "", "it needs H [FILE|-]"},
	{&cli_send, "a b c", "unexpected argument \"c\""},
	{&cli_send, "h --follow", "unknown option --follow"},
	{&cli_send, "h -k", "unknown option -k"},
	{&cli_send, "h --key", "--key needs a value"},
	{&cli_send, "h --json=1", "--json takes no value"},
	{&cli_send, "h --key a --key b", "--key is given twice"},
	{&cli_hub_list, "x", "unexpected argument"},
};

START_TEST(bad_words_are_refused)
{
	struct cli_args a;
	struct err_detail d;
	ck_assert_int_eq(parse(bad[_i].command, bad[_i].line, &a, &d), ERR_INVALID);
	ck_assert_msg(strstr(d.text, bad[_i].text) != NULL, "%s", d.text);
}
END_TEST

START_TEST(numbers_are_bounded)
{
	struct cli_args a;
	struct err_detail d;
	uint64_t v;
	ck_assert_int_eq(parse(&cli_bench, "--connections 4 --size 2k --duration 1m", &a, &d), ERR_OK);
	ck_assert_int_eq(cli_number(&a, CLI_CONNECTIONS, CLI_COUNT_KIND, 1, 8, 1, &v, &d), ERR_OK);
	ck_assert_uint_eq(v, 4);
	ck_assert_int_eq(cli_number(&a, CLI_SIZE, CLI_SIZE_KIND, 1, 4096, 1, &v, &d), ERR_OK);
	ck_assert_uint_eq(v, 2048);
	ck_assert_int_eq(cli_number(&a, CLI_RATE, CLI_COUNT_KIND, 1, 8, 7, &v, &d), ERR_OK);
	ck_assert_uint_eq(v, 7);
	ck_assert_int_eq(cli_number(&a, CLI_CONNECTIONS, CLI_COUNT_KIND, 1, 3, 1, &v, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "--connections: 4 is outside 1 to 3");
	ck_assert_int_eq(cli_number(&a, CLI_DURATION, CLI_MS_KIND, 1, 59999, 1, &v, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "--duration: 1m is outside 1ms to 59999ms");
}
END_TEST

START_TEST(choice_is_one_of_its_words)
{
	struct cli_args a;
	struct err_detail d;
	const char *v;
	ck_assert_int_eq(parse(&cli_bench, "--protocol https --mode sing", &a, &d), ERR_OK);
	ck_assert_int_eq(cli_choice(&a, CLI_PROTOCOL, "amqp", &v, &d), ERR_OK);
	ck_assert_str_eq(v, "https");
	ck_assert_int_eq(cli_choice(&a, CLI_MODE, "batch", &v, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "--mode: \"sing\" is not one of batch|single|read");
}
END_TEST

static int served;
static int serve(int argc, char **argv)
{
	(void)argv;
	served = argc;
	return 0;
}

static int run(const char *line)
{
	int argc = split(line);
	return cli_main(argc, argv_of, serve);
}

static const struct {
	const char *line;
	int status;
} lines[] = {
	{"sluice", 2},
	{"sluice help", 0},
	{"sluice --help", 0},
	{"sluice version", 0},
	{"sluice --version", 0},
	{"sluice help hub", 0},
	{"sluice help hub create", 0},
	{"sluice hub --help", 0},
	{"sluice hub", 2},
	{"sluice hub create --help", 0},
	{"sluice hub frobnicate", 2},
	{"sluice frobnicate", 2},
	{"sluice help frobnicate", 2},
	{"sluice serve --help", 0},
	{"sluice help serve", 0},
	{"sluice send --help", 0},
	{"sluice send", 2},
	{"sluice send h --bogus", 2},
	{"sluice send h --key a --partition 1", 2},
	{"sluice send h --partition x", 2},
	{"sluice receive h --from yesterday", 2},
	{"sluice receive h --from time=2026-13-01", 2},
	{"sluice receive h --from sequence=x", 2},
	{"sluice receive h --count 0", 2},
	{"sluice bench --mode single --batch 2", 2},
	{"sluice bench --size 1M --batch 2", 2},
	{"sluice bench --protocol mqtt", 2},
	{"sluice bench --mode read", 2},
	{"sluice bench --kafka 127.0.0.1:1", 2},
	{"sluice bench --compression gzip", 2},
	{"sluice bench --idempotent --protocol https", 2},
	{"sluice bench --protocol kafka --plaintext", 2},
	{"sluice bench --protocol kafka --compression rar", 2},
	{"sluice bench --protocol kafka --mode read --batch 2", 2},
	{"sluice bench --protocol kafka --mode read --rate 2", 2},
	{"sluice bench --protocol kafka --size 1M --batch 64", 2},
	{"sluice bench --protocol kafka --plaintext --kafka nix", 1},
	{"sluice bench --protocol kafka --plaintext --kafka 127.0.0.1:1", 1},
	{"sluice hub create h --partitions 0", 2},
	{"sluice hub create h --retention 7", 2},
	{"sluice hub create h --retention 0", 2},
	{"sluice hub create h --cleanup deleted", 2},
	{"sluice hub create h --retention-bytes many", 2},
	{"sluice hub update h", 2},
	{"sluice group create h", 2},
	{"sluice policy create p", 2},
	{"sluice policy create p --rights all", 2},
	{"sluice policy rotate p --key third", 2},
	{"sluice units", 2},
	{"sluice units --help", 0},
	{"sluice units set", 2},
	{"sluice units set many", 2},
	{"sluice units set 10001", 2},
	{"sluice units set -1", 2},
	{"sluice units set 1 2", 2},
	{"sluice units set 1 --auto-inflate-max 10001", 2},
	{"sluice units set 1 --auto-deflate-after 5", 2},
	{"sluice units set 1 --auto-deflate-after off --data /nonexistent", 1},
	{"sluice units show --data /nonexistent", 1},
	{"sluice units show x", 2},
	{"sluice help units show", 0},
	{"sluice limit", 2},
	{"sluice help limit", 0},
	{"sluice limit set hub", 2},
	{"sluice limit set hub h", 2},
	{"sluice limit set namespace h --units 1", 2},
	{"sluice limit set hub h --units 0", 2},
	{"sluice limit set hub h --in-bytes off", 2},
	{"sluice limit set hub h --in-bytes 1T --in-events x", 2},
	{"sluice limit set hub h --in-bytes 1M --data /nonexistent", 1},
	{"sluice limit delete link h", 2},
	{"sluice limit delete client", 2},
	{"sluice limit list x", 2},
	{"sluice token --ttl 5", 2},
	{"sluice token --key-name n", 2},
	{"sluice token --key-name n --key k --ttl 1h --hub h", 0},
	{"sluice token --key-name n --key k --publisher p", 1},
	{"sluice token --data /nonexistent", 1},
	{"sluice hub list --data /nonexistent", 1},
	{"sluice hub list --connection-string x", 1},
};

START_TEST(exit_status_tells_usage_from_failure)
{
	unsetenv("SLUICE_CONNECTION_STRING");
	unsetenv("SLUICE_DATA");
	ck_assert_int_eq(run(lines[_i].line), lines[_i].status);
}
END_TEST

START_TEST(serve_gets_the_words_after_it)
{
	ck_assert_int_eq(run("sluice serve --data x"), 0);
	ck_assert_int_eq(served, 2);
}
END_TEST

START_TEST(help_lists_every_option_of_the_command)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	cli_command_help(&cli_receive, f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_ptr_nonnull(strstr(text, "usage: sluice receive H [options]"));
	ck_assert_ptr_nonnull(strstr(text, "--from POSITION"));
	ck_assert_ptr_nonnull(strstr(text, "--follow"));
	ck_assert_ptr_null(strstr(text, "--rights"));
	free(text);
}
END_TEST

Suite *args_suite(void);
Suite *args_suite(void)
{
	Suite *s = suite_create("args");
	TCase *t = tcase_create("all");
	tcase_add_test(t, options_and_operands_mix);
	tcase_add_test(t, same_name_means_what_the_command_says);
	tcase_add_test(t, double_dash_ends_options);
	tcase_add_loop_test(t, bad_words_are_refused, 0, (int)(sizeof bad / sizeof *bad));
	tcase_add_test(t, numbers_are_bounded);
	tcase_add_test(t, choice_is_one_of_its_words);
	tcase_add_loop_test(t, exit_status_tells_usage_from_failure, 0,
			    (int)(sizeof lines / sizeof *lines));
	tcase_add_test(t, serve_gets_the_words_after_it);
	tcase_add_test(t, help_lists_every_option_of_the_command);
	suite_add_tcase(s, t);
	return s;
}
