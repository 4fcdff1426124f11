#include "gateway/amqp/guard.h"

#include <assert.h>

#include "base/mem.h"
#include "gateway/wire/codec.h"

enum {
	CODE_NULL = 0x40,
	CODE_TRUE = 0x41,
	CODE_FALSE = 0x42,
	CODE_SMALLULONG = 0x53,
	CODE_UINT = 0x70,
	CODE_BINARY8 = 0xa0,
	CODE_LIST8 = 0xc0,

	BEGIN_REMOTE_CHANNEL = 0,	/* fields by number */
	ATTACH_HANDLE = 1,
	DETACH_HANDLE = 0,
	TRANSFER_TAG = 2,
	TRANSFER_SETTLED = 4,
	TRANSFER_FIELDS = 10,		/* up to `aborted` */
};

void amqp_guard_fini(struct amqp_guard *g)
{
	mem_free(g->handles);
	*g = (struct amqp_guard){0};
}

/* ---- the tables -------------------------------------------------------- */

static bool is_begun(const struct amqp_guard *g, uint16_t channel)
{
	return channel < AMQP_GUARD_CHANNELS && (g->begun[channel / 8] & 1U << channel % 8) != 0;
}

static struct amqp_guard_handle *find(struct amqp_guard *g, uint16_t channel, uint32_t handle)
{
	for (size_t k = 0; k < g->n; k++) {
		size_t i = g->last + k < g->n ? g->last + k : g->last + k - g->n;
		struct amqp_guard_handle *h = &g->handles[i];
		if (h->handle == handle && h->channel == channel) {
			g->last = i;
			return h;
		}
	}
	return NULL;
}

static void take_out(struct amqp_guard *g, size_t i)
{
	g->handles[i] = g->handles[--g->n];
	g->last = 0;
}

/* ---- performatives ------------------------------------------------------ */

struct fields {
	struct rd rd;
	uint32_t count;
};

/* The fields of the performative, a list inside a described value, and what
 * follows it. */
static bool open_fields(struct span body, struct fields *out, struct span *rest)
{
	struct rd r = rd_of(body);
	struct amqp_value v = amqp_read(&r);	/* checks depth and every length */
	if (r.bad || v.type != AMQP_DESCRIBED) {
		return false;
	}
	struct rd inner = rd_of(v.described);
	struct amqp_value list = amqp_read_shallow(&inner);
	if (inner.bad || list.type != AMQP_LIST) {
		return false;
	}
	out->rd = rd_of(list.data);
	out->count = list.count;
	*rest = rd_span(&r, rd_left(&r));
	return true;
}

static struct amqp_value field_at(const struct fields *f, uint32_t at)
{
	struct rd rd = f->rd;
	if (at >= f->count) {
		return (struct amqp_value){.type = AMQP_NULL};
	}
	for (uint32_t i = 0; i < at; i++) {
		(void)amqp_skip_shallow(&rd);
	}
	return amqp_read_shallow(&rd);
}

static bool uint_field(const struct fields *f, uint32_t at, uint32_t *out)
{
	struct amqp_value v = field_at(f, at);
	*out = (uint32_t)v.u;
	return v.type == AMQP_UINT;
}

static enum err on_begin(struct amqp_guard *g, uint16_t channel, const struct fields *f,
			 struct err_detail *d)
{
	if (field_at(f, BEGIN_REMOTE_CHANNEL).type != AMQP_NULL) {
		return err_set(d, ERR_PROTOCOL, "A begin answers one that was never sent.");
	}
	if (channel >= AMQP_GUARD_CHANNELS) {
		return err_set(d, ERR_PROTOCOL, "Channel %u is above the channel-max %d.", channel,
			       AMQP_GUARD_CHANNELS - 1);
	}
	if (is_begun(g, channel)) {
		return err_set(d, ERR_PROTOCOL, "Channel %u is in use already.", channel);
	}
	g->begun[channel / 8] |= (uint8_t)(1U << channel % 8);
	return ERR_OK;
}

