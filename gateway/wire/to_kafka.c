#include "gateway/wire/to_kafka.h"

#include <assert.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "gateway/wire/event_priv.h"
#include "gateway/wire/records.h"

enum {
	/* Places in a batch's head, base/batch.h. */
	AT_CRC = 17,
	AT_ATTRIBUTES = 21,
	LENGTH_EXCLUDES = 12,
	MAGIC_V2 = 2,
	NULL_KEY = -1,
	CODE_VBIN8 = 0xa0,
	CODE_VBIN32 = 0xb0,
	CODE_STR8 = 0xa1,
	CODE_SYM8 = 0xa3,
	RECORD_LEAST = 7,	/* octets of a stored record */
	STR_MAX_DEFAULT = 16 << 20,	/* of struct str, where max is 0 */
};

#define KEY_HEADER "x-opt-partition-key"

/* One event, measured. */
struct event {
	int32_t offset_delta;
	struct span props;	/* items of the application-properties map */
	uint32_t prop_items;	/* names and values */
	struct span body;	/* encoded sections */
	bool is_data;		/* they are data sections */
	bool has_value;
	size_t value_n;
	size_t headers_n;	/* octets */
	uint32_t headers;
};

/* Makes room for n more octets behind what `out` has, NULL: no memory or over
 * its bound. */
static uint8_t *room(struct str *out, size_t n)
{
	size_t max = out->max != 0 ? out->max : STR_MAX_DEFAULT;
	void *block = out->p;
	if (out->bad || n >= max || out->len > max - 1 - n ||
	    !mem_grow(&block, &out->cap, out->len + n + 1, 1)) {
		out->bad = true;
		return NULL;
	}
	out->p = block;
	return (uint8_t *)out->p + out->len;
}

static size_t run_size(size_t n)
{
	return varlong_size((int64_t)n) + n;
}

static void put_run(struct wr *w, struct span s)
{
	wr_varlong(w, (int64_t)s.n);
	wr_span(w, s);
}

/* ---- measuring -------------------------------------------------------------------- */

/* The next property. Entries with other names than text are no properties and
 * are given with an empty `raw`. False: damaged. */
static bool next_property(struct rd *r, struct span *name, struct span *raw)
{
	bool is_text = true;
	if (rd_left(r) >= 2 && (*r->p == CODE_STR8 || *r->p == CODE_SYM8)) {
		size_t n = r->p[1];
		rd_skip(r, 2);
		*name = rd_span(r, n);
	} else {
		struct amqp_value key = amqp_read_shallow(r);
		is_text = amqp_is_text(&key);
		*name = key.data;
	}
	*raw = amqp_skip_shallow(r);
	if (!is_text) {
		*raw = (struct span){NULL, 0};
	}
	return !r->bad;
}

static bool measure_properties(struct event *v, struct span section)
{
	if (section.n == 0) {
		return true;
	}
	struct amqp_value map = amqp_section_value(section);
	if (map.type != AMQP_MAP) {
		return map.type == AMQP_NULL && map.raw.n > 0;
	}
	struct rd r = rd_of(map.data);
	for (uint32_t i = 0; i + 1 < map.count; i += 2) {
		struct span name;
		struct span raw;
		if (!next_property(&r, &name, &raw)) {
			return false;
		}
		if (raw.n > 0) {
			v->headers_n += run_size(name.n) + run_size(raw.n);
			v->headers++;
		}
	}
	v->props = map.data;
	v->prop_items = map.count;
	return r.p == r.end && map.count % 2 == 0;
}

/* The bytes of the next data section; none of one that holds null. */
static bool next_data(struct rd *r, struct span *out)
{
	(void)amqp_section_code_read(r);
	if (rd_left(r) >= 2 && *r->p == CODE_VBIN8) {
		size_t n = r->p[1];
		rd_skip(r, 2);
		*out = rd_span(r, n);
		return !r->bad;
	}
	if (rd_left(r) >= 5 && *r->p == CODE_VBIN32) {
		size_t n = get_u32(r->p + 1);
		rd_skip(r, 5);
		*out = rd_span(r, n);
		return !r->bad;
	}
	*out = (struct span){NULL, 0};
	struct amqp_value data = amqp_read_shallow(r);
	return !r->bad && data.type == AMQP_NULL;
}

static bool measure_body(struct event *v, const struct amqp_message *m)
{
	v->body = m->body;
	v->has_value = m->body_sections > 0;
	v->is_data = m->body_kind == AMQP_DATA;
	v->value_n = m->body.n;
	if (!v->is_data) {
		return true;
	}
	v->value_n = 0;
	struct rd r = rd_of(m->body);
	while (rd_left(&r) > 0) {
		struct span data;
		if (!next_data(&r, &data)) {
			return false;
		}
		v->value_n += data.n;
	}
	return true;
}

static bool measure(struct event *v, const struct batch_record *rec, struct span key)
{
	struct amqp_message m;
	*v = (struct event){.offset_delta = rec->offset_delta};
	if (!rec->has_value ||
	    amqp_sections_read(rec->value, AMQP_CHECK_OUTER, &m, NULL) != ERR_OK ||
	    m.delivery_annotations.n > 0 || !measure_properties(v, m.application_properties) ||
	    !measure_body(v, &m)) {
		return false;
	}
	if (key.n > 0) {
		v->headers_n += run_size(sizeof KEY_HEADER - 1) + run_size(key.n);
		v->headers++;
	}
	return true;
}

