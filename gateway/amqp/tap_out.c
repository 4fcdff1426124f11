#include "gateway/amqp/tap.h"

#include <string.h>

#include "gateway/wire/codec.h"

enum {
	UNIT_HEAD = 8,
	TYPE_AMQP = 0,
	MIN_DOFF = 2,
	FRAME_MAX = 15 << 20,	/* below the bound of a struct str; our messages are far smaller */
	PENDING_KEEP = 2048,	/* a larger block is given back after its unit */
	LIST8_MAX = UINT8_MAX - 1,	/* octets of items in a list8, the count taken off */
	DESCRIBED_HEAD = 3,	/* 0x00 0x53 code */

	CODE_NULL = 0x40,
	CODE_UINT0 = 0x43,
	CODE_LIST0 = 0x45,
	CODE_SMALLUINT = 0x52,
	CODE_SMALLULONG = 0x53,
	CODE_LIST8 = 0xc0,
	CODE_LIST32 = 0xd0,

	ERROR = 0x1d,		/* amqp:error:list */
	ERROR_FIELDS = 3,	/* condition, description, info */
	REJECTED = 0x24,	/* amqp:rejected:list */
	REJECTED_FIELDS = 1,
	HANDLE_MAX = 255,	/* what the real service says; Proton leaves it out */

	/* Fields by number. */
	BEGIN_HANDLE_MAX = 4,
	ATTACH_PROPERTIES = 13,
	TRANSFER_FORMAT = 3,
	TRANSFER_FIELDS = 11,
	DISPOSITION_STATE = 4,
	NO_ERROR = 0xff,
};

/* How many fields each performative has, and which one is an error. */
static const struct rule {
	uint8_t fields;
	uint8_t error_at;
} rules[] = {
	[AMQP_OPEN] = {10, NO_ERROR},
	[AMQP_BEGIN] = {8, NO_ERROR},
	[AMQP_ATTACH] = {14, NO_ERROR},
	[AMQP_FLOW] = {11, NO_ERROR},
	[AMQP_TRANSFER] = {TRANSFER_FIELDS, NO_ERROR},
	[AMQP_DISPOSITION] = {6, NO_ERROR},
	[AMQP_DETACH] = {3, 2},
	[AMQP_END] = {1, 0},
	[AMQP_CLOSE] = {1, 0},
};

static const uint8_t nulls[16] = {
	CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL,
	CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL, CODE_NULL,
};

void amqp_tap_out_init(struct amqp_tap_out *t)
{
	*t = (struct amqp_tap_out){.pending = {.max = 0}};
}

void amqp_tap_out_fini(struct amqp_tap_out *t)
{
	str_fini(&t->pending);
}

/* ---- lists ------------------------------------------------------------ */

struct list {
	struct span items;
	uint32_t count;
	struct span rest;	/* what follows the list: a transfer's payload */
};

static bool list_open(struct span in, struct list *out)
{
	struct rd r = rd_of(in);
	uint8_t code = rd_u8(&r);
	size_t size = 0;
	out->count = 0;
	if (code == CODE_LIST8) {
		size = rd_u8(&r);
		out->count = rd_u8(&r);
		r.bad = r.bad || size < 1;
		size -= 1;
	} else if (code == CODE_LIST32) {
		size = rd_u32(&r);
		out->count = rd_u32(&r);
		r.bad = r.bad || size < 4;
		size -= 4;
	} else if (code != CODE_LIST0) {
		r.bad = true;
	}
	out->items = rd_span(&r, size);
	out->rest = rd_span(&r, rd_left(&r));
	return !r.bad;
}

/* Ends a list begun with amqp_begin_list, in the short form if it fits. */
static void list_close(struct str *out, size_t mark, uint32_t count)
{
	amqp_end(out, mark, count);
	if (out->bad) {
		return;
	}
	uint8_t *head = (uint8_t *)out->p + mark;
	size_t n = out->len - mark - 8;
	if (n <= LIST8_MAX && count <= UINT8_MAX) {
		head[-1] = CODE_LIST8;
		head[0] = (uint8_t)(n + 1);
		head[1] = (uint8_t)count;
		memmove(head + 2, head + 8, n);
		out->len -= 6;
		out->p[out->len] = '\0';
	}
}

static void put_nulls(struct str *out, uint32_t n)
{
	str_addn(out, nulls, n < sizeof nulls ? n : sizeof nulls);
}

