#include "gateway/amqp/filter.h"

#include <string.h>

#include "base/log.h"

#define PREFIX "amqp.annotation."

enum field { FIELD_OFFSET, FIELD_SEQUENCE, FIELD_TIME };

static const struct {
	const char *name;
	enum field field;
} fields[] = {
	{"x-opt-offset", FIELD_OFFSET},
	{"x-opt-sequence-number", FIELD_SEQUENCE},
	{"x-opt-enqueued-time", FIELD_TIME},
	{"x-opt-enqueuedtimeutc", FIELD_TIME},
};

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span trim(struct span s)
{
	while (s.n > 0 && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_space(s.p[s.n - 1])) {
		s.n--;
	}
	return s;
}

static enum err bad(struct err_detail *d, const char *what, struct span text)
{
	return err_set(d, ERR_INVALID, "The filter is invalid: %s in %s.", what,
		       log_quote_span(text).text);
}

/* Takes off the quotes; false when only one stands there or one is inside. */
static bool unquote(struct span *s)
{
	if (s->n > 0 && s->p[0] == '\'') {
		if (s->n < 2 || s->p[s->n - 1] != '\'') {
			return false;
		}
		*s = span_of(s->p + 1, s->n - 2);
	}
	return s->n > 0 && memchr(s->p, '\'', s->n) == NULL;
}

static bool parse_integer(struct span s, int64_t *out)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	size_t i = negative ? 1 : 0;
	if (i == s.n || s.n > 19) {
		return false;
	}
	uint64_t v = 0;
	for (; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9') {
			return false;
		}
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	if (v > INT64_MAX) {
		return false;
	}
	*out = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

static bool parse_field(struct span *s, enum field *out)
{
	size_t n = 0;
	while (n < s->n && !is_space(s->p[n]) && s->p[n] != '>') {
		n++;
	}
	struct span name = span_of(s->p, n);
	*s = trim(span_of(s->p + n, s->n - n));
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (span_ieq_str(name, fields[i].name)) {
			*out = fields[i].field;
			return true;
		}
	}
	return false;
}

static bool parse_operator(struct span *s, bool *inclusive)
{
	if (s->n == 0 || s->p[0] != '>') {
		return false;
	}
	*inclusive = s->n > 1 && s->p[1] == '=';
	size_t n = *inclusive ? 2 : 1;
	*s = trim(span_of(s->p + n, s->n - n));
	return true;
}

static bool parse_value(enum field field, struct span value, struct core_start *out)
{
	if (span_eq_str(value, "@latest") && field != FIELD_TIME) {
		out->from = CORE_LATEST;
		return true;
	}
	if (field == FIELD_OFFSET) {
		out->from = span_eq_str(value, "-1") ? CORE_EARLIEST : CORE_OFFSET;
		return span_to_cstr(value, out->offset, sizeof out->offset) == ERR_OK;
	}
	out->from = field == FIELD_TIME ? CORE_TIME : CORE_SEQUENCE;
	return parse_integer(value, field == FIELD_TIME ? &out->time_ms : &out->sequence);
}

enum err amqp_filter_parse(struct span text, struct core_start *out, struct err_detail *d)
{
	memset(out, 0, sizeof *out);
	struct span s = trim(text);
	enum field field;
	if (s.n < strlen(PREFIX) || memcmp(s.p, PREFIX, strlen(PREFIX)) != 0) {
		return bad(d, "it does not begin with " PREFIX, text);
	}
	s = span_of(s.p + strlen(PREFIX), s.n - strlen(PREFIX));
	if (!parse_field(&s, &field)) {
		return bad(d, "unknown annotation", text);
	}
	if (!parse_operator(&s, &out->inclusive)) {
		return bad(d, "neither > nor >=", text);
	}
	if (!unquote(&s) || !parse_value(field, s, out)) {
		return bad(d, "the value is not valid", text);
	}
	return ERR_OK;
}