/* ---- writing ----------------------------------------------------------------------- */

static void write_value(struct wr *w, const struct event *v)
{
	if (!v->has_value) {
		wr_varlong(w, -1);
		return;
	}
	wr_varlong(w, (int64_t)v->value_n);
	if (!v->is_data) {
		wr_span(w, v->body);
		return;
	}
	struct rd r = rd_of(v->body);
	struct span data;
	while (rd_left(&r) > 0 && next_data(&r, &data)) {
		wr_span(w, data);
	}
}

/* The partition key last: that is what readers who ask for one value get. */
static void write_headers(struct wr *w, const struct event *v, struct span key)
{
	wr_varlong(w, v->headers);
	struct rd r = rd_of(v->props);
	for (uint32_t i = 0; i + 1 < v->prop_items; i += 2) {
		struct span name;
		struct span raw;
		if (next_property(&r, &name, &raw) && raw.n > 0) {
			put_run(w, name);
			put_run(w, raw);
		}
	}
	if (key.n > 0) {
		put_run(w, span_str(KEY_HEADER));
		put_run(w, key);
	}
}

static enum err write_record(struct str *out, const struct event *v, struct span key)
{
	size_t value = v->has_value ? run_size(v->value_n) : varlong_size(-1);
	size_t body = 1 + varlong_size(0) + varlong_size(v->offset_delta) + varlong_size(NULL_KEY) +
		      value + varlong_size(v->headers) + v->headers_n;
	size_t total = run_size(body);
	uint8_t *p = room(out, total);
	if (p == NULL) {
		return ERR_NOMEM;
	}
	struct wr w = wr_of(p, total);
	wr_varlong(&w, (int64_t)body);
	wr_u8(&w, 0);
	wr_varlong(&w, 0);
	wr_varlong(&w, v->offset_delta);
	wr_varlong(&w, NULL_KEY);
	write_value(&w, v);
	write_headers(&w, v, key);
	assert(!w.bad);
	assert(w.p == w.end);
	out->len += total;
	return ERR_OK;
}

static void write_head(uint8_t *p, size_t total, const struct batch_head *from, int64_t append_ms)
{
	struct wr w = wr_of(p, BATCH_HEAD);
	wr_u64(&w, (uint64_t)from->base_offset);
	wr_u32(&w, (uint32_t)(total - LENGTH_EXCLUDES));
	wr_u32(&w, 0);
	wr_u8(&w, MAGIC_V2);
	wr_u32(&w, 0);
	wr_u16(&w, RECORDS_LOG_APPEND_TIME);
	wr_u32(&w, (uint32_t)from->last_offset_delta);
	wr_u64(&w, (uint64_t)append_ms);
	wr_u64(&w, (uint64_t)append_ms);
	wr_u64(&w, UINT64_MAX);
	wr_u16(&w, UINT16_MAX);
	wr_u32(&w, UINT32_MAX);
	wr_u32(&w, (uint32_t)from->count);
	assert(!w.bad);
	assert(w.p == w.end);
	put_u32(p + AT_CRC, crc32c(0, p + AT_ATTRIBUTES, total - AT_ATTRIBUTES));
}

static enum err write_records(struct batch_iter *it, struct span key, struct str *out)
{
	struct batch_record rec;
	enum err e = ERR_OK;
	while (e == ERR_OK && (e = batch_iter_next(it, &rec)) == ERR_OK) {
		struct event v;
		e = measure(&v, &rec, key) ? write_record(out, &v, key) : ERR_CORRUPT;
	}
	return e == ERR_EOF ? ERR_OK : e == ERR_NOMEM ? e : ERR_CORRUPT;
}

enum err to_kafka_batch(struct span batch, struct span key, int64_t append_ms, struct str *out)
{
	struct batch_head head;
	struct batch_iter it;
	if (batch_head_read(batch, &head) != ERR_OK || batch_iter_init(&it, batch) != ERR_OK) {
		return ERR_CORRUPT;
	}
	size_t start = out->len;
	size_t each = key.n > 0 ? run_size(sizeof KEY_HEADER - 1) + run_size(key.n) : 0;
	/* One allocation does for most batches. A count that lies costs no memory. */
	size_t max = out->max != 0 ? out->max : STR_MAX_DEFAULT;
	size_t guess = head.total;
	if ((size_t)head.count <= head.total / RECORD_LEAST) {
		guess += (size_t)head.count * each;
	}
	if (guess > max / 2 || out->len > max / 2) {
		guess = BATCH_HEAD;
	}
	if (room(out, guess) == NULL) {
		return ERR_NOMEM;
	}
	out->len += BATCH_HEAD;
	enum err e = write_records(&it, key, out);
	size_t total = out->len - start;
	if (e == ERR_OK && total > INT32_MAX) {
		e = ERR_NOMEM;
	}
	if (e != ERR_OK) {
		out->len = start;
		return e;
	}
	write_head((uint8_t *)out->p + start, total, &head, append_ms);
	out->p[out->len] = '\0';
	return ERR_OK;
}
