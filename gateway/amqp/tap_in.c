#include "gateway/amqp/tap.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/wire/codec.h"

enum {
	UNIT_HEAD = 8,		/* a protocol header, or the fixed part of a frame header */
	MIN_DOFF = 2,		/* AMQP 2.3.1: the header takes at least 8 octets */
	TYPE_AMQP = 0,
	TYPE_SASL = 1,
	PROTOCOL_AMQP = 0,
	PROTOCOL_TLS = 2,
	PROTOCOL_SASL = 3,
	MIN_MAX_FRAME = 512,	/* AMQP 2.4.1 */
	/* A larger block is given back once its unit was used, so that an idle
	 * connection does not keep a whole frame's worth of memory. */
	PENDING_KEEP = 2048,

	CODE_NULL = 0x40,
	CODE_TRUE = 0x41,
	CODE_FALSE = 0x42,
	CODE_UINT0 = 0x43,
	CODE_LIST0 = 0x45,
	CODE_SMALLUINT = 0x52,
	CODE_SMALLULONG = 0x53,
	CODE_BOOL = 0x56,
	CODE_UINT = 0x70,
	CODE_LIST8 = 0xc0,
	CODE_LIST32 = 0xd0,

	OPEN_MAX_FRAME = 2,	/* field numbers */
};

static const uint8_t magic[4] = {'A', 'M', 'Q', 'P'};

void amqp_tap_in_init(struct amqp_tap_in *t, uint32_t max_frame)
{
	*t = (struct amqp_tap_in){.max_frame = max_frame, .state = AMQP_TAP_START};
	t->pending.max = (size_t)max_frame + UNIT_HEAD + 1;
}

void amqp_tap_in_fini(struct amqp_tap_in *t)
{
	str_fini(&t->pending);
}

/* ---- fields of a performative ----------------------------------------- */

/* A performative's list being read front to back: fields past the end read as
 * null, a wrong type sets rd.bad. */
struct fields {
	struct rd rd;
	uint32_t left;
};

static struct fields fields_of(struct span list)
{
	struct fields f = {rd_of(list), 0};
	uint8_t code = rd_u8(&f.rd);
	size_t size = 0;
	if (code == CODE_LIST8) {
		size = rd_u8(&f.rd);
		f.left = rd_u8(&f.rd);
		size -= size > 0;
	} else if (code == CODE_LIST32) {
		size = rd_u32(&f.rd);
		f.left = rd_u32(&f.rd);
		size -= size > 4 ? 4 : size;
	} else if (code != CODE_LIST0) {
		f.rd.bad = true;
	}
	/* The payload of a transfer follows; the fields must not run into it. */
	f.rd = rd_of(rd_span(&f.rd, size));
	f.rd.bad = f.rd.p == NULL && code != CODE_LIST0;
	return f;
}

/* Moves to the next field: true when it is there and not null. */
static bool present(struct fields *f)
{
	if (f->left == 0) {
		return false;
	}
	f->left--;
	if (rd_left(&f->rd) == 0) {
		f->rd.bad = true;
		return false;
	}
	if (*f->rd.p == CODE_NULL) {
		f->rd.p++;
		return false;
	}
	return true;
}

static void pass(struct fields *f, unsigned n)
{
	while (n-- > 0) {
		if (present(f)) {
			(void)amqp_skip_shallow(&f->rd);
		}
	}
}

static bool take_uint(struct fields *f, uint32_t *out)
{
	if (!present(f)) {
		return false;
	}
	uint8_t code = rd_u8(&f->rd);
	if (code == CODE_UINT) {
		*out = rd_u32(&f->rd);
	} else if (code == CODE_SMALLUINT) {
		*out = rd_u8(&f->rd);
	} else if (code == CODE_UINT0) {
		*out = 0;
	} else {
		f->rd.bad = true;
	}
	return !f->rd.bad;
}

