#ifndef GATEWAY_HTTP_FIELDS_H
#define GATEWAY_HTTP_FIELDS_H

/* From header fields and JSON properties to the AMQP sections of an event.
 *
 * Which request headers are the event's user properties: all but the standard
 * ones (the table in fields.c), those that a proxy adds, BrokerProperties, and
 * all that begin with "x-ms-". Their values are strings; one pair of double
 * quotes around a value is taken off, as Service Bus clients put it there.
 * Pure; any thread. */

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "gateway/http/json.h"

/* User properties of one event; the service bounds only their bytes. */
enum { HTTP_PROPERTIES_MAX = 256 };

bool http_field_is_property(struct span name);
struct span http_field_value(struct span raw);

/* Does Content-Type `type` (NULL: none) name `media`, parameters aside? */
bool http_media_is(const char *type, const char *media);

/* The sections before an event's body: properties (content-type only), then
 * application-properties. Zero-initialise; reuse by http_sections_begin. */
struct http_sections {
	struct str out;		/* private, as all that follows */
	size_t mark;		/* of the open map; valid when count > 0 */
	uint32_t count;		/* properties so far */
	struct {
		size_t at;
		size_t n;
	} names[HTTP_PROPERTIES_MAX];	/* where their names stand in `out` */
};

/* `content_type` NULL: none. What Event Hubs asks single events to be labelled
 * with (application/atom+xml) says nothing about the event and is left out. */
void http_sections_begin(struct http_sections *s, const char *content_type);
/* Copies both. ERR_INVALID (not UTF-8, twice the same name), ERR_LIMIT. */
enum err http_sections_add_string(struct http_sections *s, struct span name, struct span value,
				  struct err_detail *d) MUST_CHECK;
/* Reads a scalar JSON value: numbers become int, long or double, the smallest
 * that holds them. Failures are the reader's. */
void http_sections_add_json(struct http_sections *s, struct span name, struct http_json *j,
			    struct str *scratch);
/* The encoded sections, borrowed until the next begin. ERR_NOMEM. */
enum err http_sections_end(struct http_sections *s, struct span *out) MUST_CHECK;
void http_sections_fini(struct http_sections *s);

/* The PartitionKey of a BrokerProperties object; other members are passed over.
 * `key` is replaced; its length is 0 where none is given. */
void http_broker_properties(struct http_json *j, struct str *key, struct str *scratch);
/* The same from a header's value. ERR_INVALID, ERR_NOMEM. */
enum err http_broker_header(const char *text, struct str *key, struct err_detail *d) MUST_CHECK;

#endif
