#ifndef GATEWAY_CLI_INPUT_H
#define GATEWAY_CLI_INPUT_H

/* What `sluice send` reads: a file or standard input, by lines or whole. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct cli_input {
	int fd;
	const char *name;
	bool at_end;
	uint64_t size;		/* of a regular file, else 0 */
	uint64_t taken;		/* bytes given out */
	struct str buffer;
	size_t start;		/* of what is not yet given out */
};

/* "-" or NULL: standard input. ERR_IO, ERR_INVALID (a directory) with a detail.
 * `max_line` bounds a line. */
enum err cli_input_open(const char *name, size_t max_line, struct cli_input *out,
			struct err_detail *d) MUST_CHECK;
/* The next line without its LF, borrowed until the next call. ERR_AGAIN: none
 * came within wait_ms; ERR_EOF; ERR_TOO_LARGE; ERR_IO; with a detail. */
enum err cli_input_line(struct cli_input *in, int wait_ms, struct span *line,
			struct err_detail *d) MUST_CHECK;
/* Everything, borrowed until close. */
enum err cli_input_whole(struct cli_input *in, struct span *out, struct err_detail *d) MUST_CHECK;
void cli_input_close(struct cli_input *in);

#endif
