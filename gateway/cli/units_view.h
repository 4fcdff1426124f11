#ifndef GATEWAY_CLI_UNITS_VIEW_H
#define GATEWAY_CLI_UNITS_VIEW_H

/* What `sluice units show` makes of the management API's answers: two of them and the
 * time between tell what happens in a second. Pure but for the output. */

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

enum { CLI_LIMIT_TEXT = 160 };
/* "in 1 MB/s, 1000 events/s; out 2 MB/s" of an object with inBytes, inEvents, outBytes,
 * outEvents; "none". */
void cli_limit_text(const json_t *limit, char out[CLI_LIMIT_TEXT]);

/* Units as set: "4 (set: 2; grow to 10 while throttled; shrink after 5m)". */
enum { CLI_UNITS_TEXT = 160 };
void cli_units_text(const json_t *units, char out[CLI_UNITS_TEXT]);

/* Borrowed answers. */
struct cli_units_reading {
	const json_t *now;
	const json_t *before;	/* NULL: none, so nothing is known per second */
	double seconds;		/* between them */
};

/* Has any scope a limit? Without one a second reading tells nothing more. */
bool cli_units_limited(const json_t *answer);
/* Units, use, and a table of the scopes with a limit, at most `rows` of them. */
void cli_units_print(FILE *to, const struct cli_units_reading *r, size_t rows);
/* The same as lines of words: one for the units, one for each scope and direction. */
void cli_units_lines(FILE *to, const struct cli_units_reading *r, const char *time);

#endif
