#ifndef GATEWAY_CLI_CLIENT_H
#define GATEWAY_CLI_CLIENT_H

/* An AMQP 1.0 client for the commands and the load generator: blocking, one
 * thread per client, frames written by hand (a proton client costs as much CPU
 * as the server, which would make it the limit of every measurement).
 *
 * One connection, SASL ANONYMOUS, a put-token on $cbs, then links. Sends are
 * queued and pipelined; outcomes and events arrive through callbacks inside
 * cli_client_pump. Heartbeats and token renewal happen inside it too. The first
 * failure of a connection is remembered: every later call gives it again. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct cli_client;
struct cli_link;

struct cli_client_options {
	const char *host;	/* where to connect, and the name in the certificate */
	const char *hostname;	/* the namespace's name for the server; NULL: host */
	int port;
	bool tls;
	const char *ca_file;	/* NULL: the system's */
	const char *resource;	/* what the token is for: "sb://host[/hub]" */
	const char *key_name;	/* policy and key, or ... */
	const char *key;
	const char *token;	/* ... a ready token */
	int timeout_ms;		/* for connecting and each answer; 0: 30 s */
};

/* Connects and authorises. Borrows the options. ERR_IO, ERR_TIMEOUT,
 * ERR_UNAUTHORIZED, ERR_PROTOCOL, ERR_NOMEM with a detail for the user. */
enum err cli_client_open(const struct cli_client_options *o, struct cli_client **out,
			 struct err_detail *d) MUST_CHECK;
/* Ends the connection politely and frees it with all its links. */
void cli_client_close(struct cli_client **c);

/* Called from within cli_client_pump and the sending functions; they must not
 * close the client. */
struct cli_link_events {
	/* Deliveries first..last (serial numbers) are settled. `text` is NULL
	 * when accepted, else the reason (borrowed). */
	void (*outcome)(void *arg, uint32_t first, uint32_t last, const char *text);
	/* A complete message (borrowed). */
	void (*message)(void *arg, struct span message);
	void *arg;
};

/* Both wait for the peer's answer. ERR_NOT_FOUND, ERR_UNAUTHORIZED and the other
 * errors of the peer, its text in the detail. The link is kept by the client. */
enum err cli_client_sender(struct cli_client *c, const char *address,
			   const struct cli_link_events *events, struct cli_link **out,
			   struct err_detail *d) MUST_CHECK;
/* `filter` is a selector text or NULL. The client keeps `credit` topped up. */
enum err cli_client_receiver(struct cli_client *c, const char *address, const char *filter,
			     uint32_t credit, const struct cli_link_events *events,
			     struct cli_link **out, struct err_detail *d) MUST_CHECK;
/* Detaches and forgets; events of the link no longer arrive. */
void cli_client_detach(struct cli_client *c, struct cli_link *link);

uint64_t cli_link_max_message(const struct cli_link *link);	/* UINT64_MAX: no limit */
uint32_t cli_link_credit(const struct cli_link *link);
/* The serial number that the next send will get. */
uint32_t cli_link_next_id(const struct cli_link *link);

/* Is a delivery's outcome that the server is busy? *wait_ms gets for how long,
 * as the text says, else what Event Hubs asks for. */
bool cli_outcome_is_busy(const char *text, int64_t *wait_ms);

/* Queues one delivery. ERR_AGAIN: no credit or no session window: pump and try
 * again. ERR_TOO_LARGE. *id gets the delivery's serial number. */
enum err cli_link_send(struct cli_link *link, uint32_t format, struct span message,
		       uint32_t *id, struct err_detail *d) MUST_CHECK;

/* Writes what is queued, then handles what arrives; waits at most timeout_ms for
 * it (0: only what is there). ERR_OK also when nothing came. */
enum err cli_client_pump(struct cli_client *c, int timeout_ms, struct err_detail *d) MUST_CHECK;
enum err cli_client_flush(struct cli_client *c, struct err_detail *d) MUST_CHECK;
/* ERR_OK while the link is attached; else why it is not. */
enum err cli_link_state(const struct cli_link *link, struct err_detail *d) MUST_CHECK;

/* ---- $management ------------------------------------------------------------- */

struct cli_hub_facts {
	uint32_t partitions;
};
struct cli_partition_facts {
	int64_t begin_sequence;
	int64_t last_sequence;	/* -1: empty */
	int64_t last_enqueued_ms;
	bool is_empty;
};
enum err cli_client_read_hub(struct cli_client *c, const char *hub, struct cli_hub_facts *out,
			     struct err_detail *d) MUST_CHECK;
enum err cli_client_read_partition(struct cli_client *c, const char *hub, uint32_t partition,
				   struct cli_partition_facts *out,
				   struct err_detail *d) MUST_CHECK;

/* ---- messages ------------------------------------------------------------------ */

/* The message format of a delivery made by cli_batch_*, and of a plain event. */
#define CLI_FORMAT_PLAIN UINT32_C(0)
#define CLI_FORMAT_BATCH UINT32_C(0x80013700)

struct cli_property {
	const char *name;
	const char *value;
};

/* A batch: an envelope with the partition key (NULL: none), then one data section
 * per event. Begin once, add events. */
void cli_batch_begin(struct str *s, const char *key);
void cli_batch_add(struct str *s, struct span event);
/* One event: the message that goes into a batch, or alone into a delivery. `key`
 * only for the latter. */
void cli_event_encode(struct str *s, struct span body, const char *key,
		      const struct cli_property *properties, size_t n);

#endif
