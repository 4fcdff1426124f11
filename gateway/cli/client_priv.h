#ifndef GATEWAY_CLI_CLIENT_PRIV_H
#define GATEWAY_CLI_CLIENT_PRIV_H

/* The client's state: one connection, sessions, links. client.c does what we
 * begin, client_input.c what the peer sends. Without a dial (tests) what is
 * written stays in `out`. */

#include "gateway/cli/client.h"
#include "gateway/cli/frame_priv.h"
#include "gateway/net/dial.h"

enum {
	CLI_CLIENT_MAGIC = 0x434c4349,
	CLI_SESSIONS_MAX = 64,
	CLI_SESSION_LINKS = 128,	/* fewer than any peer's handle-max (255) */
	CLI_WINDOW = 0x7fffffff,	/* our incoming window, in transfers */
	CLI_MESSAGE_MAX = 32 << 20,	/* a message assembled from frames */
	CLI_FLUSH_BYTES = 64 << 10,	/* queued bytes after which sending writes */
	CLI_IDLE_MS = 60000,		/* our idle time-out as announced */
	CLI_TOKEN_MS = 3600000,		/* life of a token we make, renewed at 3/4 */
	CLI_TIMEOUT_MS = 30000,
	CLI_LINK_NAME = 96,
	CLI_BUSY_S = 4,			/* a busy server that names no time (event-hubs "8.3") */
	CLI_BUSY_MAX_S = 86400,
};

enum cli_phase {
	CLI_SASL_HEADER,
	CLI_SASL,
	CLI_AMQP_HEADER,
	CLI_OPENING,
	CLI_OPENED,
	CLI_CLOSED,
};

struct cli_session;

struct cli_link {
	struct cli_session *session;
	uint32_t handle;
	uint32_t remote_handle;
	char name[CLI_LINK_NAME];
	bool receiver;
	bool attached;		/* the peer's attach came, with a terminus */
	bool refused;		/* ... without: its detach will say why */
	bool detached;
	enum err err;		/* of the detach */
	char text[ERR_DETAIL_MAX];
	struct cli_link_events events;
	/* sender */
	uint32_t delivery_count;
	uint32_t credit;
	uint64_t max_message;
	/* receiver */
	uint32_t credit_goal;
	uint32_t received;	/* delivery count as we know it */
	uint32_t since_flow;
	bool partial;		/* more frames of a message are to come */
	bool unsettled;
	uint32_t delivery_id;
	struct str message;
};

struct cli_session {
	struct cli_client *client;
	uint16_t channel;
	uint16_t remote_channel;
	bool begun;
	bool ended;
	uint32_t next_outgoing;
	uint32_t next_delivery;
	uint32_t remote_window;		/* transfers we may still send */
	uint32_t next_incoming;
	uint32_t handle_max;
	struct cli_link *links[CLI_SESSION_LINKS];
	uint32_t n_links;		/* slots used, some may be NULL */
	struct cli_link *sender;	/* the one whose deliveries are unsettled */
};

/* A node that answers requests: $cbs or $management. */
struct cli_rpc {
	struct cli_link *sender;
	struct cli_link *receiver;
	uint64_t next_id;
	uint64_t waiting_id;
	bool waiting;
	bool replied;
	int64_t status;
	char text[ERR_DETAIL_MAX];
	struct str body;	/* encoded body section of the reply */
};

struct cli_client {
	uint32_t magic;
	struct net_dial *dial;
	enum cli_phase phase;
	enum err err;
	char text[ERR_DETAIL_MAX];
	bool sasl_failed;
	char host[256];
	char *resource;
	char *key_name;
	char *key;
	char *token;
	int timeout_ms;
	uint32_t max_frame;
	uint32_t remote_idle_ms;
	int64_t last_sent_ms;
	int64_t last_received_ms;
	int64_t renew_at_ms;	/* INT64_MAX: never */
	struct cli_session *sessions[CLI_SESSIONS_MAX];
	uint32_t n_sessions;
	uint32_t link_names;
	struct cli_rpc cbs;
	struct cli_rpc management;
	struct str out;
	uint8_t *in;
	size_t in_len;
};

/* Makes a client without a connection; tests feed it by hand. */
enum err cli_client_make(const struct cli_client_options *o, struct cli_client **out) MUST_CHECK;

/* Handles the whole frames at the start of the bytes read, moving the rest to the
 * front. Failures go to c->err. */
void cli_client_feed(struct cli_client *c, struct span bytes);
/* Remembers the first failure of the connection. */
void cli_client_fail(struct cli_client *c, enum err e, const char *fmt, ...) PRINTF(3, 4);
/* The error of our table whose AMQP condition the text begins with. */
enum err cli_condition_err(const char *text);

/* For how long a busy server asks to wait in its text, "... wait N seconds ...". */
int64_t cli_busy_wait_ms(const char *text);

/* Queues a flow with the session's numbers; link may be NULL. */
void cli_client_put_flow(struct cli_session *session, const struct cli_link *link);

/* Opens a link in a session with room; queued, not yet answered. ERR_NOMEM, ERR_LIMIT. */
enum err cli_link_new(struct cli_client *c, const struct cli_attach *a, uint32_t credit,
		      const struct cli_link_events *events, struct cli_link **out) MUST_CHECK;
/* Waits until the link is attached (and a sender has credit). */
enum err cli_link_wait(struct cli_link *link, struct err_detail *d) MUST_CHECK;
void cli_link_free(struct cli_link **link);

/* Pumps until *flag or the client's time-out. */
enum err cli_client_wait(struct cli_client *c, const bool *flag, const char *what,
			 struct err_detail *d) MUST_CHECK;

/* client_rpc.c: authorises; also queues a renewal when it is due. */
enum err cli_client_authorise(struct cli_client *c, struct err_detail *d) MUST_CHECK;
void cli_client_renew(struct cli_client *c);

#endif
