/* A stream's life: begin, states, deadlines, end; and what protocols ask of it. */

#include "gateway/net/stream.h"

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/net/net_priv.h"

/* Which states may follow. */
static const uint8_t next_states[NET_STATE_COUNT] = {
	[NET_NEW] = 1 << NET_HANDSHAKE | 1 << NET_OPEN | 1 << NET_CLOSING | 1 << NET_DEAD,
	[NET_HANDSHAKE] = 1 << NET_OPEN | 1 << NET_LINGER | 1 << NET_DEAD,
	[NET_OPEN] = 1 << NET_CLOSING | 1 << NET_LINGER | 1 << NET_DEAD,
	[NET_CLOSING] = 1 << NET_LINGER | 1 << NET_DEAD,
	[NET_LINGER] = 1 << NET_DEAD,
	[NET_DEAD] = 0,
};

void net_stream_move(struct net_stream *s, enum net_state to)
{
	assert((next_states[s->state] & 1 << to) != 0);
	s->state = (uint8_t)to;
}

static void assert_here(const struct net_stream *s)
{
	assert(s->magic == NET_STREAM_MAGIC);
	assert(net_loop_here() == s->loop);
}

const char *net_protocol_name(const struct net_protocol *p)
{
	return p->name != NULL ? p->name : "?";
}

/* ---- deadlines ---------------------------------------------------------- */

static void arm(struct net_stream *s)
{
	int64_t due = s->tick_at < s->guard_at ? s->tick_at : s->guard_at;
	wheel_set(&s->loop->wheel, &s->deadline, due);
}

void net_stream_guard(struct net_stream *s, int64_t at_ms)
{
	s->guard_at = at_ms;
	arm(s);
}

void net_stream_tick_at(struct net_stream *s, int64_t at_ms)
{
	assert_here(s);
	s->tick_at = at_ms;
	if (s->state != NET_DEAD) {
		arm(s);
	}
}

static void guard_expired(struct net_stream *s)
{
	if (s->state == NET_HANDSHAKE) {
		char reason[64];
		snprintf(reason, sizeof reason, "handshake not finished within %d ms",
			 s->loop->net->options.handshake_timeout_ms);
		net_tls_log_failure(s, reason);
	} else if (s->state == NET_OPEN) {
		log_info("NET-STALLED", "conn=%llu peer=%s queued=%zu ms=%d",
			 (unsigned long long)s->id, s->peer, net_stream_queued(s),
			 s->loop->net->options.stall_ms);
	}
	net_stream_fail(s, ERR_TIMEOUT);
}

void net_stream_deadline(struct wheel_node *node, int64_t now_ms)
{
	struct net_stream *s = container_of(node, struct net_stream, deadline);
	assert(s->magic == NET_STREAM_MAGIC);
	if (now_ms >= s->guard_at) {
		s->guard_at = INT64_MAX;
		guard_expired(s);
		return;
	}
	if (now_ms >= s->tick_at) {
		s->tick_at = INT64_MAX;
		if (s->state == NET_OPEN && s->protocol->tick != NULL) {
			s->protocol->tick(s->conn, now_ms);
		}
	}
	if (s->state != NET_DEAD) {
		arm(s);
	}
}

/* ---- beginning ------------------------------------------------------------ */

static void name_peer(struct net_stream *s)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[NI_MAXHOST];
	char port[NI_MAXSERV];
	if (getpeername(s->fd, (struct sockaddr *)&ss, &len) != 0 ||
	    (ss.ss_family != AF_INET && ss.ss_family != AF_INET6) ||
	    getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		snprintf(s->peer, sizeof s->peer, "local");
		return;
	}
	bool v6 = strchr(host, ':') != NULL;
	snprintf(s->peer, sizeof s->peer, "%s%.45s%s:%.5s", v6 ? "[" : "", host, v6 ? "]" : "",
		 port);
}

struct net_stream *net_stream_create(struct net_loop *loop, int fd,
				     const struct net_protocol *protocol, void *ctx)
{
	struct net_stream *s = MEM_NEW(struct net_stream);
	if (s == NULL) {
		return NULL;
	}
	s->magic = NET_STREAM_MAGIC;
	s->loop = loop;
	s->fd = fd;
	s->protocol = protocol;
	s->ctx = ctx;
	s->id = atomic_fetch_add(&loop->net->next_id, 1) + 1;
	s->tick_at = INT64_MAX;
	s->guard_at = INT64_MAX;
	name_peer(s);
	return s;
}

/* What a stream holds outside its loop. */
static void give_back(struct net_stream *s)
{
	struct net *net = s->loop->net;
	net_addresses_give(&net->addresses, &s->address);
	if (s->count == NET_COUNT_CLIENT) {
		atomic_fetch_sub(&s->loop->load, 1);
		metric_inc(METRIC_CONNECTIONS_CLOSED);
		metric_add(METRIC_CONNECTIONS_ACTIVE, -1);
	}
}

