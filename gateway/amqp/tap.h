#ifndef GATEWAY_AMQP_TAP_H
#define GATEWAY_AMQP_TAP_H

/* Frame taps: what stands between the stream and Proton.
 *
 * Input: cuts the byte stream into protocol headers and frames, so that Proton
 * is fed one at a time, and reads from each performative's head what Proton
 * throws away: a transfer's message-format, a link's desired capabilities.
 * Lowers the peer's max-frame-size in `open` by 32 so that padded frames fit.
 * Output: pads performatives to their full number of fields (the Python SDK
 * indexes them by position), writes begin.handle-max and a non-null attach
 * properties map. Both are pure: bytes in, bytes out; no socket, no Proton. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* Performatives, AMQP 1.0 §2.7 and §5.3.3. */
enum amqp_performative {
	AMQP_OPEN = 0x10, AMQP_BEGIN, AMQP_ATTACH, AMQP_FLOW, AMQP_TRANSFER, AMQP_DISPOSITION,
	AMQP_DETACH, AMQP_END, AMQP_CLOSE,
	AMQP_SASL_MECHANISMS = 0x40, AMQP_SASL_INIT, AMQP_SASL_CHALLENGE, AMQP_SASL_RESPONSE,
	AMQP_SASL_OUTCOME,
};

enum amqp_tap_kind {
	AMQP_TAP_MORE,		/* nothing complete yet */
	AMQP_TAP_HEADER,	/* an 8-byte protocol header */
	AMQP_TAP_EMPTY,		/* an empty frame (heartbeat) */
	AMQP_TAP_FRAME,
};

enum { AMQP_TAP_CAPABILITIES = 8 };

/* What the tap saw; spans borrow from the fed bytes or the tap's buffer and
 * are valid until the next call. */
struct amqp_tap_frame {
	enum amqp_tap_kind kind;
	struct span bytes;		/* the whole unit, to be fed to Proton */
	uint16_t channel;
	bool is_sasl;
	uint8_t performative;		/* enum amqp_performative, 0 if unreadable */
	/* Fields below are zero unless named by their performative; only the first
	 * n_capabilities entries of `capabilities` are set. */
	/* transfer: */
	uint32_t handle;
	bool has_format;		/* message-format present (first transfer of a delivery) */
	uint32_t message_format;
	bool has_delivery_id;
	uint32_t delivery_id;
	bool more;
	bool aborted;
	/* attach: */
	struct span link_name;
	bool peer_is_receiver;		/* role field of the attach */
	uint32_t n_capabilities;	/* desired-capabilities, at most AMQP_TAP_CAPABILITIES kept */
	struct span capabilities[AMQP_TAP_CAPABILITIES];
};

/* What may come next from a client. */
enum amqp_tap_state {
	AMQP_TAP_START,		/* a SASL or AMQP header */
	AMQP_TAP_SASL,		/* SASL frames up to sasl-init */
	AMQP_TAP_AFTER_SASL,	/* the AMQP header (or SASL frames, to be refused by Proton) */
	AMQP_TAP_FRAMES,	/* AMQP frames to the end */
};

struct amqp_tap_in {
	uint32_t max_frame;	/* larger frames are an error */
	bool in_sasl;		/* between a SASL header and sasl-init */
	struct str pending;	/* an incomplete unit, or a copied one */
	bool opened;		/* the peer's open has been seen */
	enum amqp_tap_state state;
	bool used;		/* `pending` was given out by the last call */
};

void amqp_tap_in_init(struct amqp_tap_in *t, uint32_t max_frame);
void amqp_tap_in_fini(struct amqp_tap_in *t);
/* Takes what it needs from *in (moving it on) until one unit is complete. An
 * error ends the connection: nothing after it can be understood.
 * ERR_OK: *out is filled (kind MORE when *in is used up first); ERR_TOO_LARGE:
 * frame over max_frame; ERR_PROTOCOL: not AMQP (bad header, doff < 2, size < 8);
 * ERR_NOMEM. */
enum err amqp_tap_in_next(struct amqp_tap_in *t, struct span *in, struct amqp_tap_frame *out,
			  struct err_detail *d) MUST_CHECK;

/* Output tap: Proton's output may be cut anywhere; complete units are written,
 * padded, to *out. ERR_NOMEM: memory short or out->max reached; ERR_PROTOCOL and
 * ERR_TOO_LARGE: not what an AMQP engine writes. After an error the connection
 * is lost: *out may end in a part of a frame. */
struct amqp_tap_out {
	struct str pending;
};
void amqp_tap_out_init(struct amqp_tap_out *t);
void amqp_tap_out_fini(struct amqp_tap_out *t);
enum err amqp_tap_out_write(struct amqp_tap_out *t, struct span in, struct str *out) MUST_CHECK;

/* Octets by which padding may lengthen one frame, at most. */
enum { AMQP_TAP_PADDING = 32 };

#endif
