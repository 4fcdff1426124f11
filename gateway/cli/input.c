#include "gateway/cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_SIZE = 64 << 10 };

enum err cli_input_open(const char *name, size_t max_line, struct cli_input *out,
			struct err_detail *d)
{
	struct stat st;
	bool is_stdin = name == NULL || strcmp(name, "-") == 0;
	*out = (struct cli_input){.fd = STDIN_FILENO,
				  .name = is_stdin ? "standard input" : name,
				  .buffer = {.max = max_line + READ_SIZE + 1}};
	if (!is_stdin) {
		out->fd = open(name, O_RDONLY | O_CLOEXEC);
		if (out->fd < 0) {
			return err_set(d, ERR_IO, "%s: %s", name, strerror(errno));
		}
	}
	if (fstat(out->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		cli_input_close(out);
		return err_set(d, ERR_INVALID, "%s: is a directory", out->name);
	}
	out->size = S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size : 0;
	return ERR_OK;
}

void cli_input_close(struct cli_input *in)
{
	if (in->fd > STDIN_FILENO) {
		(void)close(in->fd);
	}
	in->fd = -1;
	str_fini(&in->buffer);
}

/* Adds what one read gives to the buffer. */
static enum err fill(struct cli_input *in, struct err_detail *d)
{
	uint8_t piece[READ_SIZE];
	ssize_t n;
	if (in->start > 0) {
		in->buffer.len -= in->start;
		memmove(in->buffer.p, in->buffer.p + in->start, in->buffer.len);
		in->start = 0;
	}
	do {
		n = read(in->fd, piece, sizeof piece);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		return err_set(d, ERR_IO, "%s: %s", in->name, strerror(errno));
	}
	in->at_end = n == 0;
	str_addn(&in->buffer, piece, (size_t)n);
	if (in->buffer.bad) {
		return err_set(d, ERR_TOO_LARGE, "%s: an event is longer than %zu bytes", in->name,
			       in->buffer.max - READ_SIZE - 1);
	}
	return ERR_OK;
}

enum err cli_input_line(struct cli_input *in, int wait_ms, struct span *line,
			struct err_detail *d)
{
	size_t searched = 0;
	for (;;) {
		size_t have = in->buffer.len - in->start;
		const char *p = in->buffer.p + in->start;
		const char *lf = have > searched ? memchr(p + searched, '\n', have - searched) : NULL;
		if (lf != NULL || (in->at_end && have > 0)) {
			size_t n = lf != NULL ? (size_t)(lf - p) : have;
			*line = span_of(p, n);
			n += lf != NULL;
			in->start += n;
			in->taken += n;
			return ERR_OK;
		}
		if (in->at_end) {
			return ERR_EOF;
		}
		struct pollfd wait = {.fd = in->fd, .events = POLLIN};
		if (poll(&wait, 1, wait_ms) == 0) {
			return ERR_AGAIN;
		}
		searched = have;
		enum err e = fill(in, d);
		if (e != ERR_OK) {
			return e;
		}
	}
}

enum err cli_input_whole(struct cli_input *in, struct span *out, struct err_detail *d)
{
	while (!in->at_end) {
		enum err e = fill(in, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	*out = span_of(in->buffer.p, in->buffer.len);
	in->taken = in->buffer.len;
	return ERR_OK;
}
