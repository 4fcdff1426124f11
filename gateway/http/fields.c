#include "gateway/http/fields.h"

#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "gateway/http/wire.h"

/* Request headers that speak of the request, not of the event: RFC 9110, 9111,
 * 9112, 6265, Fetch, and what forwarding proxies add. A '*' at the end stands
 * for anything. Sorted only for the reader. */
static const char *const standard_fields[] = {
	"accept", "accept-*", "access-control-*", "authorization", "brokerproperties",
	"cache-control", "connection", "content-*", "cookie", "cookie2", "date", "dnt",
	"expect", "forwarded", "from", "host", "http2-settings", "if-*", "keep-alive",
	"max-forwards", "origin", "pragma", "priority", "proxy-*", "range", "referer", "sec-*",
	"server", "te", "trailer", "transfer-encoding", "upgrade", "upgrade-insecure-requests",
	"user-agent", "via", "warning", "x-forwarded-*", "x-ms-*", "x-real-ip",
};

bool http_field_is_property(struct span name)
{
	for (size_t i = 0; i < sizeof standard_fields / sizeof *standard_fields; i++) {
		const char *f = standard_fields[i];
		size_t n = strlen(f);
		if (f[n - 1] == '*' ? name.n >= n - 1 && strncasecmp((const char *)name.p, f, n - 1) == 0
				    : span_ieq_str(name, f)) {
			return false;
		}
	}
	return name.n > 0;
}

struct span http_field_value(struct span raw)
{
	if (raw.n >= 2 && raw.p[0] == '"' && raw.p[raw.n - 1] == '"') {
		return span_of(raw.p + 1, raw.n - 2);
	}
	return raw;
}

bool http_media_is(const char *type, const char *media)
{
	if (type == NULL) {
		return false;
	}
	type += strspn(type, " \t");
	size_t n = strcspn(type, "; \t");
	return n == strlen(media) && strncasecmp(type, media, n) == 0;
}

/* ---- sections -------------------------------------------------------------- */

static bool is_ascii(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((uint8_t)*text >= 0x80) {
			return false;
		}
	}
	return true;
}

void http_sections_begin(struct http_sections *s, const char *content_type)
{
	enum { FIELDS_BEFORE_CONTENT_TYPE = 6 };	/* AMQP 1.0 3.2.4 */
	s->out.len = 0;
	s->out.bad = false;
	s->count = 0;
	if (content_type == NULL || content_type[0] == '\0' || !is_ascii(content_type) ||
	    http_media_is(content_type, "application/atom+xml")) {
		return;
	}
	amqp_put_descriptor(&s->out, AMQP_PROPERTIES);
	size_t mark = amqp_begin_list(&s->out);
	for (int i = 0; i < FIELDS_BEFORE_CONTENT_TYPE; i++) {
		amqp_put_null(&s->out);
	}
	amqp_put_symbol(&s->out, span_str(content_type));
	amqp_end(&s->out, mark, FIELDS_BEFORE_CONTENT_TYPE + 1);
}

/* A map's keys differ from each other (AMQP 1.0 1.6.23). */
static bool has_name(const struct http_sections *s, struct span name)
{
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->names[i].n == name.n &&
		    memcmp(s->out.p + s->names[i].at, name.p, name.n) == 0) {
			return true;
		}
	}
	return false;
}

