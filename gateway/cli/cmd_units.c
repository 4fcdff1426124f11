/* sluice units show, set: the namespace's throughput units and what is made of them. */

#include <inttypes.h>
#include <signal.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/cli/manage.h"
#include "gateway/cli/units_view.h"
#include "gateway/units.h"

enum {
	READING_MS = 1000,
	HEAD_ROWS = 7,		/* of the live view around its scopes */
	SCREEN_ROWS = 24,	/* of a terminal that does not say */
};

/* As serve --auto-deflate-after: 49 days. */
#define DEFLATE_AFTER_MAX_MS UINT64_C(4233600000)

static volatile sig_atomic_t is_interrupted;

static void on_signal(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* ---- readings -------------------------------------------------------------------- */

struct reading {
	json_t *answer;
	int64_t at_ns;
};

static enum err read_units(const struct cli_target *target, struct reading *out,
			   struct err_detail *d)
{
	struct str path = {0};
	cli_manage_path(&path, "units", NULL);
	enum err e = path.bad ? err_set(d, ERR_NOMEM, "out of memory")
			      : cli_manage_call(target, "GET", path.p, NULL, &out->answer, d);
	out->at_ns = clock_mono_ns();
	str_fini(&path);
	if (e == ERR_OK && !json_is_object(out->answer)) {
		json_decref(out->answer);
		out->answer = NULL;
		e = err_set(d, ERR_PROTOCOL, "the server's answer tells no units");
	}
	return e;
}

/* Until READING_MS after `from_ns`; false: Ctrl-C. */
static bool wait_reading(int64_t from_ns)
{
	int64_t until_ns = from_ns + READING_MS * INT64_C(1000000);
	for (int64_t left; !is_interrupted && (left = until_ns - clock_mono_ns()) > 0;) {
		struct timespec nap = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
		(void)nanosleep(&nap, NULL);
	}
	return !is_interrupted;
}

static struct cli_units_reading pair_of(const struct reading *before, const struct reading *now)
{
	return (struct cli_units_reading){
		.now = now->answer,
		.before = before->answer,
		.seconds = (double)(now->at_ns - before->at_ns) / 1e9,
	};
}

/* ---- once -------------------------------------------------------------------------- */

static enum err show_once(const struct cli_args *a, const struct cli_target *target,
			  struct err_detail *d)
{
	struct reading before = {0};
	struct reading now = {0};
	enum err e = read_units(target, &now, d);
	if (e == ERR_OK && cli_has(a, CLI_JSON)) {
		(void)json_dumpf(now.answer, stdout, JSON_INDENT(2));
		(void)fputc('\n', stdout);
	} else if (e == ERR_OK) {
		if (cli_units_limited(now.answer)) {
			before = now;
			now = (struct reading){0};
			(void)wait_reading(before.at_ns);
			e = read_units(target, &now, d);
		}
		struct cli_units_reading r = pair_of(&before, &now);
		if (e == ERR_OK) {
			cli_units_print(stdout, &r, SIZE_MAX);
		}
	}
	json_decref(before.answer);
	json_decref(now.answer);
	return e;
}

/* ---- live ---------------------------------------------------------------------------- */

static size_t screen_rows(void)
{
	struct winsize size = {0};
	size_t rows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0
			      ? size.ws_row
			      : (size_t)SCREEN_ROWS;
	return rows > HEAD_ROWS ? rows - HEAD_ROWS : 1;
}

static void put_reading(const struct cli_args *a, const struct cli_units_reading *r, bool is_screen)
{
	char iso[CLOCK_ISO_MAX];
	clock_iso(clock_wall_ms(), iso);
	if (cli_has(a, CLI_JSON)) {
		(void)json_dumpf(r->now, stdout, JSON_COMPACT);
		(void)fputc('\n', stdout);
	} else if (is_screen) {
		/* Home, then clear to the end. */
		(void)printf("\033[H\033[J%s   Ctrl-C ends\n\n", iso);
		cli_units_print(stdout, r, screen_rows());
	} else {
		cli_units_lines(stdout, r, iso);
	}
}

static enum err follow(const struct cli_args *a, const struct cli_target *target,
		       struct err_detail *d)
{
	const struct sigaction action = {.sa_handler = on_signal};
	bool is_screen = isatty(STDOUT_FILENO) != 0;
	struct reading before = {0};
	struct reading now = {0};
	enum err e = ERR_OK;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	do {
		json_decref(before.answer);
		before = now;
		now = (struct reading){0};
		e = read_units(target, &now, d);
		if (e == ERR_OK) {
			struct cli_units_reading r = pair_of(&before, &now);
			put_reading(a, &r, is_screen);
		}
	} while (e == ERR_OK && fflush(stdout) == 0 && wait_reading(now.at_ns));
	json_decref(before.answer);
	json_decref(now.answer);
	return is_interrupted ? ERR_OK : e;
}

/* ---- the commands ------------------------------------------------------------------------ */

static int run_show(const struct cli_args *a)
{
	struct cli_target target;
	struct err_detail d = {{0}};
	enum err e = cli_target_find(a, NULL, &target, &d);
	if (e == ERR_OK) {
		e = cli_has(a, CLI_LIVE) ? follow(a, &target, &d) : show_once(a, &target, &d);
		cli_target_fini(&target);
	}
	return e == ERR_OK ? CLI_DONE : cli_failed_err(a, e, &d);
}

/* A number that may be off: null. */
static enum err add_number(const struct cli_args *a, enum cli_option at, enum cli_kind kind,
			   uint64_t most, const char *member, json_t *body, struct err_detail *d)
{
	uint64_t v = 0;
	enum err e = ERR_OK;
	if (!cli_has(a, at)) {
		return ERR_OK;
	}
	if (strcasecmp(a->v[at], "off") != 0) {
		e = cli_number(a, at, kind, 0, most, 0, &v, d);
	}
	if (e == ERR_OK) {
		(void)json_object_set_new(body, member, v != 0 ? json_integer((json_int_t)v) : json_null());
	}
	return e;
}

static enum err make_body(const struct cli_args *a, json_t *body, struct err_detail *d)
{
	enum err e = ERR_OK;
	if (a->n > 0) {
		uint64_t v = 0;
		e = units_parse_count(a->at[0], &v, d);
		if (e == ERR_OK && v > LIMIT_UNITS) {
			e = err_set(d, ERR_INVALID, "%.64s is outside 0 to %d", a->at[0], LIMIT_UNITS);
		}
		(void)json_object_set_new(body, "units", json_integer((json_int_t)v));
	}
	if (e == ERR_OK) {
		e = add_number(a, CLI_INFLATE_MAX, CLI_COUNT_KIND, LIMIT_UNITS, "autoInflateMax", body, d);
	}
	if (e == ERR_OK) {
		e = add_number(a, CLI_DEFLATE_AFTER, CLI_MS_KIND, DEFLATE_AFTER_MAX_MS,
			       "autoDeflateAfterMs", body, d);
	}
	return e;
}

static void show_settings(const json_t *answer)
{
	char text[CLI_UNITS_TEXT];
	cli_units_text(answer, text);
	(void)printf("units %s\n", text);
}

static int run_set(const struct cli_args *a)
{
	struct err_detail d = {{0}};
	if (a->n == 0 && !cli_has(a, CLI_INFLATE_MAX) && !cli_has(a, CLI_DEFLATE_AFTER)) {
		return cli_wrong(a, "nothing to change: give N, --auto-inflate-max or "
				 "--auto-deflate-after");
	}
	struct str path = {0};
	json_t *body = json_object();
	int status;
	cli_manage_path(&path, "units", NULL);
	if (path.bad || body == NULL) {
		status = cli_failed(a, "out of memory");
	} else if (make_body(a, body, &d) != ERR_OK) {
		status = cli_wrong(a, "%s", d.text);
	} else {
		status = cli_manage_run(a, "PATCH", path.p, body, show_settings);
	}
	json_decref(body);
	str_fini(&path);
	return status;
}

const struct cli_command cli_units_show = {
	.name = "units show", .operands = "",
	.summary = "Show the throughput units, their use, and who is throttled",
	.more = "1 unit is 1 MB/s or 1000 events/s in, 2 MB/s or 4096 events/s out, whichever is reached\n"
		"first; 1 MB is 1,048,576 bytes. A line for each limit: what it let through and what it\n"
		"held up or refused in a second, who waits, and whose sends were throttled most within\n"
		"the last minute.",
	.options = CLI_CONNECT | CLI_BIT(JSON) | CLI_BIT(LIVE), .run = run_show,
};
const struct cli_command cli_units_set = {
	.name = "units set", .operands = "[N]", .most = 1,
	.summary = "Change the throughput units of the running server",
	.more = "In force within a moment and kept over restarts; 0: not limited. What serve\n"
		"--throughput-units says counts again when it is changed there.",
	.options = CLI_CONNECT | CLI_BIT(JSON) | CLI_BIT(INFLATE_MAX) | CLI_BIT(DEFLATE_AFTER),
	.run = run_set,
};