/* The list of a described value with that descriptor; false for any other. */
static bool described_list(struct span raw, uint8_t code, struct list *out)
{
	return raw.n > DESCRIBED_HEAD && raw.p[0] == 0 && raw.p[1] == CODE_SMALLULONG &&
	       raw.p[2] == code && list_open(span_of(raw.p + DESCRIBED_HEAD, raw.n - DESCRIBED_HEAD),
					     out);
}

static void put_error(struct str *out, struct span raw)
{
	struct list l;
	if (!described_list(raw, ERROR, &l) || l.count >= ERROR_FIELDS) {
		amqp_put_raw(out, raw);
		return;
	}
	amqp_put_descriptor(out, ERROR);
	size_t mark = amqp_begin_list(out);
	amqp_put_raw(out, l.items);
	put_nulls(out, ERROR_FIELDS - l.count);
	list_close(out, mark, ERROR_FIELDS);
}

static void put_state(struct str *out, struct span raw)
{
	struct list l;
	if (!described_list(raw, REJECTED, &l) || l.count > REJECTED_FIELDS) {
		amqp_put_raw(out, raw);
		return;
	}
	amqp_put_descriptor(out, REJECTED);
	size_t mark = amqp_begin_list(out);
	if (l.count == 0) {
		amqp_put_null(out);
	} else {
		put_error(out, l.items);
	}
	list_close(out, mark, REJECTED_FIELDS);
}

/* What stands for a null field that a client needs to be there; NULL: null. */
static const uint8_t *default_field(uint8_t code, uint32_t field, size_t *n)
{
	static const uint8_t handle_max[] = {CODE_SMALLUINT, HANDLE_MAX};
	static const uint8_t empty_map[] = {0xc1, 1, 0};
	static const uint8_t zero[] = {CODE_UINT0};
	if (code == AMQP_BEGIN && field == BEGIN_HANDLE_MAX) {
		*n = sizeof handle_max;
		return handle_max;
	}
	if (code == AMQP_ATTACH && field == ATTACH_PROPERTIES) {
		*n = sizeof empty_map;
		return empty_map;
	}
	if (code == AMQP_TRANSFER && field == TRANSFER_FORMAT) {
		*n = sizeof zero;
		return zero;
	}
	return NULL;
}

static void put_field(struct str *out, uint8_t code, uint32_t field, struct span raw)
{
	if (raw.n == 0 || *raw.p == CODE_NULL) {
		size_t n = 1;
		const uint8_t *p = default_field(code, field, &n);
		str_addn(out, p != NULL ? p : nulls, n);
	} else if (field == rules[code].error_at) {
		put_error(out, raw);
	} else if (code == AMQP_DISPOSITION && field == DISPOSITION_STATE) {
		put_state(out, raw);
	} else {
		amqp_put_raw(out, raw);
	}
}

/* ---- frames ----------------------------------------------------------- */

/* Writes a frame with all fields of its performative. */
static void put_performative(struct span unit, size_t body_at, const struct list *l,
			     struct str *out)
{
	uint8_t code = unit.p[body_at + 2];
	size_t start = out->len;
	str_addn(out, unit.p, body_at);
	amqp_put_descriptor(out, code);
	size_t mark = amqp_begin_list(out);
	struct rd r = rd_of(l->items);
	uint32_t count = l->count > rules[code].fields ? l->count : rules[code].fields;
	for (uint32_t i = 0; i < count; i++) {
		struct span raw = {NULL, 0};
		if (i < l->count) {
			raw = amqp_skip_shallow(&r);
		}
		put_field(out, code, i, raw);
	}
	list_close(out, mark, count);
	amqp_put_raw(out, l->rest);
	if (!out->bad) {
		put_u32((uint8_t *)out->p + start, (uint32_t)(out->len - start));
	}
}

/* The same for a transfer, the bulk of all output: its head is put together in
 * one piece. Returns false when it does not have the usual form. */
