/* Reading an HTTP/1.1 answer (RFC 9112) from pieces of any size. Pure. */

#include <string.h>
#include <strings.h>

#include "gateway/cli/http_client.h"

enum { RETRY_AFTER_MAX_S = 100000000 };

void cli_answer_start(struct cli_answer *a)
{
	struct str body = a->body;
	memset(a, 0, offsetof(struct cli_answer, line));
	a->line_len = 0;
	a->body = body;
	a->body.len = 0;
	a->body.max = CLI_HTTP_BODY_MAX;
}

void cli_answer_fini(struct cli_answer *a)
{
	str_fini(&a->body);
}

static enum err on_status(struct cli_answer *a)
{
	const char *s = a->line;
	if (strncmp(s, "HTTP/1.", 7) != 0 || (s[7] != '0' && s[7] != '1') || s[8] != ' ') {
		return ERR_PROTOCOL;
	}
	a->status = 0;
	for (int i = 9; i < 12; i++) {
		if (s[i] < '0' || s[i] > '9') {
			return ERR_PROTOCOL;
		}
		a->status = a->status * 10 + (s[i] - '0');
	}
	if (a->status < 100 || (s[12] != ' ' && s[12] != '\0')) {
		return ERR_PROTOCOL;
	}
	a->close = s[7] == '0';
	a->state = CLI_HTTP_HEADER;
	return ERR_OK;
}

static enum err parse_length(struct cli_answer *a, const char *s)
{
	uint64_t v = 0;
	if (*s == '\0') {
		return ERR_PROTOCOL;
	}
	for (; *s >= '0' && *s <= '9'; s++) {
		v = v * 10 + (uint64_t)(*s - '0');
		if (v > CLI_HTTP_BODY_MAX) {
			return ERR_TOO_LARGE;
		}
	}
	if (*s != '\0' || (a->has_length && a->left != v)) {
		return ERR_PROTOCOL;
	}
	a->has_length = true;
	a->left = v;
	return ERR_OK;
}

/* Whole seconds; a date, as proxies may send it, is passed over. */
static void parse_retry_after(struct cli_answer *a, const char *s)
{
	uint32_t v = 0;
	for (; *s >= '0' && *s <= '9' && v < RETRY_AFTER_MAX_S; s++) {
		v = v * 10 + (uint32_t)(*s - '0');
	}
	a->retry_after_s = *s == '\0' ? v : 0;
}

/* The end of the head: what comes next. */
static void on_head_end(struct cli_answer *a)
{
	if (a->status < 200) {
		cli_answer_start(a);	/* an interim answer; the real one follows */
	} else if (a->status == 204 || a->status == 304) {
		a->state = CLI_HTTP_DONE;
	} else if (a->chunked) {
		a->state = CLI_HTTP_CHUNK_SIZE;
	} else if (a->has_length) {
		a->state = a->left > 0 ? CLI_HTTP_BODY : CLI_HTTP_DONE;
	} else {
		a->close = true;
		a->state = CLI_HTTP_TO_END;
	}
}

static enum err on_header(struct cli_answer *a)
{
	if (a->line[0] == '\0') {
		on_head_end(a);
		return ERR_OK;
	}
	char *colon = strchr(a->line, ':');
	if (colon == NULL || colon == a->line || ++a->headers > CLI_HTTP_HEADERS) {
		return ERR_PROTOCOL;
	}
	*colon = '\0';
	char *value = colon + 1 + strspn(colon + 1, " \t");
	size_t n = strlen(value);
	while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t')) {
		value[--n] = '\0';
	}
	if (strcasecmp(a->line, "Content-Length") == 0) {
		return parse_length(a, value);
	}
	if (strcasecmp(a->line, "Transfer-Encoding") == 0) {
		a->chunked = strcasecmp(value, "chunked") == 0;
		return a->chunked ? ERR_OK : ERR_PROTOCOL;
	}
	if (strcasecmp(a->line, "Retry-After") == 0) {
		parse_retry_after(a, value);
	}
	if (strcasecmp(a->line, "Connection") == 0) {
		a->close = a->close || strcasecmp(value, "close") == 0;
	}
	return ERR_OK;
}

