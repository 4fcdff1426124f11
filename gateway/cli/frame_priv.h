#ifndef GATEWAY_CLI_FRAME_PRIV_H
#define GATEWAY_CLI_FRAME_PRIV_H

/* AMQP 1.0 on the wire as the commands need it: the value codec, and the codes
 * of performatives (specification §2.7, §2.8, §5.3). The only place of this
 * folder that includes the codec. */

#include "gateway/wire/codec.h"

enum cli_performative {
	WIRE_OPEN = 0x10,
	WIRE_BEGIN = 0x11,
	WIRE_ATTACH = 0x12,
	WIRE_FLOW = 0x13,
	WIRE_TRANSFER = 0x14,
	WIRE_DISPOSITION = 0x15,
	WIRE_DETACH = 0x16,
	WIRE_END = 0x17,
	WIRE_CLOSE = 0x18,
	WIRE_ERROR = 0x1d,
	WIRE_RECEIVED = 0x23,
	WIRE_ACCEPTED = 0x24,
	WIRE_REJECTED = 0x25,
	WIRE_RELEASED = 0x26,
	WIRE_MODIFIED = 0x27,
	WIRE_SOURCE = 0x28,
	WIRE_TARGET = 0x29,
	WIRE_SASL_MECHANISMS = 0x40,
	WIRE_SASL_INIT = 0x41,
	WIRE_SASL_OUTCOME = 0x44,
};

enum {
	WIRE_HEAD = 8,			/* frame: size u32, doff u8, type u8, channel u16 */
	WIRE_TYPE_AMQP = 0,
	WIRE_TYPE_SASL = 1,
	WIRE_MAX_FRAME = 64 << 10,	/* what we announce and send at most */
	WIRE_FIELDS_MAX = 16,		/* of a performative; attach has 14 */
	/* Frame head and a transfer's performative as cli_put_transfer writes it. */
	WIRE_TRANSFER_HEAD = 37,
};

/* transfer.message-format of an Event Hubs batch: one Data section per event. */
#define WIRE_FORMAT_PLAIN UINT32_C(0)
#define WIRE_FORMAT_BATCH UINT32_C(0x80013700)

/* The link filter of Event Hubs' start positions. */
#define WIRE_SELECTOR "apache.org:selector-filter:string"
#define WIRE_SELECTOR_CODE UINT64_C(0x468C00000004)

/* ---- writing frames ------------------------------------------------------- */

struct cli_frame_mark {
	size_t frame;
	size_t list;
};

/* Opens a frame with a performative whose list of fields is then written. */
struct cli_frame_mark cli_frame_begin(struct str *s, uint8_t type, uint16_t channel, uint8_t code);
/* Closes both and fills in the frame's size. */
void cli_frame_end(struct str *s, struct cli_frame_mark m, uint32_t fields);

void cli_put_header(struct str *s, uint8_t protocol);	/* 0 AMQP, 3 SASL */
void cli_put_heartbeat(struct str *s);
void cli_put_sasl_init(struct str *s, const char *mechanism, const char *host);
void cli_put_open(struct str *s, const char *container, const char *host,
		   uint32_t idle_timeout_ms);
void cli_put_session(struct str *s, uint16_t channel, uint32_t window);

struct cli_attach {
	const char *name;
	uint32_t handle;
	bool receiver;
	const char *source;	/* NULL: an empty terminus */
	const char *target;
	const char *filter;	/* selector text, or NULL */
};
void cli_put_attach(struct str *s, uint16_t channel, const struct cli_attach *a);

struct cli_flow {
	uint32_t next_incoming;
	uint32_t incoming_window;
	uint32_t next_outgoing;
	uint32_t outgoing_window;
	bool has_link;
	uint32_t handle;
	uint32_t delivery_count;
	uint32_t credit;
};
void cli_put_flow(struct str *s, uint16_t channel, const struct cli_flow *f);

struct cli_transfer {
	uint32_t handle;
	uint32_t delivery_id;
	uint32_t format;
	bool settled;
	bool more;
};
/* One frame: head, fixed-size performative and `payload`. */
void cli_put_transfer(struct str *s, uint16_t channel, const struct cli_transfer *t,
		       struct span payload);
void cli_put_accepted(struct str *s, uint16_t channel, uint32_t first, uint32_t last);
void cli_put_detach(struct str *s, uint16_t channel, uint32_t handle);
void cli_put_close(struct str *s);

/* ---- reading frames ---------------------------------------------------------- */

struct cli_frame {
	uint8_t type;
	uint16_t channel;
	uint64_t code;		/* UINT64_MAX: an empty frame (heartbeat) */
	struct amqp_value field[WIRE_FIELDS_MAX];	/* missing ones are null */
	struct span payload;	/* what follows the performative */
};

/* Reads a whole frame of `in.n` bytes. ERR_PROTOCOL. */
enum err cli_frame_read(struct span in, struct cli_frame *out) MUST_CHECK;
/* Fields of a described list (error, delivery state); its code or UINT64_MAX. */
uint64_t cli_list_read(const struct amqp_value *v, struct amqp_value *field, size_t n);
uint32_t cli_value_u32(const struct amqp_value *v, uint32_t absent);
static inline bool cli_value_true(const struct amqp_value *v)
{
	return v->type == AMQP_BOOL && v->u != 0;
}
/* Writes "condition: description" of an error value; false when it is none. */
bool cli_error_text(const struct amqp_value *error, char *out, size_t size);

#endif
