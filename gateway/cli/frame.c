/* AMQP frames written and read by hand. Pure. */

#include <stdio.h>
#include <string.h>

#include "gateway/cli/frame_priv.h"

struct cli_frame_mark cli_frame_begin(struct str *s, uint8_t type, uint16_t channel, uint8_t code)
{
	uint8_t head[WIRE_HEAD] = {0, 0, 0, 0, 2, type};
	struct cli_frame_mark m = {.frame = s->len};
	put_u16(head + 6, channel);
	str_addn(s, head, sizeof head);
	amqp_put_descriptor(s, code);
	m.list = amqp_begin_list(s);
	return m;
}

static void set_size(struct str *s, size_t frame)
{
	if (!s->bad) {
		uint8_t size[4];
		put_u32(size, (uint32_t)(s->len - frame));
		memcpy(s->p + frame, size, sizeof size);
	}
}

void cli_frame_end(struct str *s, struct cli_frame_mark m, uint32_t fields)
{
	amqp_end(s, m.list, fields);
	set_size(s, m.frame);
}

void cli_put_header(struct str *s, uint8_t protocol)
{
	uint8_t header[WIRE_HEAD] = {'A', 'M', 'Q', 'P', protocol, 1, 0, 0};
	str_addn(s, header, sizeof header);
}

void cli_put_heartbeat(struct str *s)
{
	static const uint8_t frame[WIRE_HEAD] = {0, 0, 0, WIRE_HEAD, 2, WIRE_TYPE_AMQP, 0, 0};
	str_addn(s, frame, sizeof frame);
}

void cli_put_sasl_init(struct str *s, const char *mechanism, const char *host)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_SASL, 0, WIRE_SASL_INIT);
	amqp_put_symbol(s, span_str(mechanism));
	amqp_put_binary(s, span_str("anonymous"));
	amqp_put_string(s, span_str(host));
	cli_frame_end(s, m, 3);
}

static void put_product(struct str *s)
{
	size_t map = amqp_begin_map(s);
	amqp_put_symbol(s, span_str("product"));
	amqp_put_string(s, span_str("sluice"));
	amqp_put_symbol(s, span_str("version"));
	amqp_put_string(s, span_str(SLUICE_VERSION));
	amqp_end(s, map, 4);
}

void cli_put_open(struct str *s, const char *container, const char *host,
		   uint32_t idle_timeout_ms)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, 0, WIRE_OPEN);
	amqp_put_string(s, span_str(container));
	amqp_put_string(s, span_str(host));
	amqp_put_uint(s, WIRE_MAX_FRAME);
	amqp_put_ushort(s, UINT16_MAX);
	amqp_put_uint(s, idle_timeout_ms);
	for (int i = 5; i < 9; i++) {	/* locales and capabilities */
		amqp_put_null(s);
	}
	put_product(s);
	cli_frame_end(s, m, 10);
}

void cli_put_session(struct str *s, uint16_t channel, uint32_t window)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, channel, WIRE_BEGIN);
	amqp_put_null(s);
	amqp_put_uint(s, 0);
	amqp_put_uint(s, window);
	amqp_put_uint(s, window);
	amqp_put_uint(s, UINT8_MAX);
	cli_frame_end(s, m, 5);
}

static void put_filter(struct str *s, const char *filter)
{
	size_t map = amqp_begin_map(s);
	uint8_t described[2] = {0x00, 0x80};	/* described, ulong */
	uint8_t code[8];
	amqp_put_symbol(s, span_str(WIRE_SELECTOR));
	str_addn(s, described, sizeof described);
	put_u64(code, WIRE_SELECTOR_CODE);
	str_addn(s, code, sizeof code);
	amqp_put_string(s, span_str(filter));
	amqp_end(s, map, 2);
}

static void put_terminus(struct str *s, uint8_t code, const char *address, const char *filter)
{
	amqp_put_descriptor(s, code);
	size_t list = amqp_begin_list(s);
	uint32_t fields = 1;
	if (address != NULL) {
		amqp_put_string(s, span_str(address));
	} else {
		amqp_put_null(s);
	}
	if (filter != NULL) {
		for (; fields < 7; fields++) {	/* durable ... distribution mode */
			amqp_put_null(s);
		}
		put_filter(s, filter);
		fields++;
	}
	amqp_end(s, list, fields);
}

void cli_put_attach(struct str *s, uint16_t channel, const struct cli_attach *a)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, channel, WIRE_ATTACH);
	amqp_put_string(s, span_str(a->name));
	amqp_put_uint(s, a->handle);
	amqp_put_bool(s, a->receiver);
	amqp_put_ubyte(s, a->receiver ? 1 : 0);	/* events arrive settled, sends are unsettled */
	amqp_put_ubyte(s, 0);
	put_terminus(s, WIRE_SOURCE, a->source, a->filter);
	put_terminus(s, WIRE_TARGET, a->target, NULL);
	amqp_put_null(s);
	amqp_put_null(s);
	if (a->receiver) {
		amqp_put_null(s);
	} else {
		amqp_put_uint(s, 0);
	}
	cli_frame_end(s, m, 10);
}

void cli_put_flow(struct str *s, uint16_t channel, const struct cli_flow *f)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, channel, WIRE_FLOW);
	amqp_put_uint(s, f->next_incoming);
	amqp_put_uint(s, f->incoming_window);
	amqp_put_uint(s, f->next_outgoing);
	amqp_put_uint(s, f->outgoing_window);
	if (f->has_link) {
		amqp_put_uint(s, f->handle);
		amqp_put_uint(s, f->delivery_count);
		amqp_put_uint(s, f->credit);
	}
	cli_frame_end(s, m, f->has_link ? 7 : 4);
}

