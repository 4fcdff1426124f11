#include "gateway/http/batch_json.h"

#include <assert.h>
#include <string.h>

#include "base/crypto.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gateway/http/fields.h"
#include "gateway/http/json.h"
#include "gateway/http/wire.h"

/* ---- the stored batch ---------------------------------------------------------- */

/* Puts the key's bytes behind the batch. */
static enum err append_key(struct buf **batch, struct span key)
{
	struct buf *b = *batch;
	if (key.n == 0) {
		return ERR_OK;
	}
	if (b->cap - b->len < key.n) {
		struct buf *bigger = buf_new((size_t)b->len + key.n);
		if (bigger == NULL) {
			return ERR_NOMEM;
		}
		memcpy(bigger->data, b->data, b->len);
		bigger->len = b->len;
		buf_drop(batch);
		*batch = b = bigger;
	}
	memcpy(b->data + b->len, key.p, key.n);
	b->len += (uint32_t)key.n;
	return ERR_OK;
}

static enum err finish(struct batch_builder *b, struct span key, struct http_events *out,
		       struct err_detail *d)
{
	uint32_t events = (uint32_t)b->count;
	enum err e = batch_builder_finish(b, &out->batch);
	if (e == ERR_TOO_LARGE) {
		return err_set(d, e, "the request encodes to more than %d bytes", LIMIT_BATCH);
	}
	if (e == ERR_OK) {
		out->batch_len = out->batch->len;
		out->events = events;
		out->key_len = (uint32_t)key.n;
		e = append_key(&out->batch, key);
		if (e != ERR_OK) {
			buf_drop(&out->batch);
		}
	}
	return e == ERR_OK ? e : err_set(d, e, "%s", err_text(e));
}

enum err http_events_single(struct span body, struct span sections, struct span key,
			    struct http_events *out, struct err_detail *d)
{
	enum { DATA_HEAD = 8 };	/* descriptor and 32-bit length of the data section */
	struct batch_builder b;
	*out = (struct http_events){0};
	batch_builder_init(&b, body.n + sections.n + DATA_HEAD + key.n, LIMIT_BATCH);
	amqp_event_add_http(&b, body, sections);
	enum err e = finish(&b, key, out, d);
	batch_builder_fini(&b);
	return e;
}

/* ---- the JSON array -------------------------------------------------------------- */

/* One request being read; buffers are reused from item to item. */
struct reader {
	struct http_json j;
	struct batch_builder b;
	struct http_sections sections;
	struct str name;
	struct str text;	/* scratch for property values */
	struct str body;
	struct str bytes;	/* decoded base64 */
	struct str key;		/* of the item in hand */
	struct str common_key;
	bool key_forced;
	uint32_t index;		/* of the item in hand */
	bool has_body;
	bool body_is_text;
	bool is_base64;
};

static struct span str_span(const struct str *s)
{
	return span_of(s->p, s->len);
}

static void read_body(struct reader *r)
{
	r->has_body = true;
	r->body_is_text = http_json_peek(&r->j) == HTTP_JSON_STRING;
	if (r->body_is_text) {
		http_json_string(&r->j, &r->body);
		return;
	}
	r->body.len = 0;
	struct span value = http_json_skip(&r->j);
	if (r->j.err == ERR_OK) {
		http_json_compact(value, &r->body);
	}
}

static void read_user_properties(struct reader *r)
{
	enum http_json_kind kind = http_json_peek(&r->j);
	if (kind == HTTP_JSON_NULL) {
		(void)http_json_skip(&r->j);
		return;
	}
	if (kind != HTTP_JSON_OBJECT) {
		http_json_fail(&r->j, "UserProperties is an object");
		return;
	}
	http_json_enter(&r->j);
	while (http_json_member(&r->j, &r->name)) {
		http_sections_add_json(&r->sections, str_span(&r->name), &r->j, &r->text);
	}
}

static void read_member(struct reader *r)
{
	struct span name = str_span(&r->name);
	if (span_eq_str(name, "Body")) {
		read_body(r);
	} else if (span_eq_str(name, "IsBodyBase64")) {
		r->is_base64 = http_json_bool(&r->j);
	} else if (span_eq_str(name, "BrokerProperties")) {
		http_broker_properties(&r->j, &r->key, &r->text);
	} else if (span_eq_str(name, "UserProperties")) {
		read_user_properties(r);
	} else {
		(void)http_json_skip(&r->j);
	}
}

