#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/cli/input.h"

static char path[64];

static void write_file(const char *text)
{
	(void)snprintf(path, sizeof path, "/tmp/sluice-input-XXXXXX");
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
	ck_assert_int_eq(close(fd), 0);
}

static void check_line(struct cli_input *in, const char *text)
{
	struct span line;
	struct err_detail d;
	ck_assert_int_eq(cli_input_line(in, 1000, &line, &d), ERR_OK);
	ck_assert(span_eq_str(line, text));
}

START_TEST(lines_are_given_one_by_one)
{
	struct cli_input in;
	struct err_detail d;
	struct span line;
	write_file("one\n\nthree\r\nlast");
	ck_assert_int_eq(cli_input_open(path, 100, &in, &d), ERR_OK);
	ck_assert_uint_eq(in.size, 16);
	check_line(&in, "one");
	check_line(&in, "");
	check_line(&in, "three\r");
	check_line(&in, "last");
	ck_assert_uint_eq(in.taken, in.size);
	ck_assert_int_eq(cli_input_line(&in, 1000, &line, &d), ERR_EOF);
	cli_input_close(&in);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(final_newline_makes_no_event)
{
	struct cli_input in;
	struct err_detail d;
	struct span line;
	write_file("a\n");
	ck_assert_int_eq(cli_input_open(path, 100, &in, &d), ERR_OK);
	check_line(&in, "a");
	ck_assert_int_eq(cli_input_line(&in, 1000, &line, &d), ERR_EOF);
	cli_input_close(&in);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(whole_input_keeps_its_lines)
{
	struct cli_input in;
	struct err_detail d;
	struct span all;
	write_file("a\nb\n");
	ck_assert_int_eq(cli_input_open(path, 100, &in, &d), ERR_OK);
	ck_assert_int_eq(cli_input_whole(&in, &all, &d), ERR_OK);
	ck_assert(span_eq_str(all, "a\nb\n"));
	cli_input_close(&in);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(quiet_pipe_says_try_again)
{
	struct cli_input in = {.buffer = {.max = 1 << 20}, .name = "pipe"};
	struct err_detail d;
	struct span line;
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	in.fd = fds[0];
	ck_assert_int_eq((int)write(fds[1], "par", 3), 3);
	ck_assert_int_eq(cli_input_line(&in, 1, &line, &d), ERR_AGAIN);
	ck_assert_int_eq((int)write(fds[1], "tial\nx", 6), 6);
	check_line(&in, "partial");
	ck_assert_int_eq(close(fds[1]), 0);
	check_line(&in, "x");
	ck_assert_int_eq(cli_input_line(&in, 1, &line, &d), ERR_EOF);
	cli_input_close(&in);
}
END_TEST

START_TEST(line_longer_than_the_bound_is_refused)
{
	enum { LONG = 200000 };
	struct cli_input in;
	struct err_detail d;
	struct span line;
	char *text = malloc(LONG + 1);
	ck_assert_ptr_nonnull(text);
	memset(text, 'x', LONG);
	text[LONG] = '\0';
	write_file(text);
	free(text);
	ck_assert_int_eq(cli_input_open(path, 1000, &in, &d), ERR_OK);
	ck_assert_int_eq(cli_input_line(&in, 1000, &line, &d), ERR_TOO_LARGE);
	ck_assert_ptr_nonnull(strstr(d.text, "longer than 1000 bytes"));
	cli_input_close(&in);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(missing_file_and_directory_are_errors)
{
	struct cli_input in;
	struct err_detail d;
	ck_assert_int_eq(cli_input_open("/nonexistent/x", 1, &in, &d), ERR_IO);
	ck_assert_int_eq(cli_input_open("/tmp", 1, &in, &d), ERR_INVALID);
	ck_assert_str_eq(d.text, "/tmp: is a directory");
}
END_TEST

Suite *input_suite(void);
Suite *input_suite(void)
{
	Suite *s = suite_create("input");
	TCase *t = tcase_create("all");
	tcase_add_test(t, lines_are_given_one_by_one);
	tcase_add_test(t, final_newline_makes_no_event);
	tcase_add_test(t, whole_input_keeps_its_lines);
	tcase_add_test(t, quiet_pipe_says_try_again);
	tcase_add_test(t, line_longer_than_the_bound_is_refused);
	tcase_add_test(t, missing_file_and_directory_are_errors);
	suite_add_tcase(s, t);
	return s;
}