void net_stream_discard(struct net_stream *s)
{
	struct net *net = s->loop->net;
	enum net_count count = (enum net_count)s->count;
	give_back(s);
	close(s->fd);
	s->magic = 0;
	mem_free(s);
	net_stream_uncount(net, count);
}

static bool prepare(struct net_stream *s)
{
	if (s->loop->killing || uv_poll_init(&s->loop->uv, &s->poll, s->fd) != 0) {
		return false;
	}
	s->uv_ready = true;
	s->poll.data = s;
	net_loop_add(s->loop, s);
	return true;
}

void net_stream_start(struct net_stream *s)
{
	struct net_loop *loop = s->loop;
	/* Accepted while the stop was already on its way. */
	if (loop->stopping || !prepare(s)) {
		net_stream_discard(s);
		return;
	}
	if (s->tls == NULL) {
		net_list_add(&loop->fresh, &s->state_link);
		return;
	}
	enum err e = net_tls_attach(s);
	if (e != ERR_OK) {
		net_tls_log_failure(s, err_text(e));
		net_stream_fail(s, e);
		return;
	}
	net_stream_move(s, NET_HANDSHAKE);
	net_stream_guard(s, clock_mono_ms() + loop->net->options.handshake_timeout_ms);
	net_stream_watch(s);
}

enum err net_stream_adopt(struct net_loop *loop, int fd, const struct net_protocol *protocol,
			  void *ctx, struct net_stream **out)
{
	assert(loop->magic == NET_LOOP_MAGIC);
	assert(net_loop_here() == loop);
	if (loop->killing) {
		return ERR_STOPPING;
	}
	struct net_stream *s = net_stream_create(loop, fd, protocol, ctx);
	if (s == NULL) {
		return ERR_NOMEM;
	}
	if (!prepare(s)) {
		s->magic = 0;
		mem_free(s);
		return ERR_IO;
	}
	enum err e = net_stream_count(loop->net, NET_COUNT_NONE);
	assert(e == ERR_OK);	/* not counted against the limit */
	(void)e;
	net_list_add(&loop->fresh, &s->state_link);
	*out = s;
	return ERR_OK;
}

void net_stream_open(struct net_stream *s)
{
	if (s->state == NET_DEAD) {
		return;
	}
	bool closing = s->state == NET_CLOSING;
	if (!closing) {
		net_stream_move(s, NET_OPEN);
		net_stream_guard(s, INT64_MAX);
	}
	log_debug("NET-OPENED", "conn=%llu peer=%s protocol=%s tls=%s", (unsigned long long)s->id,
		  s->peer, net_protocol_name(s->protocol),
		  s->ssl != NULL ? SSL_get_version(s->ssl) : "none");
	enum err e = s->protocol->opened(s->ctx, s, &s->conn);
	if (e != ERR_OK) {
		net_stream_fail(s, e);
		return;
	}
	s->announced = true;
	net_stream_watch(s);
}

/* ---- the end ------------------------------------------------------------------ */

void net_stream_fail(struct net_stream *s, enum err reason)
{
	if (s->state == NET_DEAD) {
		return;
	}
	if (s->state != NET_LINGER) {
		s->reason = reason;	/* lingering, the reason stands already */
	}
	if (s->state == NET_NEW) {
		net_list_remove(&s->state_link);
	}
	net_stream_move(s, NET_DEAD);
	net_list_add(&s->loop->dead, &s->state_link);
}

void net_stream_finish(struct net_stream *s)
{
	if (s->ended || shutdown(s->fd, SHUT_WR) != 0) {
		net_stream_fail(s, s->reason);
		return;
	}
	net_stream_move(s, NET_LINGER);
	s->blocked = false;
	s->paused = false;
	net_stream_guard(s, clock_mono_ms() + NET_LINGER_MS);
	net_stream_watch(s);
	net_list_add(&s->loop->dead, &s->state_link);
}

