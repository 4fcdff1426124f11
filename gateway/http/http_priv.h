#ifndef GATEWAY_HTTP_HTTP_PRIV_H
#define GATEWAY_HTTP_HTTP_PRIV_H

/* Shared inside gateway/http only.
 *
 * Objects: a `http_conn` (front.c) is one client connection on its net loop; a
 * `http_peer` (daemon.c) is the same connection as libmicrohttpd's thread sees
 * it, with what that thread remembers of its credentials (`http_session`); a
 * `http_request` (request.c) lives from the head to the end of the answer; a
 * `http_wait` (wait.c) is a suspended request's tie to an operation of the core,
 * which may outlive it. */

#include <stdatomic.h>

#include "base/lock.h"
#include "base/mailbox.h"
#include "gateway/http/http.h"
#include "gateway/http/path.h"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

enum {
	HTTP_FRONT_MAGIC = 0x48545401,
	HTTP_CONN_MAGIC = 0x48545402,
	HTTP_PEER_MAGIC = 0x48545403,
	HTTP_REQUEST_MAGIC = 0x48545404,

	HTTP_PEER_TEXT = 64,		/* a stream's peer text has 56 at most */
	HTTP_POOL_BYTES = 32 << 10,	/* libmicrohttpd's memory per connection: a head and an answer */
	/* A refused request's body is read to its end, and the connection kept,
	 * when it is no longer than this; else the connection ends. */
	HTTP_DISCARD_MAX = 64 << 10,
	/* The same for a chunked body whose size is known only at its end. */
	HTTP_DISCARD_CHUNKED_MAX = 4 << 20,
	HTTP_BODY_FIRST = 64 << 10,	/* reserved before the first byte of a long body */
	HTTP_MANAGE_BODY_MAX = 64 << 10,
	HTTP_BODY_TIME_MS = 120000,	/* a body has arrived by then */
	/* What Event Hubs asks for (event-hubs "8.3"), where nothing better is known. */
	HTTP_RETRY_AFTER_S = 4,
	HTTP_STOP_GRACE_MS = 3000,	/* requests under way may end by themselves */
};

/* Which port a connection came to. */
enum http_door { HTTP_DOOR_MAIN = 1, HTTP_DOOR_METRICS = 2 };

enum http_method {
	HTTP_GET = 1,	/* and HEAD */
	HTTP_POST = 2,
	HTTP_PUT = 4,
	HTTP_PATCH = 8,
	HTTP_DELETE = 16,
};

struct http_front {
	uint32_t magic;
	struct core *core;
	struct groups *groups;
	uint64_t max_body_bytes;
	uint64_t node_id;
	struct MHD_Daemon *daemon;
	struct MHD_Response *created;	/* 201 without a body, shared by all requests */
	atomic_bool ready;
	atomic_bool closing;		/* answers carry "Connection: close" */

	/* wait.c */
	struct mailbox mailbox;		/* completions; owner: the http thread */
	pthread_t thread;
	bool thread_started;
	struct msg wake;
	struct lock lock;		/* a leaf */
	struct cond idle;		/* nothing is waiting or being resumed */
	struct http_wait *waiting;	/* under lock */
	size_t outstanding;		/* under lock: waits whose operation has not come back */
	unsigned resuming;		/* under lock: taken out of `waiting`, not resumed yet */
	bool closed;			/* under lock: no request may be suspended any more */
	bool wake_posted;		/* under lock */
};

/* ---- from the stream to libmicrohttpd ----------------------------------- */

/* What libmicrohttpd's side knows of a connection; travels as its "address". */
struct http_origin {
	unsigned short family;	/* AF_UNIX: it begins as a struct sockaddr */
	enum http_door door;
	uint64_t stream_id;
	struct net_loop *loop;	/* only its mailbox is used */
	char peer[HTTP_PEER_TEXT];
};

/* daemon.c; any thread. Takes fd, also on failure: ERR_BUSY. */
enum err http_daemon_add(struct http_front *f, int fd, const struct http_origin *origin) MUST_CHECK;
/* front.c; any thread: this connection has authorised itself. */
void http_conn_authorised(const struct http_origin *origin);

/* ---- requests: the libmicrohttpd thread of their connection ---------------- */

/* The last credentials that were good for a send on this connection, and what
 * they were good for. Good again only while the catalogue is the same. */
struct http_session {
	struct str authorization;
	struct str target;
	uint64_t version;
	int64_t expires_ms;
	struct core_address address;
	struct core_sender *sender;
};

