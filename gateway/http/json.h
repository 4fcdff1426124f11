#ifndef GATEWAY_HTTP_JSON_H
#define GATEWAY_HTTP_JSON_H

/* JSON (RFC 8259) read in one pass over borrowed bytes, and written as text. No
 * tree is built, so the memory a request takes does not depend on how its JSON
 * is nested. The reader is sticky: the first failure is kept with its line and
 * column, later steps do nothing, one check at the end suffices. Text is checked
 * to be UTF-8. Pure; any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	HTTP_JSON_NESTING = 32,		/* arrays and objects inside each other */
	HTTP_JSON_NUMBER_MAX = 64,	/* characters; a double needs 24 */
};

enum http_json_kind {
	HTTP_JSON_BAD,	/* failed before, or nothing that begins a value */
	HTTP_JSON_NULL,
	HTTP_JSON_FALSE,
	HTTP_JSON_TRUE,
	HTTP_JSON_NUMBER,
	HTTP_JSON_STRING,
	HTTP_JSON_ARRAY,
	HTTP_JSON_OBJECT,
};

/* Members are private but `err`. */
struct http_json {
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *end;
	uint32_t depth;
	bool first;		/* no item of the present array or object has been read */
	enum err err;		/* ERR_INVALID, ERR_NOMEM */
	struct err_detail *d;
};

struct http_json_number {
	bool is_int;	/* no fraction, no exponent, fits an int64 */
	int64_t i;
	double d;	/* always set */
};

/* Keeps `in` and `d` (may be NULL) for as long as the reader is used. */
void http_json_init(struct http_json *j, struct span in, struct err_detail *d);
/* Records a failure at the present place; the first one stays. */
void http_json_fail(struct http_json *j, const char *fmt, ...) PRINTF(2, 3);

/* The kind of the value that comes next; moves over white space only. */
enum http_json_kind http_json_peek(struct http_json *j);
/* Reads a string into `out`, replacing what it held. */
void http_json_string(struct http_json *j, struct str *out);
struct http_json_number http_json_number(struct http_json *j);
bool http_json_bool(struct http_json *j);
/* Moves over any value, checking all of it, and gives its text (borrowed). */
struct span http_json_skip(struct http_json *j);

/* for (http_json_enter(j); http_json_item(j);) reads one value per turn;
 * http_json_member gives the name first. The end of the array or object is
 * consumed by the call that returns false. */
void http_json_enter(struct http_json *j);
bool http_json_item(struct http_json *j);
bool http_json_member(struct http_json *j, struct str *name);
/* Nothing but white space may follow. Returns the reader's error. */
enum err http_json_end(struct http_json *j) MUST_CHECK;

/* Appends a checked value's text without white space between tokens. */
void http_json_compact(struct span value, struct str *out);
/* Appends a quoted string; bytes that are not UTF-8 become U+FFFD. */
void http_json_put(struct str *out, struct span text);

/* Bytes of the UTF-8 character at p[0..n), n > 0; 0: it is none. */
size_t http_utf8_char(const uint8_t *p, size_t n);
/* Characters in `s`; SIZE_MAX when it is not UTF-8. */
size_t http_utf8_count(struct span s);

#endif
