#include "gateway/http/path.h"

#include <assert.h>
#include <string.h>

/* ---- patterns ------------------------------------------------------------ */

/* Cuts the segment up to the next '/' off the front. */
static struct span next_segment(struct span *s)
{
	const uint8_t *slash = s->n != 0 ? memchr(s->p, '/', s->n) : NULL;
	size_t n = slash != NULL ? (size_t)(slash - s->p) : s->n;
	struct span seg = span_of(s->p, n);
	size_t used = slash != NULL ? n + 1 : n;
	*s = span_of(s->p + used, s->n - used);
	return seg;
}

static struct span last_segment(struct span *s)
{
	size_t n = 0;
	while (n < s->n && s->p[s->n - 1 - n] != '/') {
		n++;
	}
	struct span seg = span_of(s->p + s->n - n, n);
	s->n -= n + (n < s->n ? 1 : 0);
	return seg;
}

static struct span trim(struct span path)
{
	if (path.n > 0 && path.p[0] == '/') {
		path = span_of(path.p + 1, path.n - 1);
	}
	if (path.n > 0 && path.p[path.n - 1] == '/') {
		path.n--;
	}
	return path;
}

static bool segment_equal(struct span a, struct span pattern)
{
	char text[64];
	return span_to_cstr(pattern, text, sizeof text) == ERR_OK && span_ieq_str(a, text);
}

/* "** /word", written without the space. */
static bool match_tail(struct span word, struct span path, struct http_params *out)
{
	struct span last = last_segment(&path);
	if (!segment_equal(last, word) || path.n == 0) {
		return false;
	}
	out->v[0] = path;
	out->n = 1;
	return true;
}

bool http_path_match(const char *pattern, struct span path, struct http_params *out)
{
	struct span want = trim(span_str(pattern));
	out->n = 0;
	path = trim(path);
	if (want.n > 3 && memcmp(want.p, "**/", 3) == 0) {
		return match_tail(span_of(want.p + 3, want.n - 3), path, out);
	}
	while (want.n > 0 && path.n > 0) {
		struct span w = next_segment(&want);
		struct span seg = next_segment(&path);
		if (!span_eq_str(w, "{}")) {
			if (!segment_equal(seg, w)) {
				return false;
			}
		} else {
			assert(out->n < HTTP_PARAMS_MAX);
			if (seg.n == 0) {
				return false;
			}
			out->v[out->n++] = seg;
		}
	}
	return want.n == 0 && path.n == 0;
}

/* ---- values ---------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

enum err http_path_decode(struct span in, char *out, size_t out_size)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		if (c == '%') {
			int high = in.n - i > 2 ? hex_digit(in.p[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
			if (low < 0) {
				return ERR_INVALID;
			}
			c = (uint8_t)(high << 4 | low);
			i += 2;
		}
		if (c == 0) {
			return ERR_INVALID;
		}
		if (n + 1 >= out_size) {
			return ERR_TOO_LARGE;
		}
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return ERR_OK;
}

/* Digits at the front of `s`; they are cut off. False: none, or too many. */
static bool cut_number(struct span *s, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;
	for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(s->p[i] - '0');
		if (v > ((uint64_t)INT64_MAX - digit) / 10) {
			return false;
		}
		v = v * 10 + digit;
	}
	*s = span_of(s->p + i, s->n - i);
	*out = v;
	return i > 0;
}

bool http_length_parse(const char *text, uint64_t *out)
{
	struct span s = span_str(text);
	return cut_number(&s, out) && s.n == 0;
}

enum err http_timeout_parse(const char *text, uint32_t *seconds)
{
	*seconds = HTTP_TIMEOUT_DEFAULT_S;
	if (text == NULL) {
		return ERR_OK;
	}
	uint64_t v;
	if (!http_length_parse(text, &v) || v == 0) {
		return ERR_INVALID;
	}
	*seconds = v > HTTP_TIMEOUT_MAX_S ? HTTP_TIMEOUT_MAX_S : (uint32_t)v;
	return ERR_OK;
}
