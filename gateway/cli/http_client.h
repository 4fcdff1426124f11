#ifndef GATEWAY_CLI_HTTP_CLIENT_H
#define GATEWAY_CLI_HTTP_CLIENT_H

/* A small HTTP/1.1 client over a blocking connection: requests with a
 * Content-Length, answers with a Content-Length, in chunks or to the end of the
 * connection, kept alive. The answer's reader is pure: it takes bytes in pieces
 * of any size. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct cli_target;

enum {
	CLI_HTTP_LINE = 8192,		/* status line, header or chunk size */
	CLI_HTTP_HEADERS = 100,
	CLI_HTTP_BODY_MAX = 64 << 20,
};

enum cli_http_state {
	CLI_HTTP_STATUS,
	CLI_HTTP_HEADER,
	CLI_HTTP_BODY,		/* `left` bytes */
	CLI_HTTP_TO_END,	/* until the connection ends */
	CLI_HTTP_CHUNK_SIZE,
	CLI_HTTP_CHUNK,
	CLI_HTTP_CHUNK_END,
	CLI_HTTP_TRAILER,
	CLI_HTTP_DONE,
};

struct cli_answer {
	int status;
	bool close;		/* the server ends the connection after it */
	uint32_t retry_after_s;	/* it says when to come again; 0: it does not */
	struct str body;
	/* private */
	enum cli_http_state state;
	bool has_length;
	bool chunked;
	uint64_t left;
	int headers;
	char line[CLI_HTTP_LINE];
	size_t line_len;
};

/* Starts another answer; the body's memory is kept. Zero-initialise first. */
void cli_answer_start(struct cli_answer *a);
/* Reads from `in`; *used gets how many bytes belonged to this answer. It is
 * complete when state is CLI_HTTP_DONE. ERR_PROTOCOL, ERR_TOO_LARGE. */
enum err cli_answer_feed(struct cli_answer *a, struct span in, size_t *used) MUST_CHECK;
/* The connection ended: ERR_OK when that completes the answer, else ERR_EOF. */
enum err cli_answer_end(struct cli_answer *a) MUST_CHECK;
void cli_answer_fini(struct cli_answer *a);

/* Was the request refused because too much came, with a time to come again? */
bool cli_answer_is_throttled(const struct cli_answer *a);

/* Writes the request's head. `extra` are further header lines with their CRLF. */
void cli_request_head(struct str *out, const char *method, const char *path, const char *host,
		      int port, const char *authorization, const char *extra, size_t body_bytes);

struct cli_http;
enum err cli_http_open(const struct cli_target *t, struct cli_http **out,
		       struct err_detail *d) MUST_CHECK;
void cli_http_close(struct cli_http **h);
/* Sends the bytes of a whole request and reads its answer. After an answer with
 * `close` the next call connects anew. */
enum err cli_http_call(struct cli_http *h, struct span request, struct cli_answer *answer,
		       struct err_detail *d) MUST_CHECK;

/* A token for the hub (NULL: the namespace) from the target's key or its ready
 * token. */
enum err cli_target_token(const struct cli_target *t, const char *hub, int64_t ttl_ms,
			  struct str *out, struct err_detail *d) MUST_CHECK;

#endif