static bool take_bool(struct fields *f)
{
	if (!present(f)) {
		return false;
	}
	uint8_t code = rd_u8(&f->rd);
	if (code == CODE_BOOL) {
		return rd_u8(&f->rd) == 1;
	}
	if (code != CODE_TRUE && code != CODE_FALSE) {
		f->rd.bad = true;
	}
	return code == CODE_TRUE;
}

/* ---- performatives ---------------------------------------------------- */

/* AMQP 2.7.5: handle, delivery-id, delivery-tag, message-format, settled, more,
 * rcv-settle-mode, state, resume, aborted, batchable. */
static bool read_transfer(struct fields *f, struct amqp_tap_frame *out)
{
	bool has_handle = take_uint(f, &out->handle);
	out->has_delivery_id = take_uint(f, &out->delivery_id);
	pass(f, 1);
	out->has_format = take_uint(f, &out->message_format);
	pass(f, 1);
	out->more = take_bool(f);
	pass(f, 3);
	out->aborted = take_bool(f);
	return has_handle && !f->rd.bad;
}

/* Keeps the symbols of a `multiple` field: null, one symbol or an array. */
static void read_capabilities(struct fields *f, struct amqp_tap_frame *out)
{
	if (!present(f)) {
		return;
	}
	struct amqp_value v = amqp_read(&f->rd);
	if (v.type == AMQP_SYMBOL) {
		out->capabilities[out->n_capabilities++] = v.data;
	}
	struct rd items = rd_of(v.data);
	for (uint32_t i = 0; v.type == AMQP_ARRAY && i < v.count; i++) {
		struct amqp_value item = amqp_read_array_item(&items, v.item_code);
		if (items.bad || item.type != AMQP_SYMBOL ||
		    out->n_capabilities == AMQP_TAP_CAPABILITIES) {
			return;
		}
		out->capabilities[out->n_capabilities++] = item.data;
	}
}

/* AMQP 2.7.3: name, handle, role, two settle modes, source, target, unsettled,
 * incomplete-unsettled, initial-delivery-count, max-message-size, offered- and
 * desired-capabilities, properties. */
static bool read_attach(struct fields *f, struct amqp_tap_frame *out)
{
	if (!present(f)) {
		return false;
	}
	struct amqp_value name = amqp_read(&f->rd);
	if (!amqp_is_text(&name)) {
		return false;
	}
	out->link_name = name.data;
	bool has_handle = take_uint(f, &out->handle);
	out->peer_is_receiver = take_bool(f);
	pass(f, 9);
	read_capabilities(f, out);
	return has_handle && !f->rd.bad;
}

/* The place of open's max-frame-size if it is a four-octet uint that should be
 * lowered, else NULL. Shorter forms hold less than AMQP allows. */
static const uint8_t *open_max_frame(struct fields *f)
{
	pass(f, OPEN_MAX_FRAME);
	if (present(f) && rd_left(&f->rd) >= 5 && *f->rd.p == CODE_UINT &&
	    get_u32(f->rd.p + 1) > MIN_MAX_FRAME) {
		return f->rd.p + 1;
	}
	return NULL;
}

/* Copies an open frame into the buffer and lowers its max-frame-size there, so
 * that frames still fit once the output tap has padded them. */
static enum err lower_max_frame(struct amqp_tap_in *t, size_t at, struct amqp_tap_frame *out)
{
	if (out->bytes.p != (const uint8_t *)t->pending.p) {
		str_addn(&t->pending, out->bytes.p, out->bytes.n);
		if (t->pending.bad) {
			return ERR_NOMEM;
		}
	}
	uint8_t *place = (uint8_t *)t->pending.p + at;
	uint32_t size = get_u32(place);
	put_u32(place, size >= MIN_MAX_FRAME + AMQP_TAP_PADDING ? size - AMQP_TAP_PADDING
								: MIN_MAX_FRAME);
	out->bytes.p = (const uint8_t *)t->pending.p;
	t->used = true;
	return ERR_OK;
}

