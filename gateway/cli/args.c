/* Options and operands of the client commands, and the help made from the same
 * tables. */

#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/cli/cli_priv.h"
#include "gateway/units.h"

enum { HELP_COLUMN = 32 };

static const struct {
	const char *name;
	const char *arg;
	const char *help;
} options[CLI_OPTION__COUNT] = {
#define OPTION(id, name, arg, help) [CLI_##id] = {name, arg, help},
#include "gateway/cli/options.def"
#undef OPTION
};

static bool takes(const struct cli_command *command, int at)
{
	return (command->options >> at & 1) != 0;
}

static int find_option(const struct cli_command *command, const char *name, size_t n)
{
	for (int i = 0; i < CLI_OPTION__COUNT; i++) {
		if (takes(command, i) && strlen(options[i].name) == n &&
		    memcmp(options[i].name, name, n) == 0) {
			return i;
		}
	}
	return -1;
}

static enum err take_option(struct cli_args *out, int argc, char **argv, int *i,
			    struct err_detail *d)
{
	const char *word = argv[(*i)++];
	size_t n = strcspn(word, "=");
	const char *value = word[n] == '=' ? word + n + 1 : NULL;
	int at = find_option(out->command, word + 2, n - 2);
	if (at < 0) {
		return err_set(d, ERR_INVALID, "unknown option %.*s", (int)n, word);
	}
	if (options[at].arg == NULL) {
		if (value != NULL) {
			return err_set(d, ERR_INVALID, "--%s takes no value", options[at].name);
		}
		value = "";
	} else if (value == NULL) {
		if (*i >= argc) {
			return err_set(d, ERR_INVALID, "--%s needs a value (%s)", options[at].name,
				       options[at].arg);
		}
		value = argv[(*i)++];
	}
	if (at == CLI_PROPERTY) {
		if (out->n_properties == CLI_PROPERTIES_MAX) {
			return err_set(d, ERR_INVALID, "more than %d properties", CLI_PROPERTIES_MAX);
		}
		out->property[out->n_properties++] = value;
	} else if (at == CLI_DATA_DIRS) {
		if (out->n_data_dirs == LIMIT_VOLUMES) {
			return err_set(d, ERR_INVALID, "more than %d data directories", LIMIT_VOLUMES);
		}
		out->data_dirs[out->n_data_dirs++] = value;
	} else if (out->v[at] != NULL) {
		return err_set(d, ERR_INVALID, "--%s is given twice", options[at].name);
	}
	out->v[at] = value;
	return ERR_OK;
}

static enum err take_operand(struct cli_args *out, const char *word, struct err_detail *d)
{
	if (out->n == out->command->most) {
		return err_set(d, ERR_INVALID, "unexpected argument \"%.64s\"", word);
	}
	out->at[out->n++] = word;
	return ERR_OK;
}

enum err cli_args_parse(const struct cli_command *command, int argc, char **argv,
			struct cli_args *out, bool *help, struct err_detail *d)
{
	bool options_end = false;
	enum err e = ERR_OK;
	*out = (struct cli_args){.command = command};
	*help = false;
	for (int i = 0; i < argc && e == ERR_OK;) {
		const char *word = argv[i];
		if (!options_end && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
			*help = true;
			return ERR_OK;
		}
		if (!options_end && strcmp(word, "--") == 0) {
			options_end = true;
			i++;
		} else if (!options_end && strncmp(word, "--", 2) == 0) {
			e = take_option(out, argc, argv, &i, d);
		} else if (!options_end && word[0] == '-' && word[1] != '\0') {
			e = err_set(d, ERR_INVALID, "unknown option %s", word);
		} else {
			e = take_operand(out, word, d);
			i++;
		}
	}
	if (e == ERR_OK && out->n < command->least) {
		e = err_set(d, ERR_INVALID, "it needs %s", command->operands);
	}
	return e;
}

/* ---- help ------------------------------------------------------------------------ */

static void help_row(FILE *to, const char *name, const char *arg, const char *help)
{
	int n = fprintf(to, "  --%s%s%s", name, arg != NULL ? " " : "", arg != NULL ? arg : "");
	if (n >= HELP_COLUMN) {
		(void)fprintf(to, "\n%*s", HELP_COLUMN, "");
	} else {
		(void)fprintf(to, "%*s", HELP_COLUMN - n, "");
	}
	(void)fprintf(to, "%s\n", help);
}

void cli_command_help(const struct cli_command *command, FILE *to)
{
	(void)fprintf(to, "usage: sluice %s%s%s [options]\n\n%s.\n", command->name,
		      *command->operands != '\0' ? " " : "", command->operands, command->summary);
	if (command->more != NULL) {
		(void)fprintf(to, "%s\n", command->more);
	}
	(void)fputs("\n", to);
	for (int i = 0; i < CLI_OPTION__COUNT; i++) {
		if (takes(command, i)) {
			help_row(to, options[i].name, options[i].arg, options[i].help);
		}
	}
	help_row(to, "help", NULL, "show this");
}

