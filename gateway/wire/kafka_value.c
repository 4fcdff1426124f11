#include "gateway/wire/kafka_value.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/wire/event_priv.h"
#include "gateway/wire/records.h"

enum {
	HEADERS_FEW = 16,	/* compared with each other, without memory of their own */
	HEADER_LEAST = 2,	/* octets: two lengths */
};

/* One header, of a name of its own or the last with it. */
struct header {
	struct span name;
	struct span value;
	bool has_value;
	bool is_left_out;
	uint32_t index;
};

bool amqp_kafka_is_control(const struct batch_head *head)
{
	return (head->attributes & RECORDS_CONTROL) != 0;
}

static void put_key(const struct batch_record *rec, struct str *out)
{
	amqp_put_descriptor(out, AMQP_MESSAGE_ANNOTATIONS);
	size_t mark = amqp_begin_map(out);
	amqp_put_symbol(out, span_str("x-opt-kafka-key"));
	amqp_put_binary(out, rec->key);
	amqp_end(out, mark, 2);
}

static bool is_utf8(struct span s)
{
	for (size_t i = 0; i < s.n;) {
		size_t n = amqp_utf8_char(s.p + i, s.n - i);
		if (n == 0) {
			return false;
		}
		i += n;
	}
	return true;
}

/* varint name length, name, varint value length (-1: null), value, repeated. All
 * are checked, the first n of them kept. */
static bool read_headers(const struct batch_record *rec, struct header *v, uint32_t n)
{
	struct rd r = rd_of(rec->headers);
	for (uint32_t i = 0; i < (uint32_t)rec->header_count; i++) {
		struct header h = {.index = i};
		int32_t len = rd_varint(&r);
		h.name = rd_span(&r, len >= 0 ? (size_t)len : SIZE_MAX);
		len = rd_varint(&r);
		h.has_value = len != -1;
		if (h.has_value) {
			h.value = rd_span(&r, len >= 0 ? (size_t)len : SIZE_MAX);
		}
		if (r.bad) {
			return false;
		}
		if (i < n) {
			h.is_left_out = !is_utf8(h.name);
			v[i] = h;
		}
	}
	return r.p == r.end;
}

static int by_name_then_index(const void *pa, const void *pb)
{
	const struct header *a = pa;
	const struct header *b = pb;
	if (a->name.n != b->name.n) {
		return a->name.n < b->name.n ? -1 : 1;
	}
	int c = a->name.n > 0 ? memcmp(a->name.p, b->name.p, a->name.n) : 0;
	return c != 0 ? c : a->index < b->index ? -1 : 1;
}

static int by_index(const void *pa, const void *pb)
{
	const struct header *a = pa;
	const struct header *b = pb;
	return a->index < b->index ? -1 : a->index > b->index;
}

/* Leaves out all but the last header of each name. */
static void leave_out_doubles(struct header *v, uint32_t n)
{
	if (n <= HEADERS_FEW) {
		for (uint32_t i = 0; i < n; i++) {
			for (uint32_t k = i + 1; k < n && !v[i].is_left_out; k++) {
				v[i].is_left_out = span_eq(v[i].name, v[k].name);
			}
		}
		return;
	}
	qsort(v, n, sizeof *v, by_name_then_index);
	for (uint32_t i = 0; i + 1 < n; i++) {
		if (span_eq(v[i].name, v[i + 1].name)) {
			v[i].is_left_out = true;
		}
	}
	qsort(v, n, sizeof *v, by_index);
}

static void put_headers(const struct header *v, uint32_t n, struct str *out)
{
	uint32_t items = 0;
	amqp_put_descriptor(out, AMQP_APPLICATION_PROPERTIES);
	size_t mark = amqp_begin_map(out);
	for (uint32_t i = 0; i < n; i++) {
		if (v[i].is_left_out) {
			continue;
		}
		amqp_put_string(out, v[i].name);
		if (v[i].has_value) {
			amqp_put_binary(out, v[i].value);
		} else {
			amqp_put_null(out);
		}
		items += 2;
	}
	amqp_end(out, mark, items);
}

static enum err convert_headers(const struct batch_record *rec, struct str *out)
{
	struct header few[HEADERS_FEW];
	struct header *v = few;
	if (rec->header_count <= 0) {
		return rec->header_count == 0 && rec->headers.n == 0 ? ERR_OK : ERR_DECODE;
	}
	uint32_t n = (uint32_t)rec->header_count;
	if (n > rec->headers.n / HEADER_LEAST) {
		return ERR_DECODE;
	}
	n = n < AMQP_KAFKA_HEADERS ? n : AMQP_KAFKA_HEADERS;
	if (n > HEADERS_FEW) {
		v = mem_calloc(n, sizeof *v);
		if (v == NULL) {
			return ERR_NOMEM;
		}
	}
	enum err e = read_headers(rec, v, n) ? ERR_OK : ERR_DECODE;
	if (e == ERR_OK) {
		leave_out_doubles(v, n);
		put_headers(v, n, out);
	}
	if (v != few) {
		mem_free(v);
	}
	return e;
}

enum err amqp_kafka_value(const struct batch_record *rec, struct str *out)
{
	if (rec->has_key) {
		put_key(rec, out);
	}
	enum err e = convert_headers(rec, out);
	if (e != ERR_OK) {
		return e;
	}
	amqp_put_descriptor(out, AMQP_DATA);
	amqp_put_binary(out, rec->has_value ? rec->value : span_of(NULL, 0));
	return out->bad ? ERR_NOMEM : ERR_OK;
}