static int hex_digit(char c)
{
	char l = (char)(c | 0x20);
	return c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static enum err on_chunk_size(struct cli_answer *a)
{
	uint64_t v = 0;
	const char *s = a->line;
	if (hex_digit(*s) < 0) {
		return ERR_PROTOCOL;
	}
	for (; hex_digit(*s) >= 0; s++) {
		v = v * 16 + (uint64_t)hex_digit(*s);
		if (v > CLI_HTTP_BODY_MAX) {
			return ERR_TOO_LARGE;
		}
	}
	if (*s != '\0' && *s != ';' && *s != ' ') {
		return ERR_PROTOCOL;
	}
	a->left = v;
	a->state = v > 0 ? CLI_HTTP_CHUNK : CLI_HTTP_TRAILER;
	return ERR_OK;
}

static enum err on_line(struct cli_answer *a)
{
	switch (a->state) {
	case CLI_HTTP_STATUS:
		return on_status(a);
	case CLI_HTTP_HEADER:
		return on_header(a);
	case CLI_HTTP_CHUNK_SIZE:
		return on_chunk_size(a);
	case CLI_HTTP_CHUNK_END:
		a->state = CLI_HTTP_CHUNK_SIZE;
		return a->line[0] == '\0' ? ERR_OK : ERR_PROTOCOL;
	case CLI_HTTP_TRAILER:
		if (a->line[0] == '\0') {
			a->state = CLI_HTTP_DONE;
		}
		return ++a->headers > CLI_HTTP_HEADERS ? ERR_PROTOCOL : ERR_OK;
	default:
		return ERR_PROTOCOL;
	}
}

/* One byte of a line; the line is handled at its LF. */
static enum err take_line_byte(struct cli_answer *a, uint8_t c)
{
	if (c == '\n') {
		if (a->line_len > 0 && a->line[a->line_len - 1] == '\r') {
			a->line_len--;
		}
		a->line[a->line_len] = '\0';
		a->line_len = 0;
		return on_line(a);
	}
	if (c == '\0') {
		return ERR_PROTOCOL;
	}
	if (a->line_len == sizeof a->line - 1) {
		return ERR_TOO_LARGE;
	}
	a->line[a->line_len++] = (char)c;
	return ERR_OK;
}

/* Body bytes; gives how many were taken. */
static size_t take_body(struct cli_answer *a, struct span in)
{
	size_t n = in.n;
	if (a->state != CLI_HTTP_TO_END) {
		n = a->left < n ? (size_t)a->left : n;
		a->left -= n;
	}
	str_addn(&a->body, in.p, n);
	if (a->state == CLI_HTTP_BODY && a->left == 0) {
		a->state = CLI_HTTP_DONE;
	} else if (a->state == CLI_HTTP_CHUNK && a->left == 0) {
		a->state = CLI_HTTP_CHUNK_END;
	}
	return n;
}

enum err cli_answer_feed(struct cli_answer *a, struct span in, size_t *used)
{
	enum err e = ERR_OK;
	size_t at = 0;
	while (at < in.n && a->state != CLI_HTTP_DONE && e == ERR_OK) {
		if (a->state == CLI_HTTP_BODY || a->state == CLI_HTTP_CHUNK ||
		    a->state == CLI_HTTP_TO_END) {
			at += take_body(a, span_of(in.p + at, in.n - at));
			e = a->body.bad ? ERR_TOO_LARGE : ERR_OK;
		} else {
			e = take_line_byte(a, in.p[at++]);
		}
	}
	*used = at;
	return e;
}

enum err cli_answer_end(struct cli_answer *a)
{
	if (a->state == CLI_HTTP_TO_END) {
		a->state = CLI_HTTP_DONE;
	}
	return a->state == CLI_HTTP_DONE ? ERR_OK : ERR_EOF;
}

bool cli_answer_is_throttled(const struct cli_answer *a)
{
	const char *code = err_info(ERR_BUSY)->http_code;
	return a->status == err_info(ERR_BUSY)->http_status && a->retry_after_s > 0 &&
	       a->body.len > 0 && memmem(a->body.p, a->body.len, code, strlen(code)) != NULL;
}