static void on_end(struct amqp_guard *g, uint16_t channel)
{
	if (channel < AMQP_GUARD_CHANNELS) {
		g->begun[channel / 8] &= (uint8_t)~(1U << channel % 8);
	}
	for (size_t i = g->n; i > 0; i--) {
		if (g->handles[i - 1].channel == channel) {
			take_out(g, i - 1);
		}
	}
}

static enum err on_attach(struct amqp_guard *g, uint16_t channel, uint32_t handle,
			  struct err_detail *d)
{
	if (handle > INT32_MAX) {
		return err_set(d, ERR_PROTOCOL, "Handle %u is above the handle-max.", handle);
	}
	if (find(g, channel, handle) != NULL) {
		return err_set(d, ERR_PROTOCOL, "Handle %u of channel %u is in use already.", handle,
			       channel);
	}
	if (g->n >= AMQP_GUARD_HANDLES) {
		return err_set(d, ERR_LIMIT, "More than %d links are attached.", AMQP_GUARD_HANDLES);
	}
	void *v = g->handles;
	if (!mem_grow(&v, &g->cap, g->n + 1, sizeof *g->handles)) {
		return ERR_NOMEM;
	}
	g->handles = v;
	g->handles[g->n++] = (struct amqp_guard_handle){handle, channel, false};
	return ERR_OK;
}

static void put_uint(struct wr *w, uint32_t v)
{
	wr_u8(w, CODE_UINT);
	wr_u32(w, v);
}

/* The transfer as it was understood: what Proton has no use for is left out. */
static void write_transfer(struct amqp_guard *g, const struct amqp_tap_frame *f, struct span tag,
			   uint8_t settled, struct span *out)
{
	struct wr w = wr_of(g->transfer, sizeof g->transfer);
	wr_u32(&w, 0);
	wr_u8(&w, 2);	/* data offset in words */
	wr_u8(&w, 0);
	wr_u16(&w, f->channel);
	wr_u8(&w, 0);
	wr_u8(&w, CODE_SMALLULONG);
	wr_u8(&w, AMQP_TRANSFER);
	wr_u8(&w, CODE_LIST8);
	uint8_t *size = wr_reserve(&w, 1);
	wr_u8(&w, TRANSFER_FIELDS);
	put_uint(&w, f->handle);
	if (f->has_delivery_id) {
		put_uint(&w, f->delivery_id);
	} else {
		wr_u8(&w, CODE_NULL);
	}
	wr_u8(&w, CODE_BINARY8);
	wr_u8(&w, (uint8_t)tag.n);
	wr_span(&w, tag);
	wr_u8(&w, CODE_NULL);	/* message-format: Proton does not read it */
	wr_u8(&w, settled);
	wr_u8(&w, f->more ? CODE_TRUE : CODE_FALSE);
	wr_u8(&w, CODE_NULL);
	wr_u8(&w, CODE_NULL);
	wr_u8(&w, CODE_NULL);
	wr_u8(&w, f->aborted ? CODE_TRUE : CODE_FALSE);
	assert(!w.bad);
	put_u32(g->transfer, (uint32_t)wr_len(&w));
	*size = (uint8_t)(w.p - size - 1);
	*out = span_of(g->transfer, wr_len(&w));
}

