#ifndef GATEWAY_CLI_MANAGE_H
#define GATEWAY_CLI_MANAGE_H

/* The JSON management API as the hub, group, policy, units and limit commands use it, and how
 * they show its answers. */

#include <jansson.h>

#include "gateway/cli/target.h"

/* Appends "/word/word..." below the API's root, each word percent-encoded. The
 * last argument is NULL. */
void cli_manage_path(struct str *out, ...);

/* One call with a fresh connection. `body` (borrowed) may be NULL. *out gets the
 * answer (NULL when it has no body); the caller gives it up with json_decref. An
 * error answer becomes the detail: its message and tracking id. */
enum err cli_manage_call(const struct cli_target *t, const char *method, const char *path,
			 const json_t *body, json_t **out, struct err_detail *d) MUST_CHECK;

/* Finds the target, calls, prints: with --json the answer as it came, else by
 * `show` (may be NULL: nothing is printed). Gives the exit status. */
typedef void cli_show_fn(const json_t *answer);
int cli_manage_run(const struct cli_args *a, const char *method, const char *path,
		   const json_t *body, cli_show_fn *show);

/* Members of a JSON object; "" and 0 when missing. */
const char *cli_json_text(const json_t *object, const char *key);
int64_t cli_json_number(const json_t *object, const char *key);
/* The list itself or the member of that name. */
const json_t *cli_json_list(const json_t *answer, const char *key);

/* A table, on standard output if nothing is said: rows of cells, columns as wide as needed. */
enum { CLI_TABLE_COLUMNS = 8, CLI_TABLE_CELL = 96 };
struct cli_table {
	int columns;
	size_t n;	/* cells */
	size_t cap;
	char (*cells)[CLI_TABLE_CELL];
};
void cli_table_add(struct cli_table *t, const char *fmt, ...) PRINTF(2, 3);
/* Both free it, too. */
void cli_table_print(struct cli_table *t);
void cli_table_write(struct cli_table *t, FILE *to);

#endif