static bool put_transfer(struct span unit, const struct list *l, struct str *out)
{
	enum { HEAD = UNIT_HEAD + DESCRIBED_HEAD + 3 };
	uint8_t head[HEAD + LIST8_MAX];
	if (unit.p[4] != MIN_DOFF || l->count > TRANSFER_FIELDS ||
	    l->items.n > LIST8_MAX - TRANSFER_FIELDS) {
		return false;
	}
	size_t n = l->items.n + TRANSFER_FIELDS - l->count;
	memcpy(head, unit.p, UNIT_HEAD + DESCRIBED_HEAD);
	put_u32(head, (uint32_t)(HEAD + n + l->rest.n));
	head[UNIT_HEAD + DESCRIBED_HEAD] = CODE_LIST8;
	head[UNIT_HEAD + DESCRIBED_HEAD + 1] = (uint8_t)(n + 1);
	head[UNIT_HEAD + DESCRIBED_HEAD + 2] = TRANSFER_FIELDS;
	if (l->items.n > 0) {
		memcpy(head + HEAD, l->items.p, l->items.n);
	}
	memset(head + HEAD + l->items.n, CODE_NULL, TRANSFER_FIELDS - l->count);
	/* Null and uint zero are one octet each. */
	struct rd r = rd_of(span_of(head + HEAD, n));
	for (unsigned i = 0; i < TRANSFER_FORMAT; i++) {
		(void)amqp_skip_shallow(&r);
	}
	if (rd_left(&r) == 0) {
		return false;
	}
	uint8_t *format = head + HEAD + (r.p - (head + HEAD));
	if (*format == CODE_NULL) {
		*format = CODE_UINT0;
	}
	str_addn(out, head, HEAD + n);
	amqp_put_raw(out, l->rest);
	return true;
}

/* Whether the items are `count` values, one after another. */
static bool list_is_sound(const struct list *l)
{
	struct rd r = rd_of(l->items);
	for (uint32_t i = 0; i < l->count && !r.bad; i++) {
		(void)amqp_skip_shallow(&r);
	}
	return !r.bad && r.p == r.end;
}

static void put_unit(struct span unit, struct str *out)
{
	size_t body_at = (size_t)unit.p[4] * 4;
	const uint8_t *body = unit.p + body_at;
	struct list l;
	bool known = memcmp(unit.p, "AMQP", 4) != 0 && unit.p[5] == TYPE_AMQP &&
		     unit.n > body_at + DESCRIBED_HEAD && body[0] == 0 &&
		     body[1] == CODE_SMALLULONG && body[2] >= AMQP_OPEN && body[2] <= AMQP_CLOSE &&
		     list_open(span_of(body + DESCRIBED_HEAD, unit.n - body_at - DESCRIBED_HEAD), &l) &&
		     list_is_sound(&l);
	if (!known) {
		amqp_put_raw(out, unit);
	} else if (body[2] != AMQP_TRANSFER || !put_transfer(unit, &l, out)) {
		put_performative(unit, body_at, &l, out);
	}
}

/* The size of the unit that begins with these 8 octets. */
static enum err unit_size(const uint8_t *p, size_t *size)
{
	*size = UNIT_HEAD;
	if (memcmp(p, "AMQP", 4) == 0) {
		return ERR_OK;
	}
	uint32_t n = get_u32(p);
	if (n > FRAME_MAX) {
		return ERR_TOO_LARGE;
	}
	if (n < UNIT_HEAD || p[4] < MIN_DOFF || (uint32_t)p[4] * 4 > n) {
		return ERR_PROTOCOL;
	}
	*size = n;
	return ERR_OK;
}

/* Moves bytes into the buffer until it holds `want`; true when it does. */
static bool gather(struct amqp_tap_out *t, struct span *in, size_t want)
{
	if (t->pending.len < want) {
		size_t need = want - t->pending.len;
		size_t n = need < in->n ? need : in->n;
		str_addn(&t->pending, in->p, n);
		if (t->pending.bad) {
			return false;
		}
		in->p += n;
		in->n -= n;
	}
	return t->pending.len >= want;
}

/* Takes bytes of a unit that does not lie whole in one input. */
static enum err write_pending(struct amqp_tap_out *t, struct span *in, struct str *out)
{
	if (gather(t, in, UNIT_HEAD)) {
		size_t size;
		enum err e = unit_size((const uint8_t *)t->pending.p, &size);
		if (e != ERR_OK) {
			return e;
		}
		if (gather(t, in, size)) {
			put_unit(span_of(t->pending.p, size), out);
			t->pending.len = 0;
			if (t->pending.cap > PENDING_KEEP) {
				str_fini(&t->pending);
			}
		}
	}
	return t->pending.bad ? ERR_NOMEM : ERR_OK;
}

enum err amqp_tap_out_write(struct amqp_tap_out *t, struct span in, struct str *out)
{
	while (in.n > 0) {
		size_t size = 0;
		enum err e = ERR_OK;
		if (t->pending.len == 0 && in.n >= UNIT_HEAD) {
			e = unit_size(in.p, &size);
		}
		if (e == ERR_OK && size > 0 && size <= in.n) {
			put_unit(span_of(in.p, size), out);
			in.p += size;
			in.n -= size;
		} else if (e == ERR_OK) {
			e = write_pending(t, &in, out);
		}
		if (e == ERR_OK && out->bad) {
			e = ERR_NOMEM;
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}