void net_stream_announce_end(struct net_stream *s)
{
	net_list_remove(&s->ready);
	net_loop_remove_id(s->loop, s);
	if (s->announced) {
		s->announced = false;
		log_debug("NET-CLOSED", "conn=%llu peer=%s reason=%s in=%llu out=%llu",
			  (unsigned long long)s->id, s->peer, err_info(s->reason)->name,
			  (unsigned long long)s->bytes_in, (unsigned long long)s->bytes_out);
		s->protocol->closed(s->conn, s->reason);
		s->conn = NULL;
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct net_stream *s = handle->data;
	struct net *net = s->loop->net;
	enum net_count count = (enum net_count)s->count;
	s->magic = 0;
	mem_free(s);
	net_stream_uncount(net, count);
}

void net_stream_destroy(struct net_stream *s)
{
	assert(s->state == NET_DEAD);
	assert(!s->announced);
	net_list_remove(&s->all);
	net_list_remove(&s->state_link);
	net_list_remove(&s->dirty);
	net_list_remove(&s->ready);
	wheel_remove(&s->deadline);
	net_queue_drop(&s->out, &s->loop->pool, s->out.bytes);
	net_queue_drop(&s->wire, &s->loop->pool, s->wire.bytes);
	SSL_free(s->ssl);
	mem_free(s->peer_name);
	give_back(s);
	uv_close((uv_handle_t *)&s->poll, on_closed);
	close(s->fd);	/* uv_close has taken it out of the poll set */
}

void net_stream_watch(struct net_stream *s)
{
	if (s->state == NET_DEAD) {
		return;
	}
	int want = s->blocked ? UV_WRITABLE : 0;
	if (!s->paused && !s->ended) {
		want |= UV_READABLE;
	}
	if (want == s->watching) {
		return;
	}
	s->watching = (uint8_t)want;
	if (want == 0) {
		uv_poll_stop(&s->poll);
	} else {
		uv_poll_start(&s->poll, want, net_stream_on_poll);
	}
}

/* ---- what protocols ask -------------------------------------------------------- */

uint64_t net_stream_id(const struct net_stream *s)
{
	return s->id;
}

struct net_loop *net_stream_loop(const struct net_stream *s)
{
	return s->loop;
}

void *net_stream_conn(const struct net_stream *s)
{
	return s->conn;
}

const char *net_stream_peer(const struct net_stream *s)
{
	return s->peer;
}

bool net_stream_is_tls(const struct net_stream *s)
{
	return s->ssl != NULL;
}

const char *net_stream_peer_name(const struct net_stream *s)
{
	return s->peer_name;
}

bool net_stream_is_surplus(const struct net_stream *s)
{
	return s->count == NET_COUNT_SURPLUS;
}

int net_stream_max_connections(const struct net_stream *s)
{
	return s->loop->net->options.max_connections;
}

size_t net_stream_queued(const struct net_stream *s)
{
	return s->out.bytes + s->wire.bytes;
}

/* Fewer bytes are cheaper to copy than to refer to. */
enum { COPY_BELOW = 4 << 10 };

/* `b` NULL: the bytes are copied. */
static enum err stream_write(struct net_stream *s, struct buf *b, const void *p, size_t n)
{
	assert_here(s);
	if (s->state != NET_OPEN && s->state != NET_NEW) {
		return ERR_EOF;
	}
	if (n == 0) {
		return ERR_OK;
	}
	if (n > NET_QUEUE_MAX || net_stream_queued(s) > NET_QUEUE_MAX - n) {
		log_warn("NET-QUEUE-FULL", "conn=%llu peer=%s queued=%zu", (unsigned long long)s->id,
			 s->peer, net_stream_queued(s));
		net_stream_fail(s, ERR_LIMIT);
		return ERR_LIMIT;
	}
	enum err e = b != NULL && n >= COPY_BELOW
			     ? net_queue_put_buf(&s->out, b, p, (uint32_t)n)
			     : net_queue_put(&s->out, &s->loop->pool, p, n);
	if (e != ERR_OK) {
		return e;
	}
	if (net_stream_queued(s) >= NET_QUEUE_HIGH) {
		s->was_high = true;
	}
	if (!s->blocked) {
		net_list_add(&s->loop->dirty, &s->dirty);
	}
	return ERR_OK;
}

enum err net_stream_write(struct net_stream *s, const void *p, size_t n)
{
	return stream_write(s, NULL, p, n);
}

enum err net_stream_write_buf(struct net_stream *s, struct buf *b, const void *p, size_t n)
{
	return stream_write(s, b, p, n);
}

void net_stream_flush(struct net_stream *s)
{
	assert_here(s);
	if (s->state == NET_OPEN && net_stream_queued(s) > 0) {
		net_stream_push(s);
	}
}

void net_stream_pause(struct net_stream *s)
{
	assert_here(s);
	s->paused = true;
	if (s->state == NET_OPEN) {
		net_stream_watch(s);
	}
}

void net_stream_resume(struct net_stream *s)
{
	assert_here(s);
	s->paused = false;
	if (s->state == NET_OPEN) {
		net_stream_watch(s);
	}
}

void net_stream_close(struct net_stream *s)
{
	assert_here(s);
	if (s->state == NET_NEW || s->state == NET_OPEN) {
		bool fresh = s->state == NET_NEW;
		net_stream_move(s, NET_CLOSING);
		s->paused = false;
		s->closing_at = clock_mono_ms();
		net_stream_guard(s, s->closing_at + NET_DRAIN_MS);
		if (!fresh) {
			net_stream_watch(s);
		}
		net_list_add(&s->loop->dirty, &s->dirty);
	}
}

void net_stream_abort(struct net_stream *s)
{
	assert_here(s);
	net_stream_fail(s, ERR_OK);
}

void net_stream_authorised(struct net_stream *s)
{
	assert_here(s);
	net_addresses_give(&s->loop->net->addresses, &s->address);
}
