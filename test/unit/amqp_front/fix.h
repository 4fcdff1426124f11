#ifndef TEST_UNIT_AMQP_FRONT_FIX_H
#define TEST_UNIT_AMQP_FRONT_FIX_H

/* The front over a real store in a temporary directory, one net loop, and a core
 * whose limits are set with fix_units; the hub "events" has one partition. Whoever
 * connects has the rights of a policy "tester", without SASL. The test's thread is the
 * clients': a client is Proton's driver over a socket, with one session. */

#include <check.h>
#include <proton/connection_driver.h>
#include <proton/link.h>

#include "gateway/amqp/amqp.h"

struct amqp_fix {
	char dir[64];
	struct store *store;
	struct core *core;
	struct amqp_front *front;
	struct net *net;
	char bound[64];
	struct mailbox reply;
};

/* What is opened from now on has these; 0: none. */
struct fix_quotas {
	int max_connections;
	uint32_t max_links;
	uint32_t management_rate;
};
extern struct fix_quotas fix_quotas;
/* Sends that would wait longer than hold_ms are refused. */
void fix_open(struct amqp_fix *f, int64_t hold_ms);
/* As the server stops, with so much grace. */
void fix_close(struct amqp_fix *f, int grace_ms);
/* Returns when the limit is in force. */
void fix_units(struct amqp_fix *f, uint32_t units);
/* Events the partition has. */
uint64_t fix_stored(struct amqp_fix *f);

/* A client's connection, and what came back on it over all links. */
struct peer {
	int fd;
	pn_connection_driver_t driver;
	pn_session_t *session;
	uint64_t next_tag;
	uint32_t unsettled;		/* sent, no outcome yet */
	uint32_t accepted;
	uint32_t rejected;
	char condition[64];		/* of the last rejection */
	char text[1024];
	bool has_info;			/* it had an info map */
	uint32_t received;
	uint8_t last[2048];		/* the first bytes of what was received last */
	size_t last_len;
	uint64_t received_bytes;
	uint32_t replenish;		/* a receiver's credit is kept at this */
	uint32_t detached;		/* links the server has closed */
	bool is_closed;			/* by the server */
};

void peer_open(struct peer *p, struct amqp_fix *f);
/* The socket is closed without a word. */
void peer_drop(struct peer *p);
/* Handles what comes, for so long. */
void peer_run(struct peer *p, int64_t ms);
/* Until the link has credit; fails after 5 s. */
pn_link_t *peer_sender(struct peer *p, const char *name);
/* From the beginning, with that credit, which is kept up when `replenish` is set. */
pn_link_t *peer_receiver(struct peer *p, const char *name, uint32_t credit, bool replenish);
/* One event whose delivery has `bytes` bytes in all; it needs no credit. */
void peer_send(struct peer *p, pn_link_t *link, size_t bytes);

#endif