void cli_put_transfer(struct str *s, uint16_t channel, const struct cli_transfer *t,
		       struct span payload)
{
	/* Fixed widths, so that a transfer costs a copy and no measuring:
	 * head 8, descriptor 3, list8 head 3, then handle 5, delivery id 5,
	 * tag 6, format 5, settled 1, more 1. */
	uint8_t b[WIRE_TRANSFER_HEAD] = {0, 0, 0, 0, 2, WIRE_TYPE_AMQP, 0, 0,
					 0x00, 0x53, WIRE_TRANSFER, 0xc0, 24, 6,
					 [14] = 0x70, [19] = 0x70, [24] = 0xa0, [25] = 4,
					 [30] = 0x70};
	put_u32(b, (uint32_t)(sizeof b + payload.n));
	put_u16(b + 6, channel);
	put_u32(b + 15, t->handle);
	put_u32(b + 20, t->delivery_id);
	put_u32(b + 26, t->delivery_id);
	put_u32(b + 31, t->format);
	b[35] = t->settled ? 0x41 : 0x42;
	b[36] = t->more ? 0x41 : 0x42;
	str_addn(s, b, sizeof b);
	str_addn(s, payload.p, payload.n);
}

void cli_put_accepted(struct str *s, uint16_t channel, uint32_t first, uint32_t last)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, channel, WIRE_DISPOSITION);
	amqp_put_bool(s, true);
	amqp_put_uint(s, first);
	amqp_put_uint(s, last);
	amqp_put_bool(s, true);
	amqp_put_descriptor(s, WIRE_ACCEPTED);
	amqp_end(s, amqp_begin_list(s), 0);
	cli_frame_end(s, m, 5);
}

void cli_put_detach(struct str *s, uint16_t channel, uint32_t handle)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, channel, WIRE_DETACH);
	amqp_put_uint(s, handle);
	amqp_put_bool(s, true);
	cli_frame_end(s, m, 2);
}

void cli_put_close(struct str *s)
{
	cli_frame_end(s, cli_frame_begin(s, WIRE_TYPE_AMQP, 0, WIRE_CLOSE), 0);
}

/* ---- reading ------------------------------------------------------------------ */

/* Items of a list into field[0..n), the rest null. */
static void read_items(const struct amqp_value *list, struct amqp_value *field, size_t n)
{
	struct rd r = rd_of(list->data);
	for (size_t i = 0; i < n; i++) {
		field[i] = i < list->count ? amqp_read(&r) : (struct amqp_value){.type = AMQP_NULL};
	}
}

enum err cli_frame_read(struct span in, struct cli_frame *out)
{
	struct rd r = rd_of(in);
	(void)rd_u32(&r);
	uint8_t doff = rd_u8(&r);
	out->type = rd_u8(&r);
	out->channel = rd_u16(&r);
	out->code = UINT64_MAX;
	out->payload = span_of(NULL, 0);
	if (doff < 2) {
		return ERR_PROTOCOL;
	}
	rd_skip(&r, (size_t)doff * 4 - WIRE_HEAD);
	if (r.bad) {
		return ERR_PROTOCOL;
	}
	if (rd_left(&r) == 0) {
		return ERR_OK;
	}
	struct amqp_value v = amqp_read(&r);
	if (r.bad || v.type != AMQP_DESCRIBED) {
		return ERR_PROTOCOL;
	}
	struct rd inner = rd_of(v.described);
	struct amqp_value list = amqp_read(&inner);
	if (inner.bad || list.type != AMQP_LIST) {
		return ERR_PROTOCOL;
	}
	out->code = amqp_descriptor_code(&v);
	read_items(&list, out->field, WIRE_FIELDS_MAX);
	out->payload = span_of(r.p, rd_left(&r));
	return ERR_OK;
}

uint64_t cli_list_read(const struct amqp_value *v, struct amqp_value *field, size_t n)
{
	struct amqp_value list = {.type = AMQP_NULL};
	uint64_t code = UINT64_MAX;
	if (v->type == AMQP_DESCRIBED) {
		struct rd r = rd_of(v->described);
		list = amqp_read(&r);
		code = amqp_descriptor_code(v);
	}
	if (list.type != AMQP_LIST) {
		list = (struct amqp_value){.type = AMQP_NULL};
	}
	read_items(&list, field, n);
	return code;
}

uint32_t cli_value_u32(const struct amqp_value *v, uint32_t absent)
{
	int64_t i;
	return amqp_to_i64(v, &i) && i >= 0 && i <= UINT32_MAX ? (uint32_t)i : absent;
}

bool cli_error_text(const struct amqp_value *error, char *out, size_t size)
{
	struct amqp_value field[2];
	if (cli_list_read(error, field, 2) != WIRE_ERROR || !amqp_is_text(&field[0])) {
		return false;
	}
	int condition = (int)(field[0].data.n < 128 ? field[0].data.n : 128);
	bool has_text = amqp_is_text(&field[1]) && field[1].data.n > 0;
	int text = has_text ? (int)(field[1].data.n < size ? field[1].data.n : size) : 0;
	(void)snprintf(out, size, "%.*s%s%.*s", condition, (const char *)field[0].data.p,
		       has_text ? ": " : "", text,
		       has_text ? (const char *)field[1].data.p : "");
	for (char *p = out; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ') {
			*p = ' ';
		}
	}
	return true;
}