/* Reads the descriptor and gives the rest of the body; 0 when unreadable. */
static uint8_t read_descriptor(struct span body, struct span *list)
{
	struct rd r = rd_of(body);
	uint64_t code = 0;
	if (body.n >= 3 && body.p[0] == 0 && body.p[1] == CODE_SMALLULONG) {
		code = body.p[2];
		r.p += 3;
	} else if (rd_u8(&r) == 0) {
		struct amqp_value v = {.type = AMQP_DESCRIBED};
		v.descriptor = amqp_skip(&r);
		code = r.bad ? 0 : amqp_descriptor_code(&v);
	}
	*list = span_of(r.p, (size_t)(r.end - r.p));
	return code <= UINT8_MAX ? (uint8_t)code : 0;
}

static enum err read_frame(struct amqp_tap_in *t, struct span body, struct amqp_tap_frame *out)
{
	struct span list;
	uint8_t code = read_descriptor(body, &list);
	bool ok = code != 0;
	enum err e = ERR_OK;
	if (!out->is_sasl && code == AMQP_TRANSFER) {
		struct fields f = fields_of(list);
		ok = read_transfer(&f, out);
	} else if (!out->is_sasl && code == AMQP_ATTACH) {
		struct fields f = fields_of(list);
		ok = read_attach(&f, out);
	} else if (!out->is_sasl && code == AMQP_OPEN) {
		struct fields f = fields_of(list);
		const uint8_t *place = open_max_frame(&f);
		ok = !f.rd.bad;
		t->opened = true;
		if (place != NULL) {
			e = lower_max_frame(t, (size_t)(place - out->bytes.p), out);
		}
	} else if (out->is_sasl && code == AMQP_SASL_INIT) {
		/* The mechanisms we offer need no further frame from the client. */
		t->in_sasl = false;
		t->state = AMQP_TAP_AFTER_SASL;
	}
	out->performative = ok ? code : 0;
	return e;
}

/* ---- units ------------------------------------------------------------ */

static enum err read_header(struct amqp_tap_in *t, const uint8_t *p, struct err_detail *d)
{
	if (p[4] == PROTOCOL_TLS) {
		return err_set(d, ERR_PROTOCOL, "the client asks for AMQP's own TLS header; "
			       "connect with TLS from the first byte");
	}
	if (p[4] != PROTOCOL_AMQP && p[4] != PROTOCOL_SASL) {
		return err_set(d, ERR_PROTOCOL, "unknown AMQP protocol id %u", p[4]);
	}
	if (p[5] != 1 || p[6] != 0 || p[7] != 0) {
		return err_set(d, ERR_PROTOCOL, "unknown AMQP version %u.%u.%u", p[5], p[6], p[7]);
	}
	if (p[4] == PROTOCOL_SASL && t->state == AMQP_TAP_START) {
		t->state = AMQP_TAP_SASL;
		t->in_sasl = true;
		return ERR_OK;
	}
	if (p[4] == PROTOCOL_AMQP && (t->state == AMQP_TAP_START || t->state == AMQP_TAP_AFTER_SASL)) {
		t->state = AMQP_TAP_FRAMES;
		return ERR_OK;
	}
	return err_set(d, ERR_PROTOCOL, "a protocol header at the wrong time");
}

/* Whether the unit that begins with these bytes may be a protocol header here.
 * No frame begins so: its size would be over a gigabyte. */
static bool is_header(const uint8_t *p, size_t n)
{
	return memcmp(p, magic, n < sizeof magic ? n : sizeof magic) == 0;
}

