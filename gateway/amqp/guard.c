#include "gateway/amqp/guard.h"

#include "base/mem.h"
#include "gateway/wire/codec.h"

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

/* The fields of the performative, a list inside a described value, and what
 * follows it. */
static bool open_fields(struct span body, struct rd *fields, uint32_t *count, struct span *rest)
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
	*fields = rd_of(list.data);
	*count = list.count;
	*rest = rd_span(&r, rd_left(&r));
	return true;
}

static bool uint_field(struct rd fields, uint32_t count, uint32_t at, uint32_t *out)
{
	if (at >= count) {
		return false;
	}
	for (uint32_t i = 0; i < at; i++) {
		(void)amqp_skip_shallow(&fields);
	}
	struct amqp_value v = amqp_read_shallow(&fields);
	*out = (uint32_t)v.u;
	return !fields.bad && v.type == AMQP_UINT;
}

static enum err on_begin(struct amqp_guard *g, uint16_t channel, struct err_detail *d)
{
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

static enum err on_transfer(struct amqp_guard *g, const struct amqp_tap_frame *f,
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
	h->partial = f->more && !f->aborted;
	return ERR_OK;
}

/* Frames that change nothing when their session is gone. */
static bool is_late(uint8_t performative)
{
	return performative == AMQP_DETACH || performative == AMQP_FLOW ||
	       performative == AMQP_DISPOSITION || performative == AMQP_END;
}

enum err amqp_guard_check(struct amqp_guard *g, const struct amqp_tap_frame *f,
			  struct amqp_guard_verdict *out, struct err_detail *d)
{
	*out = (struct amqp_guard_verdict){.drop = false};
	if (f->kind != AMQP_TAP_FRAME || f->is_sasl) {
		return ERR_OK;
	}
	size_t head = f->bytes.n > 4 ? (size_t)f->bytes.p[4] * 4 : 0;
	struct rd fields;
	uint32_t count;
	if (head == 0 || head > f->bytes.n ||
	    !open_fields(span_of(f->bytes.p + head, f->bytes.n - head), &fields, &count,
			 &out->payload)) {
		return err_set(d, ERR_DECODE, "A frame on channel %u is malformed or nested too deeply.",
			       f->channel);
	}
	bool on_session = f->performative > AMQP_BEGIN && f->performative < AMQP_CLOSE;
	if (on_session && !is_begun(g, f->channel)) {
		if (is_late(f->performative)) {
			out->drop = true;
			return ERR_OK;
		}
		return err_set(d, ERR_PROTOCOL, "There is no session on channel %u.", f->channel);
	}
	uint32_t handle = 0;
	switch (f->performative) {
	case AMQP_BEGIN:
		return on_begin(g, f->channel, d);
	case AMQP_END:
		on_end(g, f->channel);
		return ERR_OK;
	case AMQP_ATTACH:
		if (!uint_field(fields, count, 1, &handle)) {
			return err_set(d, ERR_DECODE, "An attach has no handle.");
		}
		return on_attach(g, f->channel, handle, d);
	case AMQP_DETACH:
		if (uint_field(fields, count, 0, &handle)) {
			struct amqp_guard_handle *h = find(g, f->channel, handle);
			if (h != NULL) {
				take_out(g, (size_t)(h - g->handles));
			}
		}
		return ERR_OK;
	case AMQP_TRANSFER:
		return on_transfer(g, f, d);
	default:
		return ERR_OK;
	}
}
