#ifndef GATEWAY_AMQP_LINK_H
#define GATEWAY_AMQP_LINK_H

/* What all links have in common: attaching, refusing, failing, ending. Senders
 * (the client sends), receivers (the client receives) and the request/response
 * nodes embed struct amqp_link. Private to gateway/amqp; loop thread only.
 *
 * Life: attached -> [failed by us | closed by the peer | session or connection
 * ended] -> ended (stops all work, once) -> unbound (Proton's link is freed) ->
 * freed when no operation of its own is out. */

#include <proton/link.h>

#include "gateway/wire/codec.h"
#include "gateway/amqp/conn.h"

struct amqp_link_ops {
	const char *what;	/* "sender": for logs */
	size_t size;		/* of the struct that embeds */
	void (*delivery)(struct amqp_link *link, pn_delivery_t *d);
	void (*flow)(struct amqp_link *link);
	/* Sends what it can; only for links on the ready list. */
	void (*push)(struct amqp_link *link);
	void (*tick)(struct amqp_link *link, int64_t now_ms);
	/* Stops all work: called once. Afterwards only operations that are out
	 * keep the object. */
	void (*end)(struct amqp_link *link);
};

enum amqp_queue { AMQP_QUEUE_NONE, AMQP_QUEUE_READY, AMQP_QUEUE_BLOCKED };

struct amqp_link {
	unsigned magic;
	const struct amqp_link_ops *ops;
	struct amqp_conn *conn;
	pn_link_t *pn;			/* NULL: unbound */
	uint64_t id;
	struct amqp_link *next, *prev;	/* of the connection */
	struct amqp_link *queue_next;
	enum amqp_queue queue;
	const char *source;		/* of a dynamic terminus, made by us; NULL: as the peer said */
	char *path;			/* normalised address: for grants, texts and logs */
	enum auth_right right;
	int64_t expires_ms;		/* wall clock: when the grant ends; INT64_MAX: not by itself */
	bool has_ended;
	uint32_t outstanding;		/* operations embedded in this link that are out */
};

/* ---- for conn.c ---------------------------------------------------------- */

/* The peer attached: accepts or refuses. */
void amqp_link_attach(struct amqp_conn *conn, pn_link_t *pn);
/* The peer detached (`closed` or not): answers and frees Proton's link. */
void amqp_link_unbind(struct amqp_conn *conn, pn_link_t *pn, bool closed);
/* A session ends (NULL: all of them): its links end and let go of Proton's,
 * which the caller frees with the session. */
void amqp_link_end_session(struct amqp_conn *conn, pn_session_t *ssn);
/* Ends every link; their memory goes when their operations are back. */
void amqp_link_end_all(struct amqp_conn *conn);
/* Grants that ran out, then each link's own tick. */
void amqp_link_tick(struct amqp_link *link, int64_t now_ms);
/* Turns: the first of the ready list, taken off it; NULL when empty. */
struct amqp_link *amqp_link_next_ready(struct amqp_conn *conn);
void amqp_link_unblock(struct amqp_conn *conn);	/* blocked -> ready */

/* ---- for the kinds of links --------------------------------------------- */

/* A link of that kind, bound to `pn`. NULL: no memory. */
struct amqp_link *amqp_link_new(struct amqp_conn *conn, pn_link_t *pn,
				const struct amqp_link_ops *ops, const char *path);
/* Before the attach was answered: forgets it again. */
void amqp_link_discard(struct amqp_link **link);
/* Answers the attach: echoes termini, settle modes and properties. */
void amqp_link_accept(struct amqp_link *link);
/* Refuses: attach without termini, then detach with the error. */
void amqp_link_refuse(struct amqp_conn *conn, pn_link_t *pn, enum err e, const char *condition,
		      const char *detail, const char *entity);
/* Detaches with an error and ends the link; no-op when it has ended. */
void amqp_link_fail(struct amqp_link *link, enum err e, const char *condition,
		    const char *detail);
/* One of the link's own operations came back; may free it. True: the link has
 * ended, do not touch it. */
bool amqp_link_release(struct amqp_link *link);
void amqp_link_ready(struct amqp_link *link);
void amqp_link_block(struct amqp_link *link);

/* On whose account a link to `path` is: the connection, and the policy by which it may.
 * What *out names is borrowed until the grants change. ERR_NOMEM. */
enum err amqp_link_account(struct amqp_conn *conn, const char *path, enum auth_right right,
			   struct core_client *out) MUST_CHECK;

/* Encodes a pn_data_t (attach properties, filters) so that the codec can read
 * it; an empty or absent one reads as null. The value borrows from `out`. */
struct amqp_value amqp_data_read(pn_data_t *data, struct str *out);

/* ---- the kinds: each answers the attach ----------------------------------- */

void amqp_sender_attach(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a);
void amqp_receiver_attach(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a);
/* $cbs or $management, either direction; kind CORE_CBS or CORE_MANAGEMENT. */
void amqp_request_attach(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a);
/* A dynamic source: an address for replies. */
void amqp_reply_attach_dynamic(struct amqp_conn *conn, pn_link_t *pn);

/* sender.c: gives back the operations a loop keeps. */
void amqp_send_pool_free(struct amqp_loop *loop);

#endif