/* Turns r->body into the bytes it stands for. */
static void decode_base64(struct reader *r)
{
	if (!r->body_is_text) {
		http_json_fail(&r->j, "item %u: IsBodyBase64 needs a Body that is a string", r->index);
		return;
	}
	r->bytes.len = 0;
	void *room = r->bytes.p;
	if (!mem_grow(&room, &r->bytes.cap, r->body.len + 1, 1)) {
		r->j.err = ERR_NOMEM;
		return;
	}
	r->bytes.p = room;
	if (crypto_base64_decode(str_span(&r->body), room, r->bytes.cap, &r->bytes.len) != ERR_OK) {
		http_json_fail(&r->j, "item %u: the Body is not base64", r->index);
	}
}

static void check_key(struct reader *r)
{
	if (r->key_forced) {
		return;
	}
	if (r->index == 0) {
		r->common_key.len = 0;
		str_addn(&r->common_key, r->key.p, r->key.len);
		r->j.err = r->common_key.bad ? ERR_NOMEM : r->j.err;
	} else if (!span_eq(str_span(&r->key), str_span(&r->common_key))) {
		http_json_fail(&r->j,
			       "item %u has another partition key than item 0; all events of a batch "
			       "go to one partition",
			       r->index);
	}
}

static void read_item(struct reader *r)
{
	if (http_json_peek(&r->j) != HTTP_JSON_OBJECT) {
		http_json_fail(&r->j, "item %u is not an object", r->index);
		return;
	}
	r->has_body = false;
	r->is_base64 = false;
	r->key.len = 0;
	http_sections_begin(&r->sections, NULL);
	http_json_enter(&r->j);
	while (http_json_member(&r->j, &r->name)) {
		read_member(r);
	}
	if (r->j.err == ERR_OK && !r->has_body) {
		http_json_fail(&r->j, "item %u has no Body", r->index);
	}
	if (r->j.err == ERR_OK) {
		check_key(r);
	}
	if (r->j.err == ERR_OK && r->is_base64) {
		decode_base64(r);
	}
	struct span sections;
	if (r->j.err == ERR_OK) {
		r->j.err = r->body.bad ? ERR_NOMEM : http_sections_end(&r->sections, &sections);
	}
	if (r->j.err == ERR_OK) {
		amqp_event_add_http(&r->b, str_span(r->is_base64 ? &r->bytes : &r->body), sections);
	}
	r->index++;
}

static enum err read_items(struct reader *r)
{
	if (http_json_peek(&r->j) != HTTP_JSON_ARRAY) {
		http_json_fail(&r->j, "a batch is an array of events");
	} else {
		http_json_enter(&r->j);
		/* A batch that is too large already is not read to its end. */
		while (r->b.err == ERR_OK && http_json_item(&r->j)) {
			read_item(r);
		}
	}
	if (r->j.err == ERR_OK && r->b.err != ERR_OK) {
		return ERR_OK;	/* reported by finish */
	}
	enum err e = http_json_end(&r->j);
	if (e == ERR_OK && r->index == 0) {
		return err_set(r->j.d, ERR_INVALID, "the batch is empty");
	}
	if (e == ERR_NOMEM) {
		return err_set(r->j.d, e, "%s", err_text(e));
	}
	return e;
}

enum err http_events_batch(struct span body, struct span forced_key, struct http_events *out,
			   struct err_detail *d)
{
	*out = (struct http_events){0};
	struct reader *r = MEM_NEW(struct reader);
	if (r == NULL) {
		return err_set(d, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	r->key_forced = forced_key.n > 0;
	http_json_init(&r->j, body, d);
	batch_builder_init(&r->b, body.n + LIMIT_PARTITION_KEY * 4, LIMIT_BATCH);
	enum err e = read_items(r);
	if (e == ERR_OK) {
		e = finish(&r->b, r->key_forced ? forced_key : str_span(&r->common_key), out, d);
	}
	batch_builder_fini(&r->b);
	http_sections_fini(&r->sections);
	str_fini(&r->name);
	str_fini(&r->text);
	str_fini(&r->body);
	str_fini(&r->bytes);
	str_fini(&r->key);
	str_fini(&r->common_key);
	mem_free(r);
	return e;
}