struct http_peer {
	uint32_t magic;
	struct http_front *front;
	struct http_origin origin;
	bool authorised;
	struct throttle_flow *flow;	/* NULL until the first send */
	struct http_session *session;	/* NULL until the first send */
};

enum http_state {
	HTTP_READING,	/* the body is collected */
	HTTP_REFUSED,	/* the body is thrown away */
	HTTP_WAITING,	/* suspended */
	HTTP_RESUMED,	/* the operation came back: `outcome` */
};

/* Why a request fails; nothing yet while err is ERR_OK. */
struct http_failure {
	enum err err;
	int status;		/* 0: that of err */
	const char *code;	/* NULL: that of err; static */
	unsigned allow;		/* of enum http_method, for 405 */
	uint32_t retry_after_s;	/* it is refused for so long; 0: for no time that is known */
	struct err_detail d;
};

struct http_route;

struct http_request {
	uint32_t magic;
	struct http_front *front;
	struct http_peer *peer;
	struct MHD_Connection *conn;
	const struct http_route *route;	/* NULL: no such path */
	const char *method;		/* these two: libmicrohttpd's, for the request's life */
	const char *path;		/* escaped, without the query */
	struct http_params params;
	char hub[LIMIT_HUB_NAME + 1];	/* management: decoded */
	bool can_manage;		/* the grant has Manage on what the path names */
	enum http_state state;
	bool is_chunked;
	bool in_counted;	/* the core has counted it as received */
	bool out_counted;	/* ... and what became of it */
	int64_t deadline_ms;	/* the body has arrived by then */
	uint64_t discarded;
	uint8_t *body;
	size_t body_len;
	size_t body_cap;
	size_t body_length;	/* announced; 0 when chunked */
	enum err outcome;	/* of what was waited for; detail in failure.d */
	struct http_failure failure;
	int status;		/* of the answer */
	const char *content_type;
	struct str reply;
};

/* What a path wants of the credentials. */
enum http_scope {
	HTTP_OPEN,	/* nothing */
	HTTP_SENDER,	/* Send on the addressed hub, partition or publisher */
	HTTP_NAMESPACE,
	HTTP_HUB,	/* the hub that is the first parameter */
};

/* Where a request is counted. */
enum http_account {
	HTTP_UNCOUNTED,
	HTTP_COUNTED,	/* a request in the metrics */
	HTTP_MANAGED,	/* the same, and a call in the rate of management calls */
};

struct http_route {
	const char *pattern;
	enum http_method method;
	unsigned doors;		/* of enum http_door */
	enum http_scope scope;
	unsigned rights;	/* of enum auth_right: one of them is enough */
	enum http_account account;
	size_t body_max;	/* 0: none is taken; SIZE_MAX: the front's maximum */
	/* The request is complete. True: the reply is set or it has failed. False:
	 * it was suspended (http_wait_begin), and is not to be touched. */
	bool (*handle)(struct http_request *r);
	/* What was waited for has come back; NULL where nothing is waited for. */
	void (*finish)(struct http_request *r);
};

/* routes.c. ERR_NOT_FOUND; ERR_NOT_ALLOWED with *allow. */
enum err http_route_find(struct span path, const char *method, enum http_door door,
			 const struct http_route **out, struct http_params *params,
			 unsigned *allow) MUST_CHECK;

/* request.c */
/* Memory for what clients send, out of the core's budget. Any thread. */
bool http_reserve(struct core *c, size_t n) MUST_CHECK;
void http_give_back(struct core *c, size_t n);
/* Gives back the body's memory and what it held of the budget. */
void http_request_drop_body(struct http_request *r);
const char *http_request_header(const struct http_request *r, const char *name);
const char *http_request_query(const struct http_request *r, const char *name);
void http_request_reply(struct http_request *r, int status);	/* JSON in r->reply */

/* error.c */
/* Fails the request unless it has failed already. */
void http_fail(struct http_request *r, enum err e, const char *fmt, ...) PRINTF(3, 4);
void http_fail_as(struct http_request *r, int status, const char *code, enum err e,
		  const char *fmt, ...) PRINTF(5, 6);
static inline bool http_has_failed(const struct http_request *r)
{
	return r->failure.err != ERR_OK;
}
/* Queues the answer for a failed request, logs and counts it. False: the
 * connection must end. */
bool http_answer_failure(struct http_request *r);
/* The body of an error answer. `code` NULL: that of e. */
void http_error_body(struct core *c, enum err e, const char *code, const char *detail,
		     const char *entity, char tracking[33], struct str *out);

