#include "gateway/cli/cli.h"

#include <signal.h>
#include <string.h>

#include "gateway/cli/cli_priv.h"
#include "gateway/config.h"

/* In the order of `sluice help`. */
static const struct cli_command *const commands[] = {
	&cli_connection_string, &cli_token,	   &cli_hub_create,    &cli_hub_list,
	&cli_hub_show,		&cli_hub_update,   &cli_hub_delete,    &cli_group_create,
	&cli_group_list,	&cli_group_show,   &cli_group_delete, &cli_policy_create, &cli_policy_list,
	&cli_policy_show,	&cli_policy_rotate, &cli_policy_delete, &cli_units_show,
	&cli_units_set,		&cli_limit_list,   &cli_limit_set,     &cli_limit_delete, &cli_send,
	&cli_receive,		&cli_bench,		&cli_verify,	      &cli_backup,	 &cli_restore,
};
enum { COMMANDS = sizeof commands / sizeof *commands, NAME_COLUMN = 20 };

static const char serve_summary[] = "run the gateway in the foreground";

static void help_all(FILE *to)
{
	(void)fputs("usage: sluice COMMAND [arguments]\n\nCommands:\n", to);
	(void)fprintf(to, "  %-*s  %s\n", NAME_COLUMN, "serve", serve_summary);
	for (int i = 0; i < COMMANDS; i++) {
		(void)fprintf(to, "  %-*s  %c%s\n", NAME_COLUMN, commands[i]->name,
			      commands[i]->summary[0] | 0x20, commands[i]->summary + 1);
	}
	(void)fprintf(to, "  %-*s  %s\n", NAME_COLUMN, "version", "print the version");
	(void)fprintf(to, "  %-*s  %s\n", NAME_COLUMN, "help [COMMAND]", "show this, or a command's help");
	(void)fputs("\nsluice COMMAND --help tells more. Exit status: 0 done, 1 failed, "
		    "2 wrong usage.\n",
		    to);
}

static void help_serve(FILE *to)
{
	(void)fputs("usage: sluice serve [settings]\n\nRun the gateway in the foreground: the log goes "
		    "to standard error, one line of JSON to\nstandard output once every listener "
		    "accepts. SIGTERM drains and stops, SIGHUP reloads\nthe certificates.\n\n",
		    to);
	config_help(to);
	(void)fprintf(to, "  %-32s%s\n", "--help", "show this");
}

/* Commands whose first word is `word`, or all of whose words are. */
static bool is_first_word(const struct cli_command *command, const char *word)
{
	size_t n = strlen(word);
	return strncmp(command->name, word, n) == 0 &&
	       (command->name[n] == ' ' || command->name[n] == '\0');
}

/* Prints the commands of a group like "hub"; false when there is none. */
static bool help_group(const char *word, FILE *to)
{
	bool any = false;
	for (int i = 0; i < COMMANDS; i++) {
		if (is_first_word(commands[i], word)) {
			if (!any) {
				(void)fprintf(to, "usage: sluice %s COMMAND\n\n", word);
			}
			any = true;
			(void)fprintf(to, "  %s %-*s  %s\n", commands[i]->name,
				      NAME_COLUMN + 12 - (int)strlen(commands[i]->name),
				      commands[i]->operands, commands[i]->summary);
		}
	}
	return any;
}

/* The command named by the first one or two words; *used tells how many. */
static const struct cli_command *find(int argc, char **argv, int *used)
{
	for (int i = 0; i < COMMANDS; i++) {
		const char *name = commands[i]->name;
		const char *blank = strchr(name, ' ');
		if (blank == NULL && argc >= 1 && strcmp(name, argv[0]) == 0) {
			*used = 1;
			return commands[i];
		}
		if (blank != NULL && argc >= 2 && is_first_word(commands[i], argv[0]) &&
		    strcmp(blank + 1, argv[1]) == 0) {
			*used = 2;
			return commands[i];
		}
	}
	return NULL;
}

static int unknown(int argc, char **argv)
{
	const char *more = argc > 1 ? argv[1] : "";
	for (int i = 0; i < COMMANDS; i++) {
		if (is_first_word(commands[i], argv[0])) {
			(void)fprintf(stderr, "sluice %s: unknown command \"%.64s\"\n", argv[0], more);
			(void)help_group(argv[0], stderr);
			return CLI_USAGE;
		}
	}
	(void)fprintf(stderr, "sluice: unknown command \"%.64s\"; see sluice help\n", argv[0]);
	return CLI_USAGE;
}

static int help(int argc, char **argv)
{
	int used;
	if (argc == 0) {
		help_all(stdout);
		return CLI_DONE;
	}
	const struct cli_command *command = find(argc, argv, &used);
	if (command != NULL) {
		cli_command_help(command, stdout);
	} else if (strcmp(argv[0], "serve") == 0) {
		help_serve(stdout);
	} else if (argc > 1 || !help_group(argv[0], stdout)) {
		return unknown(argc, argv);
	}
	return CLI_DONE;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
	struct cli_args a;
	struct err_detail d;
	bool wants_help;
	if (cli_args_parse(command, argc, argv, &a, &wants_help, &d) != ERR_OK) {
		return cli_wrong(&a, "%s", d.text);
	}
	if (wants_help) {
		cli_command_help(command, stdout);
		return CLI_DONE;
	}
	/* A reader that goes away shows as a failed write. */
	(void)signal(SIGPIPE, SIG_IGN);
	int status = command->run(&a);
	if (status == CLI_DONE && !cli_flush_output(&a) && !cli_output_gone()) {
		status = CLI_FAILED;
	}
	return status;
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int cli_main(int argc, char **argv, cli_serve_fn *serve)
{
	int used;
	argc--;
	argv++;
	if (argc < 1) {
		help_all(stderr);
		return CLI_USAGE;
	}
	if (is_help(argv[0]) || strcmp(argv[0], "help") == 0) {
		return help(argc - 1, argv + 1);
	}
	if (strcmp(argv[0], "version") == 0 || strcmp(argv[0], "--version") == 0) {
		(void)printf("sluice %s\n", SLUICE_VERSION);
		return CLI_DONE;
	}
	if (strcmp(argv[0], "serve") == 0) {
		for (int i = 1; i < argc; i++) {
			if (is_help(argv[i])) {
				help_serve(stdout);
				return CLI_DONE;
			}
		}
		return serve(argc - 1, argv + 1);
	}
	const struct cli_command *command = find(argc, argv, &used);
	if (command != NULL) {
		return run(command, argc - used, argv + used);
	}
	if (argc == 2 && is_help(argv[1]) && help_group(argv[0], stdout)) {
		return CLI_DONE;
	}
	return unknown(argc, argv);
}