/* Checks the first 8 octets of a unit and gives its whole size. */
static enum err unit_size(const struct amqp_tap_in *t, const uint8_t *p, size_t *size,
			  struct err_detail *d)
{
	*size = UNIT_HEAD;
	if (is_header(p, UNIT_HEAD)) {
		return ERR_OK;
	}
	uint8_t expected = t->state == AMQP_TAP_FRAMES ? TYPE_AMQP : TYPE_SASL;
	if (t->state == AMQP_TAP_START) {
		return err_set(d, ERR_PROTOCOL, "the connection does not begin with an AMQP header");
	}
	uint32_t n = get_u32(p);
	if (n < UNIT_HEAD || p[4] < MIN_DOFF || (uint32_t)p[4] * 4 > n) {
		return err_set(d, ERR_PROTOCOL, "impossible frame: size %u, data offset %u",
			       (unsigned)n, p[4]);
	}
	if (p[5] != expected) {
		return err_set(d, ERR_PROTOCOL, "frame of type %u where %u is expected", p[5], expected);
	}
	if (n > t->max_frame) {
		return err_set(d, ERR_TOO_LARGE, "frame of %u bytes, at most %u are allowed",
			       (unsigned)n, (unsigned)t->max_frame);
	}
	*size = n;
	return ERR_OK;
}

static enum err unit_read(struct amqp_tap_in *t, struct span unit, struct amqp_tap_frame *out,
			  struct err_detail *d)
{
	out->bytes = unit;
	if (is_header(unit.p, unit.n)) {
		out->kind = AMQP_TAP_HEADER;
		return read_header(t, unit.p, d);
	}
	size_t head = (size_t)unit.p[4] * 4;
	out->is_sasl = unit.p[5] == TYPE_SASL;
	out->channel = out->is_sasl ? 0 : get_u16(unit.p + 6);
	if (unit.n == head) {
		out->kind = AMQP_TAP_EMPTY;
		return ERR_OK;
	}
	out->kind = AMQP_TAP_FRAME;
	return read_frame(t, span_of(unit.p + head, unit.n - head), out);
}

/* Moves up to `want` bytes in total into the buffer; true when they are there. */
static bool gather(struct amqp_tap_in *t, struct span *in, size_t want)
{
	size_t have = t->pending.len;
	if (have < want) {
		size_t n = want - have < in->n ? want - have : in->n;
		str_addn(&t->pending, in->p, n);
		if (t->pending.bad) {
			return false;
		}
		in->p += n;
		in->n -= n;
	}
	return t->pending.len >= want;
}

/* The slow path: a unit that began in an earlier call, or ends in a later one. */
static enum err next_pending(struct amqp_tap_in *t, struct span *in, struct amqp_tap_frame *out,
			     struct err_detail *d)
{
	size_t size = UNIT_HEAD;
	bool whole = gather(t, in, UNIT_HEAD);
	if (whole) {
		enum err e = unit_size(t, (const uint8_t *)t->pending.p, &size, d);
		if (e != ERR_OK) {
			return e;
		}
		whole = gather(t, in, size);
	}
	if (t->pending.bad) {
		return ERR_NOMEM;
	}
	if (!whole) {
		const uint8_t *p = (const uint8_t *)t->pending.p;
		if (t->state == AMQP_TAP_START && t->pending.len > 0 && !is_header(p, t->pending.len)) {
			return err_set(d, ERR_PROTOCOL,
				       "the connection does not begin with an AMQP header");
		}
		return ERR_OK;
	}
	t->used = true;
	return unit_read(t, span_of(t->pending.p, size), out, d);
}

enum err amqp_tap_in_next(struct amqp_tap_in *t, struct span *in, struct amqp_tap_frame *out,
			  struct err_detail *d)
{
	memset(out, 0, offsetof(struct amqp_tap_frame, capabilities));
	if (t->used) {
		t->used = false;
		t->pending.len = 0;
		if (t->pending.cap > PENDING_KEEP) {
			str_fini(&t->pending);
		}
	}
	if (in->n == 0) {
		return ERR_OK;
	}
	if (t->pending.len == 0 && in->n >= UNIT_HEAD) {
		size_t size;
		enum err e = unit_size(t, in->p, &size, d);
		if (e != ERR_OK) {
			return e;
		}
		if (size <= in->n) {
			struct span unit = span_of(in->p, size);
			in->p += size;
			in->n -= size;
			return unit_read(t, unit, out, d);
		}
	}
	return next_pending(t, in, out, d);
}
