#ifndef GATEWAY_CLI_CLI_PRIV_H
#define GATEWAY_CLI_CLI_PRIV_H

/* Shared by the commands: their table rows, parsed arguments, messages. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"

enum cli_option {
#define OPTION(id, name, arg, help) CLI_##id,
#include "gateway/cli/options.def"
#undef OPTION
	CLI_OPTION__COUNT
};
_Static_assert(CLI_OPTION__COUNT <= 64, "options fit one mask");
#define CLI_BIT(id) (UINT64_C(1) << CLI_##id)

/* What commands that reach a server take. */
#define CLI_CONNECT_AMQP (CLI_BIT(CONNECTION_STRING) | CLI_BIT(DATA) | CLI_BIT(CA))
#define CLI_CONNECT (CLI_CONNECT_AMQP | CLI_BIT(HTTPS))

enum {
	CLI_POSITIONAL_MAX = 3,
	CLI_PROPERTIES_MAX = 64,
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
};

struct cli_command;

/* Texts borrow from argv. */
struct cli_args {
	const struct cli_command *command;
	const char *v[CLI_OPTION__COUNT];	/* NULL: not given; flags: "" */
	const char *property[CLI_PROPERTIES_MAX];
	size_t n_properties;
	const char *data_dirs[LIMIT_VOLUMES];	/* DATA_DIRS, each */
	size_t n_data_dirs;
	const char *at[CLI_POSITIONAL_MAX];
	int n;
};

struct cli_command {
	const char *name;	/* "hub create" */
	const char *operands;	/* "H [FILE|-]" */
	const char *summary;	/* one line */
	const char *more;	/* further help, or NULL */
	int least;		/* operands */
	int most;
	uint64_t options;
	int (*run)(const struct cli_args *a);	/* gives the exit status */
};

extern const struct cli_command cli_connection_string, cli_token, cli_hub_create, cli_hub_list,
	cli_hub_show, cli_hub_update, cli_hub_delete, cli_group_create, cli_group_list,
	cli_group_show, cli_group_delete, cli_policy_create, cli_policy_list, cli_policy_show, cli_policy_rotate,
	cli_policy_delete, cli_units_show, cli_units_set, cli_limit_list, cli_limit_set,
	cli_limit_delete, cli_send, cli_receive, cli_bench, cli_verify, cli_backup, cli_restore;

/* Reads the words after the command's name. ERR_INVALID with a detail. *help is
 * set by --help anywhere. */
enum err cli_args_parse(const struct cli_command *command, int argc, char **argv,
			struct cli_args *out, bool *help, struct err_detail *d) MUST_CHECK;
void cli_command_help(const struct cli_command *command, FILE *to);

static inline bool cli_has(const struct cli_args *a, enum cli_option at)
{
	return a->v[at] != NULL;
}

/* Both print one line on standard error and give the exit status. */
int cli_failed(const struct cli_args *a, const char *fmt, ...) PRINTF(2, 3);
int cli_wrong(const struct cli_args *a, const char *fmt, ...) PRINTF(2, 3);
/* The detail, or the error's own text. */
int cli_failed_err(const struct cli_args *a, enum err e, const struct err_detail *d);

/* Data directories: those given, else SLUICE_DATA's (several: with ':' between them),
 * else ./sluice-data. */
struct cli_dirs {
	const char *v[LIMIT_VOLUMES];
	uint32_t n;
	char *text;	/* own: what some of v point into */
};
enum err cli_dirs(const struct cli_args *a, struct cli_dirs *out, struct err_detail *d) MUST_CHECK;
void cli_dirs_fini(struct cli_dirs *dirs);

enum cli_kind { CLI_COUNT_KIND, CLI_SIZE_KIND, CLI_MS_KIND };
/* An option's number within bounds, or `preset` when it is not given.
 * ERR_INVALID with a detail naming the option. */
enum err cli_number(const struct cli_args *a, enum cli_option at, enum cli_kind kind,
		    uint64_t least, uint64_t most, uint64_t preset, uint64_t *out,
		    struct err_detail *d) MUST_CHECK;
/* One of the words in `choices` ("a|b"); `preset` when not given. */
enum err cli_choice(const struct cli_args *a, enum cli_option at, const char *preset,
		    const char **out, struct err_detail *d) MUST_CHECK;

/* Flushes standard output; false and a message when it cannot be written
 * (silent when its reader has gone). */
bool cli_flush_output(const struct cli_args *a);
/* The reader of standard output, a pipe, has gone. */
bool cli_output_gone(void);

#endif
