#include "gateway/wire/event.h"

#include <string.h>

#include "base/limits.h"
#include "gateway/wire/event_priv.h"

enum {
	/* Reserved annotations one event may carry. Each name may stand once in a
	 * map, and there are nine of them. */
	RESERVED_MAX = 16,
	/* Octets by which a record's frame exceeds the data section that held its
	 * event; a size hint only. */
	RECORD_EXTRA = 10,
	SECTION_HEAD = 3,	/* 0x00 0x53 code */
	MAP8_MAX = UINT8_MAX - 1,	/* octets of items in a map8, the count taken off */
	/* header, map head, runs, and four sections behind them */
	PARTS_MAX = 1 + 1 + RESERVED_MAX + 1 + 4,
	CODE_NULL = 0x40,
	CODE_SMALLULONG = 0x53,
	CODE_STR8 = 0xa1,
	CODE_SYM8 = 0xa3,
};

/* ---- annotations ------------------------------------------------------ */

/* What a message-annotations map holds and what is kept of it. */
struct annotations {
	bool has_key;
	struct span key;
	bool has_producer;
	uint32_t reserved;	/* entries left out */
	uint32_t kept;		/* entries kept */
	size_t kept_bytes;
	struct span runs[RESERVED_MAX + 1];	/* neighbouring kept entries */
	size_t n_runs;
	uint8_t head[SECTION_HEAD + 9];		/* the section up to its first entry */
	size_t head_len;
};

static const char *const reserved_names[] = {
	"x-opt-sequence-number",
	"x-opt-offset",
	"x-opt-enqueued-time",
	"x-opt-partition-key",
	"x-opt-publisher-name",
	"x-opt-sequence-number-epoch",
};
static const char producer_prefix[] = "com.microsoft:producer-";

static bool is_producer(struct span name)
{
	size_t n = sizeof producer_prefix - 1;
	return name.n > n && memcmp(name.p, producer_prefix, n) == 0;
}

static bool is_reserved(struct span name)
{
	if (name.n < 6 || memcmp(name.p, "x-opt-", 6) != 0) {
		return is_producer(name);
	}
	for (size_t i = 0; i < sizeof reserved_names / sizeof reserved_names[0]; i++) {
		if (span_eq_str(name, reserved_names[i])) {
			return true;
		}
	}
	return false;
}

/* The name an entry begins with, empty when it is neither symbol nor string;
 * moves past it. */
static struct span entry_name(struct rd *r)
{
	if (rd_left(r) >= 2 && (*r->p == CODE_SYM8 || *r->p == CODE_STR8)) {
		rd_skip(r, 1);
		return rd_span(r, rd_u8(r));
	}
	struct amqp_value v = amqp_read_shallow(r);
	return amqp_is_text(&v) ? v.data : (struct span){NULL, 0};
}

static enum err take_reserved(struct annotations *a, struct span name, struct span raw,
			      struct err_detail *d)
{
	if (++a->reserved > RESERVED_MAX) {
		return err_set(d, ERR_DECODE, "message-annotations section: repeated names");
	}
	a->has_producer = a->has_producer || is_producer(name);
	if (!span_eq_str(name, "x-opt-partition-key") || raw.n == 0 || *raw.p == CODE_NULL) {
		return ERR_OK;
	}
	struct rd r = rd_of(raw);
	struct amqp_value value = amqp_read_shallow(&r);
	if (!amqp_is_text(&value)) {
		return err_set(d, ERR_INVALID, "annotation x-opt-partition-key is not a string");
	}
	a->key = value.data;
	a->has_key = value.data.n > 0;
	return ERR_OK;
}

static void keep_entry(struct annotations *a, const uint8_t *from, const uint8_t *to)
{
	struct span *last = a->n_runs > 0 ? &a->runs[a->n_runs - 1] : NULL;
	if (last != NULL && last->p + last->n == from) {
		last->n += (size_t)(to - from);
	} else {
		a->runs[a->n_runs++] = span_of(from, (size_t)(to - from));
	}
	a->kept++;
	a->kept_bytes += (size_t)(to - from);
}

/* Writes the head of a map of the kept entries, the smaller form if it fits. */
static void write_head(struct annotations *a)
{
	struct wr w = wr_of(a->head, sizeof a->head);
	wr_u8(&w, 0);
	wr_u8(&w, CODE_SMALLULONG);
	wr_u8(&w, AMQP_MESSAGE_ANNOTATIONS);
	if (a->kept_bytes <= MAP8_MAX) {
		wr_u8(&w, 0xc1);
		wr_u8(&w, (uint8_t)(a->kept_bytes + 1));
		wr_u8(&w, (uint8_t)(a->kept * 2));
	} else {
		wr_u8(&w, 0xd1);
		wr_u32(&w, (uint32_t)(a->kept_bytes + 4));
		wr_u32(&w, a->kept * 2);
	}
	a->head_len = wr_len(&w);
}

