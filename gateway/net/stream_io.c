/* Bytes in and out of a stream's socket. */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/net/net_priv.h"

enum { IOV_MAX_PIECES = 32 };	/* 512 KiB of blocks in one call */

static enum err err_from_socket(int code)
{
	switch (code) {
	case ETIMEDOUT:
	case EHOSTUNREACH:
		return ERR_TIMEOUT;
	case ENOMEM:
	case ENOBUFS:
		return ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

/* ---- out -------------------------------------------------------------------- */

size_t net_stream_send(struct net_stream *s, const struct iovec *iov, int count)
{
	struct msghdr m = {0};
	/* sendmsg does not write through it. */
	m.msg_iov = (struct iovec *)(uintptr_t)iov;
	m.msg_iovlen = (size_t)count;
	ssize_t n;
	do {
		n = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0) {
		s->bytes_out += (uint64_t)n;
		return (size_t)n;
	}
	if (errno != EAGAIN && errno != EWOULDBLOCK) {
		net_stream_fail(s, err_from_socket(errno));
	}
	return 0;
}

/* Sends a queue until it is empty or the kernel has enough. */
static void send_queue(struct net_stream *s, struct net_queue *q)
{
	while (q->bytes > 0 && s->state != NET_DEAD) {
		struct iovec iov[IOV_MAX_PIECES];
		int count = net_queue_peek(q, iov, IOV_MAX_PIECES);
		size_t sum = 0;
		for (int i = 0; i < count; i++) {
			sum += iov[i].iov_len;
		}
		size_t n = net_stream_send(s, iov, count);
		net_queue_drop(q, &s->loop->pool, n);
		if (n < sum) {
			return;
		}
	}
}

/* The guard of an open stream watches its send queue: it is set anew each time
 * the kernel took something; so is that of a closing one, within a bound. */
static void guard_queue(struct net_stream *s, bool moved)
{
	if (s->state == NET_CLOSING && moved) {
		int64_t last = s->closing_at + s->loop->net->options.stall_ms;
		int64_t next = clock_mono_ms() + NET_DRAIN_MS;
		net_stream_guard(s, next < last ? next : last);
	}
	if (s->state != NET_OPEN) {
		return;
	}
	if (!s->blocked) {
		if (s->guard_at != INT64_MAX) {
			net_stream_guard(s, INT64_MAX);
		}
	} else if (moved || s->guard_at == INT64_MAX) {
		net_stream_guard(s, clock_mono_ms() + s->loop->net->options.stall_ms);
	}
}

void net_stream_push(struct net_stream *s)
{
	if (s->state == NET_DEAD || s->state == NET_LINGER || s->state == NET_NEW) {
		return;
	}
	net_list_remove(&s->dirty);
	uint64_t before = s->bytes_out;
	if (s->ssl != NULL) {
		send_queue(s, &s->wire);
		if (s->wire.bytes == 0 && s->state != NET_DEAD) {
			net_tls_push(s);
		}
	} else {
		send_queue(s, &s->out);
	}
	if (s->state == NET_CLOSING && net_stream_queued(s) == 0 && !s->shut) {
		s->shut = true;
		net_tls_shut(s);
	}
	if (s->state == NET_DEAD) {
		return;
	}
	size_t queued = net_stream_queued(s);
	s->blocked = queued > 0;
	guard_queue(s, s->bytes_out != before);
	if (s->was_high && queued < NET_QUEUE_LOW) {
		s->was_high = false;
		net_list_add(&s->loop->ready, &s->ready);
	}
	if (s->state == NET_CLOSING && queued == 0) {
		net_stream_finish(s);
	} else {
		net_stream_watch(s);
	}
}

/* ---- in ----------------------------------------------------------------------- */

void net_stream_received(struct net_stream *s, const uint8_t *p, size_t n)
{
	if (s->state == NET_OPEN && n > 0) {
		s->protocol->received(s->conn, p, n);
	}
}

void net_stream_peer_ended(struct net_stream *s)
{
	if (s->ended) {
		return;
	}
	s->ended = true;
	switch ((enum net_state)s->state) {
	case NET_HANDSHAKE:
		if (s->bytes_in == 0) {
			/* Port probes and health checks of load balancers. */
			log_debug("NET-TLS-NOTHING", "conn=%llu peer=%s",
				  (unsigned long long)s->id, s->peer);
		} else {
			net_tls_log_failure(s, "the client closed during the handshake");
		}
		net_stream_fail(s, ERR_EOF);
		break;
	case NET_OPEN:
		if (s->protocol->ended != NULL) {
			s->protocol->ended(s->conn);
		} else {
			net_stream_fail(s, ERR_EOF);
		}
		break;
	case NET_LINGER:
		net_stream_fail(s, s->reason);
		break;
	case NET_NEW:
	case NET_CLOSING:
	case NET_DEAD:
	case NET_STATE_COUNT:
		break;
	}
	net_stream_watch(s);
}

static void take(struct net_stream *s, const uint8_t *p, size_t n)
{
	if (s->state != NET_OPEN && s->state != NET_HANDSHAKE) {
		return;	/* closing: nobody wants it any more */
	}
	if (s->ssl != NULL) {
		net_tls_feed(s, p, n);
	} else {
		net_stream_received(s, p, n);
	}
}

static bool wants_read(const struct net_stream *s)
{
	return s->state != NET_DEAD && !s->paused && !s->ended;
}

static void read_some(struct net_stream *s)
{
	for (int i = 0; i < NET_READ_BUDGET && wants_read(s); i++) {
		ssize_t n = recv(s->fd, s->loop->in, NET_READ_BUFFER, MSG_DONTWAIT);
		if (n > 0) {
			if (s->state == NET_HANDSHAKE && s->bytes_in == 0) {
				s->first_byte = s->loop->in[0];
			}
			s->bytes_in += (uint64_t)n;
			take(s, s->loop->in, (size_t)n);
			if (n < NET_READ_BUFFER) {
				return;	/* most likely all there is */
			}
		} else if (n == 0) {
			net_stream_peer_ended(s);
		} else if (errno != EINTR) {
			if (errno != EAGAIN && errno != EWOULDBLOCK) {
				net_stream_fail(s, err_from_socket(errno));
			}
			return;
		}
	}
}

void net_stream_on_poll(uv_poll_t *poll, int status, int events)
{
	struct net_stream *s = poll->data;
	assert(s->magic == NET_STREAM_MAGIC);
	struct net_loop *loop = s->loop;
	if (status < 0) {
		/* An error is pending on the socket; libuv has stopped watching.
		 * What arrived before it is still worth reading. */
		s->watching = 0;
		read_some(s);
		net_stream_fail(s, ERR_IO);
	} else {
		if ((events & UV_WRITABLE) != 0) {
			net_stream_push(s);
		}
		if ((events & UV_READABLE) != 0) {
			read_some(s);
		}
	}
	net_loop_settle(loop);
}
