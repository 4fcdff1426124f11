#include "gateway/cli/event_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

/* Text when it is UTF-8, else NULL. */
static json_t *text_json(struct span s)
{
	return json_stringn(s.n > 0 ? (const char *)s.p : "", s.n);
}

static json_t *base64_json(struct span s)
{
	size_t size = (s.n + 2) / 3 * 4 + 1;
	char *text = mem_alloc(size);
	json_t *v = NULL;
	if (text != NULL && crypto_base64_encode(s, text, size) == ERR_OK) {
		v = json_string(text);
	}
	mem_free(text);
	return v;
}

static json_t *items_json(const struct amqp_value *v)
{
	json_t *list = json_array();
	struct rd r = rd_of(v->data);
	for (uint32_t i = 0; i < v->count && !r.bad; i++) {
		struct amqp_value item = v->type == AMQP_ARRAY
						 ? amqp_read_array_item(&r, v->item_code)
						 : amqp_read(&r);
		(void)json_array_append_new(list, cli_value_json(&item));
	}
	return list;
}

static json_t *map_json(const struct amqp_value *v)
{
	json_t *object = json_object();
	struct rd r = rd_of(v->data);
	for (uint32_t i = 0; i + 1 < v->count && !r.bad; i += 2) {
		struct amqp_value key = amqp_read(&r);
		struct amqp_value value = amqp_read(&r);
		json_t *name = cli_value_json(&key);
		char *text = json_is_string(name) ? NULL : json_dumps(name, JSON_ENCODE_ANY);
		const char *k = text != NULL ? text : json_string_value(name);
		(void)json_object_set_new(object, k != NULL ? k : "", cli_value_json(&value));
		free(text);
		json_decref(name);
	}
	return object;
}

json_t *cli_value_json(const struct amqp_value *v)
{
	char text[(int)CRYPTO_UUID_TEXT + (int)CLOCK_ISO_MAX];	/* either fits */
	json_t *json = NULL;
	switch (v->type) {
	case AMQP_NULL:
		return json_null();
	case AMQP_BOOL:
		return json_boolean(v->u != 0);
	case AMQP_UBYTE:
	case AMQP_USHORT:
	case AMQP_UINT:
	case AMQP_ULONG:
	case AMQP_CHAR:
		return v->u <= INT64_MAX ? json_integer((json_int_t)v->u) : json_real((double)v->u);
	case AMQP_BYTE:
	case AMQP_SHORT:
	case AMQP_INT:
	case AMQP_LONG:
		return json_integer((json_int_t)v->i);
	case AMQP_FLOAT:
	case AMQP_DOUBLE:
		json = json_real(v->d);	/* NULL for infinities */
		return json != NULL ? json : json_null();
	case AMQP_TIMESTAMP:
		clock_iso(v->i, text);
		return json_string(text);
	case AMQP_UUID:
		crypto_uuid_text(v->data.p, text);
		return json_string(text);
	case AMQP_STRING:
	case AMQP_SYMBOL:
	case AMQP_BINARY:
		json = text_json(v->data);
		return json != NULL ? json : base64_json(v->data);
	case AMQP_DECIMAL32:
	case AMQP_DECIMAL64:
	case AMQP_DECIMAL128:
		return base64_json(v->data);
	case AMQP_LIST:
	case AMQP_ARRAY:
		return items_json(v);
	case AMQP_MAP:
		return map_json(v);
	case AMQP_DESCRIBED: {
		struct rd r = rd_of(v->described);
		struct amqp_value inner = amqp_read(&r);
		return cli_value_json(&inner);
	}
	}
	return json_null();
}

/* ---- events --------------------------------------------------------------------- */

static void read_annotations(const struct amqp_value *map, struct cli_event *out)
{
	struct amqp_value v;
	if (map->type != AMQP_MAP) {
		return;
	}
	if (amqp_map_find(map, "x-opt-sequence-number", &v)) {
		(void)amqp_to_i64(&v, &out->sequence);
	}
	if (amqp_map_find(map, "x-opt-enqueued-time", &v)) {
		(void)amqp_to_i64(&v, &out->enqueued_ms);
	}
	if (amqp_map_find(map, "x-opt-offset", &v) && amqp_is_text(&v)) {
		out->offset = v.data;
	}
	if (amqp_map_find(map, "x-opt-partition-key", &v) && amqp_is_text(&v)) {
		out->partition_key = v.data;
	}
}

/* The body of a value or sequence: its text, or its JSON. */
static void keep_value(struct cli_event *out, const struct amqp_value *value)
{
	out->has_value = true;
	out->value = *value;
	if (amqp_is_text(value) || value->type == AMQP_BINARY) {
		str_addn(&out->body, value->data.p, value->data.n);
		return;
	}
	json_t *json = cli_value_json(value);
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	str_add(&out->body, text != NULL ? text : "");
	free(text);
	json_decref(json);
}

enum err cli_event_read(struct span message, struct cli_event *out)
{
	struct rd r = rd_of(message);
	struct str body = out->body;
	body.len = 0;
	*out = (struct cli_event){.sequence = -1, .body = body};
	while (rd_left(&r) > 0) {
		struct amqp_value section = amqp_read(&r);
		if (r.bad || section.type != AMQP_DESCRIBED) {
			return ERR_DECODE;
		}
		struct rd inner = rd_of(section.described);
		struct amqp_value v = amqp_read(&inner);
		switch (amqp_descriptor_code(&section)) {
		case AMQP_MESSAGE_ANNOTATIONS:
			read_annotations(&v, out);
			break;
		case AMQP_APPLICATION_PROPERTIES:
			out->properties = v;
			break;
		case AMQP_DATA:
			str_addn(&out->body, v.data.p, v.data.n);
			break;
		case AMQP_SEQUENCE:
		case AMQP_AMQP_VALUE:
			keep_value(out, &v);
			break;
		default:
			break;
		}
	}
	return r.bad ? ERR_DECODE : out->body.bad ? ERR_NOMEM : ERR_OK;
}

void cli_event_fini(struct cli_event *e)
{
	str_fini(&e->body);
}

json_t *cli_event_json(const struct cli_event *e, uint32_t partition)
{
	char iso[CLOCK_ISO_MAX];
	json_t *o = json_object();
	struct span body = span_of(e->body.p, e->body.len);
	clock_iso(e->enqueued_ms, iso);
	(void)json_object_set_new(o, "partition", json_integer(partition));
	(void)json_object_set_new(o, "sequenceNumber", json_integer((json_int_t)e->sequence));
	(void)json_object_set_new(o, "offset", text_json(e->offset));
	(void)json_object_set_new(o, "enqueuedTime", json_string(iso));
	(void)json_object_set_new(o, "partitionKey",
				  e->partition_key.n > 0 ? text_json(e->partition_key) : json_null());
	(void)json_object_set_new(o, "properties",
				  e->properties.type == AMQP_MAP ? map_json(&e->properties)
								 : json_object());
	json_t *text = e->has_value && e->value.type != AMQP_BINARY ? cli_value_json(&e->value)
								     : text_json(body);
	if (text != NULL) {
		(void)json_object_set_new(o, "body", text);
	} else {
		(void)json_object_set_new(o, "bodyBase64", base64_json(body));
	}
	return o;
}
