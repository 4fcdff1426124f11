#include "gateway/http/json.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- UTF-8 (RFC 3629) -------------------------------------------------- */

size_t http_utf8_char(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (p[0] < 0x80) {
		return 1;
	}
	size_t len = (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
		   : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
	if (len == 0 || len > n) {
		return 0;
	}
	uint32_t c = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
		c = c << 6 | (p[i] & 0x3fu);
	}
	bool surrogate = c >= 0xd800 && c <= 0xdfff;
	return c < least[len] || c > 0x10ffff || surrogate ? 0 : len;
}

size_t http_utf8_count(struct span s)
{
	size_t count = 0;
	for (size_t i = 0; i < s.n; count++) {
		size_t n = http_utf8_char(s.p + i, s.n - i);
		if (n == 0) {
			return SIZE_MAX;
		}
		i += n;
	}
	return count;
}

static void put_utf8(struct str *out, uint32_t c)
{
	uint8_t b[4];
	size_t n;
	if (c < 0x80) {
		b[0] = (uint8_t)c;
		n = 1;
	} else if (c < 0x800) {
		b[0] = (uint8_t)(0xc0 | c >> 6);
		n = 2;
	} else if (c < 0x10000) {
		b[0] = (uint8_t)(0xe0 | c >> 12);
		n = 3;
	} else {
		b[0] = (uint8_t)(0xf0 | c >> 18);
		n = 4;
	}
	for (size_t i = 1; i < n; i++) {
		b[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
	}
	str_addn(out, b, n);
}

/* ---- reading ------------------------------------------------------------ */

void http_json_init(struct http_json *j, struct span in, struct err_detail *d)
{
	static const uint8_t nothing[1];
	const uint8_t *start = in.n != 0 ? in.p : nothing;
	*j = (struct http_json){.start = start, .p = start, .end = start + in.n, .d = d};
}

void http_json_fail(struct http_json *j, const char *fmt, ...)
{
	if (j->err != ERR_OK) {
		return;
	}
	size_t line = 1;
	const uint8_t *line_start = j->start;
	for (const uint8_t *p = j->start; p < j->p; p++) {
		if (*p == '\n') {
			line++;
			line_start = p + 1;
		}
	}
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	j->err = err_set(j->d, ERR_INVALID, "JSON line %zu column %zu: %s", line,
			 (size_t)(j->p - line_start) + 1, text);
}

static void fail_memory(struct http_json *j)
{
	if (j->err == ERR_OK) {
		j->err = err_set(j->d, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
}

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct http_json *j)
{
	while (j->p < j->end && is_space(*j->p)) {
		j->p++;
	}
}

enum http_json_kind http_json_peek(struct http_json *j)
{
	if (j->err != ERR_OK) {
		return HTTP_JSON_BAD;
	}
	skip_space(j);
	if (j->p == j->end) {
		http_json_fail(j, "the text ends where a value is expected");
		return HTTP_JSON_BAD;
	}
	switch (*j->p) {
	case 'n':
		return HTTP_JSON_NULL;
	case 'f':
		return HTTP_JSON_FALSE;
	case 't':
		return HTTP_JSON_TRUE;
	case '"':
		return HTTP_JSON_STRING;
	case '[':
		return HTTP_JSON_ARRAY;
	case '{':
		return HTTP_JSON_OBJECT;
	default:
		break;
	}
	if (*j->p == '-' || (*j->p >= '0' && *j->p <= '9')) {
		return HTTP_JSON_NUMBER;
	}
	http_json_fail(j, "a value is expected here");
	return HTTP_JSON_BAD;
}

/* Four hexadecimal digits at j->p; moves past them. */
static uint32_t read_hex4(struct http_json *j)
{
	uint32_t v = 0;
	if (j->end - j->p < 4) {
		http_json_fail(j, "incomplete \\u escape");
		return 0;
	}
	for (int i = 0; i < 4; i++) {
		uint8_t c = j->p[i];
		uint32_t digit = c >= '0' && c <= '9'   ? c - (uint32_t)'0'
				 : c >= 'a' && c <= 'f' ? c - (uint32_t)'a' + 10
				 : c >= 'A' && c <= 'F' ? c - (uint32_t)'A' + 10
							: 16;
		if (digit > 15) {
			http_json_fail(j, "a \\u escape needs four hexadecimal digits");
			return 0;
		}
		v = v << 4 | digit;
	}
	j->p += 4;
	return v;
}

/* After "\u". */
static void read_unicode(struct http_json *j, struct str *out)
{
	uint32_t c = read_hex4(j);
	if (c >= 0xdc00 && c <= 0xdfff) {
		http_json_fail(j, "low surrogate without a high one");
	} else if (c >= 0xd800 && c <= 0xdbff) {
		if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u') {
			http_json_fail(j, "high surrogate without a low one");
			return;
		}
		j->p += 2;
		uint32_t low = read_hex4(j);
		if (low < 0xdc00 || low > 0xdfff) {
			http_json_fail(j, "high surrogate without a low one");
			return;
		}
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (j->err == ERR_OK && out != NULL) {
		put_utf8(out, c);
	}
}

/* After the backslash. */
static void read_escape(struct http_json *j, struct str *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	uint8_t c = j->p < j->end ? *j->p : 0;
	if (c == 'u') {
		j->p++;
		read_unicode(j, out);
		return;
	}
	const char *at = c != 0 ? strchr(from, c) : NULL;
	if (at == NULL) {
		http_json_fail(j, "unknown escape in a string");
		return;
	}
	j->p++;
	if (out != NULL) {
		str_addn(out, &to[at - from], 1);
	}
}

/* A string from its opening quote on; `out` NULL: only checked. */
static void read_string(struct http_json *j, struct str *out)
{
	j->p++;
	const uint8_t *run = j->p;
	while (j->err == ERR_OK) {
		if (j->p == j->end) {
			http_json_fail(j, "the text ends inside a string");
			return;
		}
		uint8_t c = *j->p;
		if (c != '"' && c != '\\' && c >= 0x20) {
			size_t n = http_utf8_char(j->p, (size_t)(j->end - j->p));
			if (n == 0) {
				http_json_fail(j, "a byte that is not UTF-8");
				return;
			}
			j->p += n;
			continue;
		}
		if (out != NULL) {
			str_addn(out, run, (size_t)(j->p - run));
		}
		if (c < 0x20) {
			http_json_fail(j, "control character in a string");
			return;
		}
		j->p++;
		if (c == '"') {
			break;
		}
		read_escape(j, out);
		run = j->p;
	}
	if (out != NULL && out->bad) {
		fail_memory(j);
	}
}

void http_json_string(struct http_json *j, struct str *out)
{
	out->len = 0;
	enum http_json_kind kind = http_json_peek(j);
	if (kind == HTTP_JSON_STRING) {
		read_string(j, out);
	} else if (kind != HTTP_JSON_BAD) {
		http_json_fail(j, "a string is expected here");
	}
}

static size_t read_digits(struct http_json *j)
{
	const uint8_t *from = j->p;
	while (j->p < j->end && *j->p >= '0' && *j->p <= '9') {
		j->p++;
	}
	return (size_t)(j->p - from);
}

/* Checks the grammar of a number; true when it has no fraction or exponent. */
static bool read_number(struct http_json *j)
{
	const uint8_t *from = j->p;
	bool is_int = true;
	if (*j->p == '-') {
		j->p++;
	}
	const uint8_t *first = j->p;
	size_t digits = read_digits(j);
	bool ok = digits > 0 && (digits == 1 || *first != '0');
	if (ok && j->p < j->end && *j->p == '.') {
		is_int = false;
		j->p++;
		ok = read_digits(j) > 0;
	}
	if (ok && j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
		is_int = false;
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-')) {
			j->p++;
		}
		ok = read_digits(j) > 0;
	}
	if (!ok) {
		http_json_fail(j, "malformed number");
	} else if (j->p - from > HTTP_JSON_NUMBER_MAX) {
		http_json_fail(j, "a number of more than %d characters", HTTP_JSON_NUMBER_MAX);
	}
	return is_int;
}

/* False when it does not fit. */
static bool digits_to_i64(const char *p, int64_t *out)
{
	bool minus = *p == '-';
	uint64_t limit = minus ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	uint64_t v = 0;
	for (p += minus ? 1 : 0; *p != '\0'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		if (v > (limit - digit) / 10) {
			return false;
		}
		v = v * 10 + digit;
	}
	*out = minus ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

struct http_json_number http_json_number(struct http_json *j)
{
	struct http_json_number n = {0};
	enum http_json_kind kind = http_json_peek(j);
	if (kind != HTTP_JSON_NUMBER) {
		if (kind != HTTP_JSON_BAD) {
			http_json_fail(j, "a number is expected here");
		}
		return n;
	}
	const uint8_t *from = j->p;
	bool is_int = read_number(j);
	if (j->err != ERR_OK) {
		return n;
	}
	char text[HTTP_JSON_NUMBER_MAX + 1];
	size_t len = (size_t)(j->p - from);
	memcpy(text, from, len);
	text[len] = '\0';
	n.is_int = is_int && digits_to_i64(text, &n.i);
	n.d = n.is_int ? (double)n.i : strtod(text, NULL);
	if (!isfinite(n.d)) {
		http_json_fail(j, "a number out of range");
	}
	return n;
}

static void read_word(struct http_json *j, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0) {
		http_json_fail(j, "a value is expected here");
		return;
	}
	j->p += n;
}

bool http_json_bool(struct http_json *j)
{
	enum http_json_kind kind = http_json_peek(j);
	if (kind == HTTP_JSON_TRUE) {
		read_word(j, "true");
		return j->err == ERR_OK;
	}
	if (kind == HTTP_JSON_FALSE) {
		read_word(j, "false");
	} else if (kind != HTTP_JSON_BAD) {
		http_json_fail(j, "true or false is expected here");
	}
	return false;
}

void http_json_enter(struct http_json *j)
{
	enum http_json_kind kind = http_json_peek(j);
	if (kind == HTTP_JSON_BAD) {
		return;
	}
	assert(kind == HTTP_JSON_ARRAY || kind == HTTP_JSON_OBJECT);
	if (j->depth == HTTP_JSON_NESTING) {
		http_json_fail(j, "nested deeper than %d", HTTP_JSON_NESTING);
		return;
	}
	j->depth++;
	j->first = true;
	j->p++;
}

/* Moves to the next item; false at `close` or on failure. */
static bool next(struct http_json *j, uint8_t close)
{
	if (j->err != ERR_OK) {
		return false;
	}
	skip_space(j);
	if (j->p < j->end && *j->p == close) {
		j->p++;
		j->depth--;
		j->first = false;
		return false;
	}
	if (!j->first) {
		if (j->p == j->end || *j->p != ',') {
			http_json_fail(j, "',' or '%c' is expected here", close);
			return false;
		}
		j->p++;
	}
	j->first = false;
	return true;
}

bool http_json_item(struct http_json *j)
{
	return next(j, ']');
}

static bool next_name(struct http_json *j, struct str *name)
{
	if (!next(j, '}')) {
		return false;
	}
	skip_space(j);
	if (j->p == j->end || *j->p != '"') {
		http_json_fail(j, "a member's name is expected here");
		return false;
	}
	read_string(j, name);
	skip_space(j);
	if (j->err == ERR_OK && (j->p == j->end || *j->p != ':')) {
		http_json_fail(j, "':' is expected here");
	}
	j->p += j->err == ERR_OK ? 1 : 0;
	return j->err == ERR_OK;
}

bool http_json_member(struct http_json *j, struct str *name)
{
	name->len = 0;
	return next_name(j, name);
}

/* Recursion is bounded by HTTP_JSON_NESTING. */
static void skip_value(struct http_json *j)
{
	switch (http_json_peek(j)) {
	case HTTP_JSON_BAD:
		break;
	case HTTP_JSON_NULL:
		read_word(j, "null");
		break;
	case HTTP_JSON_FALSE:
		read_word(j, "false");
		break;
	case HTTP_JSON_TRUE:
		read_word(j, "true");
		break;
	case HTTP_JSON_NUMBER:
		(void)read_number(j);
		break;
	case HTTP_JSON_STRING:
		read_string(j, NULL);
		break;
	case HTTP_JSON_ARRAY:
		for (http_json_enter(j); http_json_item(j);) {
			skip_value(j);
		}
		break;
	case HTTP_JSON_OBJECT:
		for (http_json_enter(j); next_name(j, NULL);) {
			skip_value(j);
		}
		break;
	}
}

struct span http_json_skip(struct http_json *j)
{
	skip_space(j);
	const uint8_t *from = j->p;
	skip_value(j);
	return j->err == ERR_OK ? span_of(from, (size_t)(j->p - from)) : span_of(NULL, 0);
}

enum err http_json_end(struct http_json *j)
{
	skip_space(j);
	if (j->err == ERR_OK && j->p != j->end) {
		http_json_fail(j, "something follows the value");
	}
	return j->err;
}

/* ---- writing -------------------------------------------------------------- */

void http_json_compact(struct span value, struct str *out)
{
	if (value.n == 0) {
		return;
	}
	const uint8_t *end = value.p + value.n;
	const uint8_t *run = value.p;
	bool quoted = false;
	for (const uint8_t *p = value.p; p < end; p++) {
		if (quoted) {
			if (*p == '\\') {
				p++;	/* a checked string does not end in a backslash */
			} else if (*p == '"') {
				quoted = false;
			}
		} else if (*p == '"') {
			quoted = true;
		} else if (is_space(*p)) {
			str_addn(out, run, (size_t)(p - run));
			run = p + 1;
		}
	}
	str_addn(out, run, (size_t)(end - run));
}

void http_json_put(struct str *out, struct span text)
{
	str_add(out, "\"");
	for (size_t i = 0; i < text.n;) {
		size_t n = http_utf8_char(text.p + i, text.n - i);
		uint8_t c = text.p[i];
		if (n == 0) {
			str_add(out, "\\ufffd");
			n = 1;
		} else if (c == '"' || c == '\\') {
			str_printf(out, "\\%c", c);
		} else if (c < 0x20) {
			str_printf(out, "\\u%04x", c);
		} else {
			str_addn(out, text.p + i, n);
		}
		i += n;
	}
	str_add(out, "\"");
}