static enum err on_transfer(struct amqp_guard *g, const struct amqp_tap_frame *f,
			    const struct fields *fields, struct amqp_guard_verdict *out,
			    struct err_detail *d)
{
	struct amqp_guard_handle *h = find(g, f->channel, f->handle);
	if (h == NULL) {
		return err_set(d, ERR_PROTOCOL, "Handle %u of channel %u is not attached.", f->handle,
			       f->channel);
	}
	if (!h->partial && !f->has_delivery_id) {
		return err_set(d, ERR_PROTOCOL, "The first transfer of a delivery has no delivery-id.");
	}
	struct amqp_value tag = field_at(fields, TRANSFER_TAG);
	struct amqp_value settled = field_at(fields, TRANSFER_SETTLED);
	if ((tag.type != AMQP_NULL && tag.type != AMQP_BINARY) || tag.data.n > AMQP_GUARD_TAG ||
	    (settled.type != AMQP_NULL && settled.type != AMQP_BOOL)) {
		return err_set(d, ERR_DECODE, "A transfer's delivery-tag or settled field is malformed.");
	}
	h->partial = f->more && !f->aborted;
	uint8_t code = settled.type == AMQP_NULL ? CODE_NULL : settled.u != 0 ? CODE_TRUE : CODE_FALSE;
	write_transfer(g, f, tag.data, code, &out->bytes);
	return ERR_OK;
}

/* Frames that change nothing when their session is gone. */
static bool is_late(uint8_t performative)
{
	return performative == AMQP_DETACH || performative == AMQP_FLOW ||
	       performative == AMQP_DISPOSITION || performative == AMQP_END;
}

static void on_detach(struct amqp_guard *g, uint16_t channel, const struct fields *f)
{
	uint32_t handle;
	if (uint_field(f, DETACH_HANDLE, &handle)) {
		struct amqp_guard_handle *h = find(g, channel, handle);
		if (h != NULL) {
			take_out(g, (size_t)(h - g->handles));
		}
	}
}

static enum err on_performative(struct amqp_guard *g, const struct amqp_tap_frame *f,
				const struct fields *fields, struct amqp_guard_verdict *out,
				struct err_detail *d)
{
	uint32_t handle;
	switch (f->performative) {
	case AMQP_BEGIN:
		return on_begin(g, f->channel, fields, d);
	case AMQP_END:
		on_end(g, f->channel);
		return ERR_OK;
	case AMQP_ATTACH:
		if (!uint_field(fields, ATTACH_HANDLE, &handle)) {
			return err_set(d, ERR_DECODE, "An attach has no handle.");
		}
		return on_attach(g, f->channel, handle, d);
	case AMQP_DETACH:
		on_detach(g, f->channel, fields);
		return ERR_OK;
	case AMQP_TRANSFER:
		return on_transfer(g, f, fields, out, d);
	default:
		return ERR_OK;
	}
}

enum err amqp_guard_check(struct amqp_guard *g, const struct amqp_tap_frame *f,
			  struct amqp_guard_verdict *out, struct err_detail *d)
{
	*out = (struct amqp_guard_verdict){.bytes = f->bytes};
	if (f->kind != AMQP_TAP_FRAME || f->is_sasl) {
		return ERR_OK;
	}
	size_t head = f->bytes.n > 4 ? (size_t)f->bytes.p[4] * 4 : 0;
	struct fields fields;
	if (head == 0 || head > f->bytes.n || f->performative < AMQP_OPEN ||
	    f->performative > AMQP_CLOSE ||
	    !open_fields(span_of(f->bytes.p + head, f->bytes.n - head), &fields, &out->payload)) {
		return err_set(d, ERR_DECODE, "A frame on channel %u is malformed or nested too deeply.",
			       f->channel);
	}
	if (g->is_open == (f->performative == AMQP_OPEN)) {
		return err_set(d, ERR_PROTOCOL, g->is_open ? "The connection is open already."
							   : "The connection is not open yet.");
	}
	g->is_open = true;
	bool on_session = f->performative > AMQP_BEGIN && f->performative < AMQP_CLOSE;
	if (on_session && !is_begun(g, f->channel)) {
		out->drop = is_late(f->performative);
		return out->drop ? ERR_OK : err_set(d, ERR_PROTOCOL, "There is no session on channel %u.",
						    f->channel);
	}
	return on_performative(g, f, &fields, out, d);
}