/* Whole seconds after which to come again, at least 1. */
static inline uint32_t http_retry_after_s(uint32_t wait_ms)
{
	return wait_ms == 0 ? 1 : wait_ms / 1000 + (wait_ms % 1000 != 0);
}

/* authorise.c. On failure the request has failed. */
void http_authorise(struct http_request *r);
void http_session_free(struct http_session **s);

/* send.c, health.c, manage.c, manage_policy.c ...: members of routes. */
bool http_send(struct http_request *r);
void http_send_finish(struct http_request *r);
bool http_health_live(struct http_request *r);
bool http_health_ready(struct http_request *r);
bool http_health_emulator(struct http_request *r);
bool http_metrics(struct http_request *r);
bool http_openapi(struct http_request *r);
bool http_info(struct http_request *r);
bool http_hub_list(struct http_request *r);
bool http_hub_show(struct http_request *r);
bool http_hub_create(struct http_request *r);
void http_hub_created(struct http_request *r);
bool http_hub_update(struct http_request *r);
void http_hub_updated(struct http_request *r);
bool http_hub_delete(struct http_request *r);
bool http_group_list(struct http_request *r);
bool http_group_create(struct http_request *r);
void http_group_created(struct http_request *r);
bool http_group_delete(struct http_request *r);
bool http_group_show(struct http_request *r);		/* manage_groups.c */
bool http_groups_list(struct http_request *r);
bool http_groups_show(struct http_request *r);
bool http_groups_delete(struct http_request *r);
void http_groups_found(struct http_request *r);	/* 200 with what was found */
bool http_policy_list(struct http_request *r);
bool http_policy_show(struct http_request *r);
bool http_policy_create(struct http_request *r);
void http_policy_created(struct http_request *r);
bool http_policy_rotate(struct http_request *r);
void http_policy_rotated(struct http_request *r);
bool http_policy_delete(struct http_request *r);
void http_deleted(struct http_request *r);	/* 204 */
bool http_units_show(struct http_request *r);		/* manage_units.c */
bool http_units_set(struct http_request *r);
void http_units_done(struct http_request *r);
bool http_limits_list(struct http_request *r);
bool http_limit_set(struct http_request *r);
void http_limit_done(struct http_request *r);
bool http_limit_delete(struct http_request *r);
bool http_backup_begin(struct http_request *r);		/* manage_backup.c */
void http_backup_begun(struct http_request *r);
bool http_backup_renew(struct http_request *r);
bool http_backup_end(struct http_request *r);

/* ---- waiting --------------------------------------------------------------- */

/* Embedded in an operation. Private to wait.c but for its address. */
struct http_wait {
	struct http_front *front;
	struct http_request *request;	/* under lock; NULL: it was answered without us */
	struct http_wait *prev;		/* under lock */
	struct http_wait *next;
	int64_t deadline_ns;
};

/* wait.c */
enum err http_wait_start(struct http_front *f) MUST_CHECK;
/* Answers every suspended request (first as its operation ends, after a grace
 * period with ERR_STOPPING); none is suspended from then on. */
void http_wait_close(struct http_front *f);
/* After libmicrohttpd has stopped: waits for operations still out. */
void http_wait_stop(struct http_front *f);
/* On the request's thread: suspends it; the request is then to be left alone.
 * False: the server stops, the request answers that, and the operation must not
 * be started. */
bool http_wait_begin(struct http_wait *w, struct http_request *r, int64_t deadline_ns) MUST_CHECK;
/* The operation has come back or was not taken: resumes its request, unless that
 * was answered meanwhile. `detail` may be NULL. Any thread; once per begin. The
 * caller frees the operation. */
void http_wait_end(struct http_wait *w, enum err outcome, const char *detail);
/* The same for one that was refused for a time; 0: for none that is known. */
void http_wait_end_refused(struct http_wait *w, enum err outcome, const char *detail,
			   uint32_t retry_after_s);
/* As http_wait_end; the request, if it still waits, gets `reply` as its own. */
void http_wait_end_reply(struct http_wait *w, enum err outcome, const char *detail,
			 struct str *reply);

/* command.c: sends a catalogue command and waits: what `handle` returns.
 * route->finish sees the outcome. */
struct catalog_command;
bool http_command(struct http_request *r, const struct catalog_command *cmd);
/* Fails the request with its outcome. True when there is nothing to fail. */
bool http_outcome_ok(struct http_request *r);

#endif