/* Writes the name; the value must follow. */
static enum err add_name(struct http_sections *s, struct span name, struct err_detail *d)
{
	if (s->count == HTTP_PROPERTIES_MAX) {
		return err_set(d, ERR_INVALID, "an event has more than %d properties",
			       HTTP_PROPERTIES_MAX);
	}
	if (http_utf8_count(name) == SIZE_MAX) {
		return err_set(d, ERR_INVALID, "a property's name is not UTF-8");
	}
	if (has_name(s, name)) {
		return err_set(d, ERR_INVALID, "property '%.*s' is given twice",
			       (int)(name.n > 100 ? 100 : name.n), (const char *)name.p);
	}
	if (s->count == 0) {
		amqp_put_descriptor(&s->out, AMQP_APPLICATION_PROPERTIES);
		s->mark = amqp_begin_map(&s->out);
	}
	amqp_put_string(&s->out, name);
	if (s->out.bad) {
		return err_set(d, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	s->names[s->count].at = s->out.len - name.n;
	s->names[s->count].n = name.n;
	s->count++;
	return ERR_OK;
}

enum err http_sections_add_string(struct http_sections *s, struct span name, struct span value,
				  struct err_detail *d)
{
	if (http_utf8_count(value) == SIZE_MAX) {
		return err_set(d, ERR_INVALID, "the value of property '%.*s' is not UTF-8",
			       (int)(name.n > 100 ? 100 : name.n), (const char *)name.p);
	}
	enum err e = add_name(s, name, d);
	if (e == ERR_OK) {
		amqp_put_string(&s->out, value);
	}
	return e;
}

static void put_number(struct str *out, struct http_json_number n)
{
	if (!n.is_int) {
		amqp_put_double(out, n.d);
	} else if (n.i >= INT32_MIN && n.i <= INT32_MAX) {
		amqp_put_int(out, (int32_t)n.i);
	} else {
		amqp_put_long(out, n.i);
	}
}

void http_sections_add_json(struct http_sections *s, struct span name, struct http_json *j,
			    struct str *scratch)
{
	enum http_json_kind kind = http_json_peek(j);
	if (kind == HTTP_JSON_ARRAY || kind == HTTP_JSON_OBJECT) {
		http_json_fail(j, "a property is a string, a number, true, false or null");
	}
	if (j->err != ERR_OK) {
		return;
	}
	struct err_detail d = {""};
	enum err e = add_name(s, name, &d);
	if (e == ERR_NOMEM) {
		j->err = err_set(j->d, e, "%s", d.text);
	} else if (e != ERR_OK) {
		http_json_fail(j, "%s", d.text);
	}
	if (e != ERR_OK) {
		return;
	}
	switch (kind) {
	case HTTP_JSON_STRING:
		http_json_string(j, scratch);
		amqp_put_string(&s->out, span_of(scratch->p, scratch->len));
		break;
	case HTTP_JSON_NUMBER:
		put_number(&s->out, http_json_number(j));
		break;
	case HTTP_JSON_TRUE:
	case HTTP_JSON_FALSE:
		amqp_put_bool(&s->out, http_json_bool(j));
		break;
	default:
		(void)http_json_skip(j);
		amqp_put_null(&s->out);
		break;
	}
}

enum err http_sections_end(struct http_sections *s, struct span *out)
{
	if (s->count > 0) {
		amqp_end(&s->out, s->mark, s->count * 2);
	}
	if (s->out.bad) {
		return ERR_NOMEM;
	}
	*out = span_of(s->out.p, s->out.len);
	return ERR_OK;
}

void http_sections_fini(struct http_sections *s)
{
	str_fini(&s->out);
}

/* ---- broker properties -------------------------------------------------------- */

static void read_key(struct http_json *j, struct str *key)
{
	if (http_json_peek(j) == HTTP_JSON_NULL) {
		(void)http_json_skip(j);
		key->len = 0;
		return;
	}
	http_json_string(j, key);
	if (j->err == ERR_OK &&
	    http_utf8_count(span_of(key->p, key->len)) > LIMIT_PARTITION_KEY) {
		http_json_fail(j, "the partition key has more than %d characters",
			       LIMIT_PARTITION_KEY);
	}
}

void http_broker_properties(struct http_json *j, struct str *key, struct str *scratch)
{
	key->len = 0;
	enum http_json_kind kind = http_json_peek(j);
	if (kind == HTTP_JSON_NULL) {
		(void)http_json_skip(j);
		return;
	}
	if (kind != HTTP_JSON_OBJECT) {
		http_json_fail(j, "BrokerProperties is an object");
		return;
	}
	http_json_enter(j);
	while (http_json_member(j, scratch)) {
		if (span_eq_str(span_of(scratch->p, scratch->len), "PartitionKey")) {
			read_key(j, key);
		} else {
			(void)http_json_skip(j);
		}
	}
}

enum err http_broker_header(const char *text, struct str *key, struct err_detail *d)
{
	struct http_json j;
	struct str scratch = {0};
	http_json_init(&j, span_str(text), d);
	http_broker_properties(&j, key, &scratch);
	enum err e = http_json_end(&j);
	str_fini(&scratch);
	if (e != ERR_OK) {
		err_wrap(d, "BrokerProperties");
	}
	return e;
}