/* `section` has been checked by amqp_message_read, or is empty. */
static enum err annotations_read(struct span section, struct annotations *a, struct err_detail *d)
{
	a->has_key = false;
	a->has_producer = false;
	a->reserved = 0;
	a->kept = 0;
	a->kept_bytes = 0;
	a->n_runs = 0;
	if (section.n == 0) {
		return ERR_OK;
	}
	struct amqp_value map = amqp_section_value(section);
	struct rd r = rd_of(map.data);
	for (uint32_t i = 0; i + 1 < map.count && !r.bad; i += 2) {
		const uint8_t *from = r.p;
		struct span name = entry_name(&r);
		struct span value = amqp_skip_shallow(&r);
		enum err e = ERR_OK;
		if (is_reserved(name)) {
			e = take_reserved(a, name, value, d);
		} else {
			keep_entry(a, from, r.p);
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	if (r.bad) {
		return err_set(d, ERR_DECODE, "message-annotations section: malformed");
	}
	if (a->reserved > 0) {
		write_head(a);
	}
	return ERR_OK;
}

/* The bytes to store for one message, as runs of the input; a footer goes to the
 * end, where readers expect it. Returns the number of parts. */
static size_t event_parts(const struct amqp_message *m, const struct annotations *a,
			  struct span message, struct span parts[PARTS_MAX])
{
	size_t n = 0;
	const uint8_t *rest = message.p + m->header.n + m->delivery_annotations.n;
	const uint8_t *end = message.p + message.n;
	parts[n++] = m->header;
	if (a->reserved > 0) {
		if (a->kept > 0) {
			parts[n++] = span_of(a->head, a->head_len);
		}
		for (size_t i = 0; i < a->n_runs; i++) {
			parts[n++] = a->runs[i];
		}
		rest += m->message_annotations.n;
	}
	if (m->footer.n > 0 && m->body.n > 0 && m->footer.p < m->body.p) {
		parts[n++] = span_of(rest, (size_t)(m->footer.p - rest));
		parts[n++] = m->body;
		parts[n++] = m->footer;
	} else {
		parts[n++] = span_of(rest, (size_t)(end - rest));
	}
	return n;
}

/* ---- partition keys --------------------------------------------------- */

size_t amqp_utf8_char(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80 ? 1 : (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
		   : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
	if (len <= 1 || len > n) {
		return len > n ? 0 : len;
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

static enum err key_check(struct span key, struct err_detail *d)
{
	size_t chars = 0;
	for (size_t i = 0; i < key.n; chars++) {
		size_t n = amqp_utf8_char(key.p + i, key.n - i);
		if (n == 0) {
			return err_set(d, ERR_INVALID, "the partition key is not UTF-8");
		}
		i += n;
	}
	if (chars > LIMIT_PARTITION_KEY) {
		return err_set(d, ERR_INVALID, "the partition key has %zu characters, at most %d are allowed",
			       chars, LIMIT_PARTITION_KEY);
	}
	return ERR_OK;
}

/* ---- deliveries ------------------------------------------------------- */

/* A delivery being turned into a batch. */
struct maker {
	struct batch_builder b;
	uint32_t events;
	struct span key;	/* n = 0: none so far */
	bool key_fixed;		/* the key does not depend on the events */
	bool has_producer;
};

/* Adds one complete message as an event. */
static enum err add_event(struct maker *m, struct span message, struct err_detail *d)
{
	struct amqp_message msg;
	struct annotations a;
	enum err e = amqp_message_read(message, &msg, d);
	if (e == ERR_OK) {
		e = annotations_read(msg.message_annotations, &a, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	struct span key = a.has_key ? a.key : (struct span){NULL, 0};
	if (m->events == 0) {
		m->has_producer = a.has_producer;
	}
	if (!m->key_fixed && m->events == 0) {
		m->key = key;
	} else if (!m->key_fixed && !span_eq(m->key, key)) {
		return err_set(d, ERR_INVALID, "the events of a batch have different partition keys");
	}
	struct span parts[PARTS_MAX];
	size_t n = event_parts(&msg, &a, message, parts);
	batch_builder_add(&m->b, parts, n);
	if (m->b.err != ERR_OK) {
		return err_set(d, m->b.err, "the batch is over %d bytes when stored", LIMIT_BATCH);
	}
	m->events++;
	return ERR_OK;
}

/* Adds the events of an envelope: each data section holds one message. */
static enum err add_batch(struct maker *m, const struct amqp_message *envelope,
			  struct err_detail *d)
{
	struct rd r = rd_of(envelope->body);
	while (rd_left(&r) > 0) {
		(void)amqp_section_code_read(&r);
		struct amqp_value data = amqp_read_shallow(&r);
		enum err e = ERR_OK;
		if (r.bad || data.type != AMQP_BINARY) {
			e = err_set(d, ERR_DECODE, "the data section holds no message");
		} else {
			e = add_event(m, data.data, d);
		}
		if (e != ERR_OK) {
			err_wrap(d, "event %u", (unsigned)m->events);
			return e;
		}
	}
	return ERR_OK;
}

/* Reads the envelope of a batch and takes its key. */
static enum err open_envelope(struct maker *m, struct span delivery, struct amqp_message *envelope,
			      struct err_detail *d)
{
	enum err e = amqp_message_read(delivery, envelope, d);
	if (e != ERR_OK) {
		return e;
	}
	if (envelope->body_sections == 0) {
		return err_set(d, ERR_INVALID, "the batch holds no event");
	}
	if (envelope->body_kind != AMQP_DATA) {
		return err_set(d, ERR_DECODE, "the body of a batch must be data sections");
	}
	struct annotations a;
	e = annotations_read(envelope->message_annotations, &a, d);
	if (e == ERR_OK && a.has_key && !m->key_fixed) {
		m->key = a.key;
		m->key_fixed = true;
	}
	return e;
}

/* Puts the key behind the batch, into a larger block when the present one is
 * too short. Takes *buf's reference and gives it back in *buf. */
static enum err append_key(struct buf **buf, struct span key)
{
	struct buf *b = *buf;
	if (b->cap - b->len < key.n) {
		struct buf *bigger = buf_new((size_t)b->len + key.n);
		if (bigger == NULL) {
			return ERR_NOMEM;
		}
		memcpy(bigger->data, b->data, b->len);
		bigger->len = b->len;
		buf_drop(buf);
		*buf = bigger;
		b = bigger;
	}
	if (key.n > 0) {
		memcpy(b->data + b->len, key.p, key.n);
		b->len += (uint32_t)key.n;
	}
	return ERR_OK;
}

static enum err finish(struct maker *m, struct amqp_inbound *out)
{
	enum err e = batch_builder_finish(&m->b, &out->batch);
	if (e != ERR_OK) {
		return e;
	}
	out->batch_len = out->batch->len;
	e = append_key(&out->batch, m->key);
	if (e != ERR_OK) {
		buf_drop(&out->batch);
		return e;
	}
	out->key_len = (uint32_t)m->key.n;
	out->events = m->events;
	out->has_producer = m->has_producer;
	return ERR_OK;
}

enum err amqp_inbound_make(struct span delivery, uint32_t format, struct span forced_key,
			   struct amqp_inbound *out, struct err_detail *d)
{
	*out = (struct amqp_inbound){.batch = NULL};
	struct maker m = {.key = forced_key, .key_fixed = forced_key.n > 0};
	struct amqp_message envelope = {.body_sections = 1};
	if (format != AMQP_FORMAT_PLAIN && format != AMQP_FORMAT_BATCH) {
		return err_set(d, ERR_INVALID, "message-format 0x%08x is not known", (unsigned)format);
	}
	if (format == AMQP_FORMAT_BATCH) {
		enum err e = open_envelope(&m, delivery, &envelope, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	size_t hint = delivery.n + (size_t)envelope.body_sections * RECORD_EXTRA + m.key.n +
		      LIMIT_PARTITION_KEY;
	batch_builder_init(&m.b, hint, LIMIT_BATCH);
	enum err e = m.b.err;
	if (e == ERR_OK) {
		e = format == AMQP_FORMAT_BATCH ? add_batch(&m, &envelope, d)
						: add_event(&m, delivery, d);
	}
	if (e == ERR_OK && forced_key.n == 0) {
		e = key_check(m.key, d);
	}
	if (e == ERR_OK) {
		e = finish(&m, out);
	}
	batch_builder_fini(&m.b);
	return e;
}

void amqp_event_add_http(struct batch_builder *b, struct span body, struct span properties)
{
	uint8_t head[SECTION_HEAD + 5];
	struct wr w = wr_of(head, sizeof head);
	wr_u8(&w, 0);
	wr_u8(&w, CODE_SMALLULONG);
	wr_u8(&w, AMQP_DATA);
	if (body.n <= UINT8_MAX) {
		wr_u8(&w, 0xa0);
		wr_u8(&w, (uint8_t)body.n);
	} else {
		wr_u8(&w, 0xb0);
		wr_u32(&w, (uint32_t)body.n);
	}
	struct span parts[3] = {properties, span_of(head, wr_len(&w)), body};
	batch_builder_add(b, parts, sizeof parts / sizeof parts[0]);
}
