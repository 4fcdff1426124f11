/* The front's life, and libmicrohttpd: a daemon without a listener whose
 * connections are socket pairs to our streams. */

#include <assert.h>
#include <microhttpd.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/request.h"

enum {
	CONNECTIONS_MAX = 1 << 20,	/* the streams' own limit is the one that counts */
	THREADS_MAX = 64,
};

_Static_assert(sizeof(sa_family_t) == sizeof(unsigned short), "origin begins as a sockaddr");

/* ---- connections as libmicrohttpd sees them ------------------------------------ */

static void peer_open(struct http_front *f, struct MHD_Connection *conn, void **out)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct http_peer *peer = info != NULL ? MEM_NEW(struct http_peer) : NULL;
	if (peer == NULL) {
		return;	/* its requests are refused */
	}
	peer->magic = HTTP_PEER_MAGIC;
	peer->front = f;
	memcpy(&peer->origin, info->client_addr, sizeof peer->origin);
	*out = peer;
}

static void peer_close(void **at)
{
	struct http_peer *peer = *at;
	*at = NULL;
	if (peer != NULL) {
		assert(peer->magic == HTTP_PEER_MAGIC);
		http_session_free(&peer->session);
		if (peer->flow != NULL) {
			core_flow_close(&peer->flow);
		}
		peer->magic = 0;
		mem_free(peer);
	}
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		peer_open(cls, conn, socket_context);
	} else {
		peer_close(socket_context);
	}
}

enum err http_daemon_add(struct http_front *f, int fd, const struct http_origin *origin)
{
	assert(f->magic == HTTP_FRONT_MAGIC);
	/* It is copied as so many bytes. */
	const struct sockaddr *address = (const struct sockaddr *)(const void *)origin;
	if (MHD_add_connection(f->daemon, fd, address, sizeof *origin) != MHD_YES) {
		return ERR_BUSY;
	}
	return ERR_OK;
}

/* ---- the daemon ------------------------------------------------------------------- */

/* Paths and queries stay escaped: %2F is not '/'. */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *text)
{
	(void)cls;
	(void)conn;
	return strlen(text);
}

static enum err start_daemon(struct http_front *f, const struct http_options *o,
			     struct err_detail *d)
{
	unsigned threads = o->threads == 0 ? 1 : o->threads > THREADS_MAX ? THREADS_MAX : o->threads;
	unsigned idle_s = (o->idle_timeout_ms + 999) / 1000;
	const struct MHD_OptionItem pool[] = {
		/* A pool of one is refused by the library: it is the plain form. */
		{threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
		{MHD_OPTION_END, 0, NULL},
	};
	/* Its threads inherit the mask: signals are the main thread's. */
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	f->daemon = MHD_start_daemon(
		MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC | MHD_USE_EPOLL_INTERNAL_THREAD |
			MHD_ALLOW_SUSPEND_RESUME,
		0, NULL, NULL, http_request_on, f,
		MHD_OPTION_NOTIFY_COMPLETED, http_request_on_end, f,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, f,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
		MHD_OPTION_ARRAY, pool, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return f->daemon != NULL ? ERR_OK : err_set(d, ERR_NOMEM, "libmicrohttpd does not start");
}

static enum err make_created(struct http_front *f)
{
	f->created = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	if (f->created == NULL ||
	    MHD_add_response_header(f->created, "Content-Type", "application/xml; charset=utf-8") !=
		    MHD_YES) {
		return ERR_NOMEM;
	}
	return ERR_OK;
}

enum err http_front_new(const struct http_options *o, struct http_front **out,
			struct err_detail *d)
{
	struct http_front *f = MEM_NEW(struct http_front);
	if (f == NULL) {
		return err_set(d, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	}
	f->magic = HTTP_FRONT_MAGIC;
	f->core = o->core;
	f->groups = o->groups;
	f->max_body_bytes = o->max_body_bytes != 0 ? o->max_body_bytes : LIMIT_MESSAGE;
	f->node_id = o->node_id != 0 ? o->node_id : 1;
	enum err e = http_wait_start(f);
	if (e == ERR_OK) {
		e = make_created(f);
	}
	if (e == ERR_OK) {
		e = start_daemon(f, o, d);
	}
	if (e != ERR_OK) {
		http_front_free(&f);
		return err_set(d, e, "cannot start the HTTP front end: %s", err_text(e));
	}
	*out = f;
	return ERR_OK;
}

void http_front_free(struct http_front **at)
{
	struct http_front *f = *at;
	*at = NULL;
	if (f == NULL) {
		return;
	}
	assert(f->magic == HTTP_FRONT_MAGIC);
	http_front_set_ready(f, false);
	atomic_store(&f->closing, true);
	http_wait_close(f);
	if (f->daemon != NULL) {
		MHD_stop_daemon(f->daemon);
	}
	http_wait_stop(f);
	if (f->created != NULL) {
		MHD_destroy_response(f->created);
	}
	f->magic = 0;
	mem_free(f);
}

void http_front_set_ready(struct http_front *f, bool ready)
{
	bool was = atomic_exchange(&f->ready, ready);
	if (was && !ready) {
		atomic_store(&f->closing, true);
	}
}