/* ---- messages -------------------------------------------------------------------- */

static void say(const struct cli_args *a, const char *fmt, va_list ap)
{
	(void)fprintf(stderr, "sluice %s: ", a->command->name);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
}

int cli_failed(const struct cli_args *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(a, fmt, ap);
	va_end(ap);
	return CLI_FAILED;
}

int cli_wrong(const struct cli_args *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(a, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "See: sluice %s --help\n", a->command->name);
	return CLI_USAGE;
}

int cli_failed_err(const struct cli_args *a, enum err e, const struct err_detail *d)
{
	return cli_failed(a, "%s", *d->text != '\0' ? d->text : err_text(e));
}

bool cli_output_gone(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
	return poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0;
}

bool cli_flush_output(const struct cli_args *a)
{
	if (ferror(stdout) == 0 && fflush(stdout) == 0) {
		return true;
	}
	if (!cli_output_gone()) {
		(void)cli_failed(a, "standard output cannot be written");
	}
	return false;
}

/* ---- values ------------------------------------------------------------------------ */

enum err cli_number(const struct cli_args *a, enum cli_option at, enum cli_kind kind,
		    uint64_t least, uint64_t most, uint64_t preset, uint64_t *out,
		    struct err_detail *d)
{
	enum err e;
	if (a->v[at] == NULL) {
		*out = preset;
		return ERR_OK;
	}
	switch (kind) {
	case CLI_SIZE_KIND:
		e = units_parse_size(a->v[at], out, d);
		break;
	case CLI_MS_KIND:
		e = units_parse_ms(a->v[at], out, d);
		break;
	case CLI_COUNT_KIND:
	default:
		e = units_parse_count(a->v[at], out, d);
		break;
	}
	if (e == ERR_OK && (*out < least || *out > most)) {
		char low[UNITS_TEXT];
		char high[UNITS_TEXT];
		if (kind == CLI_MS_KIND) {
			units_ms_text(least, low);
			units_ms_text(most, high);
		} else if (kind == CLI_SIZE_KIND) {
			units_size_text(least, low);
			units_size_text(most, high);
		} else {
			(void)snprintf(low, sizeof low, "%llu", (unsigned long long)least);
			(void)snprintf(high, sizeof high, "%llu", (unsigned long long)most);
		}
		e = err_set(d, ERR_INVALID, "%.64s is outside %s to %s", a->v[at], low, high);
	}
	if (e != ERR_OK) {
		err_wrap(d, "--%s", options[at].name);
	}
	return e;
}

enum err cli_dirs(const struct cli_args *a, struct cli_dirs *out, struct err_detail *d)
{
	*out = (struct cli_dirs){.n = (uint32_t)a->n_data_dirs};
	memcpy(out->v, a->data_dirs, sizeof out->v);
	const char *env = getenv("SLUICE_DATA");
	if (out->n > 0) {
		return ERR_OK;
	}
	if (env == NULL || *env == '\0') {
		out->v[out->n++] = "./sluice-data";
		return ERR_OK;
	}
	out->text = mem_strdup(env);
	if (out->text == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	char *rest = out->text;
	for (char *word = strsep(&rest, ":"); word != NULL; word = strsep(&rest, ":")) {
		if (*word == '\0') {
			continue;
		}
		if (out->n == LIMIT_VOLUMES) {
			cli_dirs_fini(out);
			return err_set(d, ERR_INVALID, "SLUICE_DATA: more than %d directories",
				       LIMIT_VOLUMES);
		}
		out->v[out->n++] = word;
	}
	return ERR_OK;
}

void cli_dirs_fini(struct cli_dirs *dirs)
{
	mem_free(dirs->text);
	dirs->text = NULL;
	dirs->n = 0;
}

enum err cli_choice(const struct cli_args *a, enum cli_option at, const char *preset,
		    const char **out, struct err_detail *d)
{
	const char *value = a->v[at];
	*out = value != NULL ? value : preset;
	if (value == NULL) {
		return ERR_OK;
	}
	size_t n = strlen(value);
	const char *p = options[at].arg;
	while (p != NULL) {
		p += *p == '|';
		if (n > 0 && strncmp(p, value, n) == 0 && (p[n] == '|' || p[n] == '\0')) {
			return ERR_OK;
		}
		p = strchr(p, '|');
	}
	return err_set(d, ERR_INVALID, "--%s: \"%.64s\" is not one of %s", options[at].name, value,
		       options[at].arg);
}
