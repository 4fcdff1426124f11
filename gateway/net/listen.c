/* Listeners: binding, accepting on loop 0, handing over to the loop with the
 * fewest connections. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/net/net_priv.h"

enum {
	BACKLOG = 4096,			/* the kernel cuts it to net.core.somaxconn */
	RATE_MS = 1000,
	/* Finds peers that vanished without a word on otherwise silent connections. */
	KEEPALIVE_IDLE_S = 120,
	KEEPALIVE_INTERVAL_S = 30,
	KEEPALIVE_COUNT = 4,
};

bool net_rate_ok(struct net_rate *r, int64_t now_ms, long *dropped)
{
	if (r->last_ms != 0 && now_ms - r->last_ms < RATE_MS) {
		r->dropped++;
		return false;
	}
	*dropped = r->dropped;
	r->dropped = 0;
	r->last_ms = now_ms;
	return true;
}

/* ---- binding ---------------------------------------------------------------- */

/* "HOST:PORT", "[V6]:PORT" or ":PORT" into its halves. */
static bool split_address(const char *address, char host[256], char port[8])
{
	const char *colon = strrchr(address, ':');
	if (colon == NULL || strlen(colon + 1) == 0 || strlen(colon + 1) > 5 ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    strtol(colon + 1, NULL, 10) > 65535) {
		return false;
	}
	snprintf(port, 8, "%s", colon + 1);
	const char *start = address;
	size_t n = (size_t)(colon - address);
	if (n >= 2 && start[0] == '[' && start[n - 1] == ']') {
		start++;
		n -= 2;
	} else if (memchr(start, ':', n) != NULL) {
		return false;	/* an IPv6 address without brackets */
	}
	if (n >= 256) {
		return false;
	}
	memcpy(host, start, n);
	host[n] = '\0';
	return true;
}

static enum err bind_error(struct err_detail *d, const char *address, int code)
{
	switch (code) {
	case EADDRINUSE:
		return err_set(d, ERR_IN_USE,
			       "cannot listen on %s: another program uses this port; stop it or "
			       "choose another port", address);
	case EACCES:
		return err_set(d, ERR_FORBIDDEN,
			       "cannot listen on %s: ports below 1024 need the right to bind them "
			       "(CAP_NET_BIND_SERVICE)", address);
	case EADDRNOTAVAIL:
		return err_set(d, ERR_INVALID, "cannot listen on %s: this machine has no such address",
			       address);
	default:
		return err_set(d, ERR_IO, "cannot listen on %s: %s", address, strerror(code));
	}
}

static enum err open_socket(const struct addrinfo *ai, const char *address, int *out,
			    struct err_detail *d)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return bind_error(d, address, errno);
	}
	int one = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		enum err e = bind_error(d, address, errno);
		close(fd);
		return e;
	}
	*out = fd;
	return ERR_OK;
}

static void name_bound(int fd, char bound[64])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[NI_MAXHOST] = "?";
	char port[NI_MAXSERV] = "0";
	if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) {
		getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
			    NI_NUMERICHOST | NI_NUMERICSERV);
	}
	bool v6 = strchr(host, ':') != NULL;
	snprintf(bound, 64, "%s%.50s%s:%.5s", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

enum err net_listen(struct net *net, const struct net_listen_options *o, char bound[64],
		    struct err_detail *d)
{
	assert(net->magic == NET_MAGIC);
	char host[256];
	char port[8];
	if (net->started || net->listener_count >= NET_LISTENERS_MAX) {
		return err_set(d, ERR_LIMIT, "cannot listen on %s: %s", o->address,
			       net->started ? "the server runs already" : "too many listeners");
	}
	if (!split_address(o->address, host, port)) {
		return err_set(d, ERR_INVALID,
			       "listen address \"%.100s\" is not HOST:PORT or [IPv6]:PORT", o->address);
	}
	struct addrinfo hints = {0};
	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
	struct addrinfo *ai = NULL;
	int r = getaddrinfo(host[0] != '\0' ? host : "0.0.0.0", port, &hints, &ai);
	if (r != 0) {
		return err_set(d, ERR_INVALID, "cannot listen on %.100s: %s", o->address,
			       gai_strerror(r));
	}
	struct net_listener *l = &net->listeners[net->listener_count];
	enum err e = open_socket(ai, o->address, &l->fd, d);
	freeaddrinfo(ai);
	if (e != ERR_OK) {
		return e;
	}
	l->net = net;
	l->protocol = o->protocol;
	l->ctx = o->ctx;
	l->tls = o->tls;
	name_bound(l->fd, l->bound);
	net->listener_count++;
	snprintf(bound, 64, "%s", l->bound);
	return ERR_OK;
}

/* ---- accepting ---------------------------------------------------------------- */

static struct net_loop *pick_loop(struct net *net)
{
	struct net_loop *best = net->loops[0];
	int least = atomic_load(&best->load);
	for (int i = 1; i < net->loop_count; i++) {
		int load = atomic_load(&net->loops[i]->load);
		if (load < least) {
			least = load;
			best = net->loops[i];
		}
	}
	return best;
}

static void set_options(int fd)
{
	int one = 1;
	int idle = KEEPALIVE_IDLE_S;
	int interval = KEEPALIVE_INTERVAL_S;
	int count = KEEPALIVE_COUNT;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static void start_message(struct msg *m)
{
	net_stream_start(container_of(m, struct net_stream, msg));
}

/* Logs, at most once a second, why a connection cannot stay. */
static void refuse(struct net_rate *rate, const char *id, const struct net_listener *l, int limit,
		   const struct sockaddr_storage *from, socklen_t len)
{
	long dropped;
	if (!net_rate_ok(rate, clock_mono_ms(), &dropped)) {
		return;
	}
	char host[NI_MAXHOST] = "?";
	getnameinfo((const struct sockaddr *)from, len, host, sizeof host, NULL, 0, NI_NUMERICHOST);
	log_warn(id, "peer=%s listener=%s limit=%d also_refused=%ld", host, l->bound, limit, dropped);
}

/* As a client, else as one that is told that there are too many. */
static enum err count_in(struct net_listener *l, const struct sockaddr_storage *from, socklen_t len,
			 enum net_count *count)
{
	struct net *net = l->net;
	*count = NET_COUNT_CLIENT;
	enum err e = net_stream_count(net, *count);
	if (e != ERR_OK) {
		refuse(&net->full_rate, "NET-CONNECTIONS-FULL", l, net->options.max_connections,
		       from, len);
		*count = NET_COUNT_SURPLUS;
		e = net_stream_count(net, *count);
	}
	return e;
}

/* Takes fd. */
static void hand_over(struct net_listener *l, int fd, const struct sockaddr_storage *from,
		      socklen_t len)
{
	struct net *net = l->net;
	enum net_count count;
	if (count_in(l, from, len, &count) != ERR_OK) {
		close(fd);
		return;
	}
	struct net_address *address;
	enum err e = net_addresses_take(&net->addresses, from, &address);
	struct net_loop *loop = pick_loop(net);
	struct net_stream *s = NULL;
	if (e == ERR_OK) {
		set_options(fd);
		s = net_stream_create(loop, fd, l->protocol, l->ctx);
	} else if (e == ERR_LIMIT) {
		refuse(&net->address_rate, "NET-ADDRESS-FULL", l,
		       net->options.max_unauthorised_per_address, from, len);
	}
	if (s == NULL) {
		net_addresses_give(&net->addresses, &address);
		close(fd);
		net_stream_uncount(net, count);
		return;
	}
	s->address = address;
	s->tls = l->tls;
	s->count = (uint8_t)count;
	s->msg.run = start_message;
	if (count == NET_COUNT_CLIENT) {
		atomic_fetch_add(&loop->load, 1);
		metric_inc(METRIC_CONNECTIONS_OPENED);
		metric_inc(METRIC_CONNECTIONS_ACTIVE);
	}
	if (loop == net_loop_here()) {
		net_stream_start(s);
	} else {
		mailbox_post(&loop->mailbox, &s->msg);
	}
}

/* The pending connection must be taken away, or the listener would report it
 * for ever: with the descriptor kept for this it is accepted and closed. */
static void out_of_descriptors(struct net_listener *l, int code)
{
	struct net *net = l->net;
	long dropped;
	if (net_rate_ok(&net->emfile_rate, clock_mono_ms(), &dropped)) {
		log_error("NET-NO-DESCRIPTORS",
			  "listener=%s reason=%s also_closed=%ld hint=\"raise the limit of open files\"",
			  l->bound, log_quote(strerror(code)), dropped);
	}
	if (net->spare_fd >= 0) {
		close(net->spare_fd);
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			close(fd);
		}
		net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	if (net->spare_fd < 0) {
		/* Until the next tick. */
		uv_poll_stop(&l->poll);
		l->polling = false;
	}
}

static void accept_some(struct net_listener *l)
{
	for (int i = 0; i < NET_ACCEPT_BUDGET; i++) {
		struct sockaddr_storage from;
		socklen_t len = sizeof from;
		memset(&from, 0, sizeof from);
		int fd = accept4(l->fd, (struct sockaddr *)&from, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			hand_over(l, fd, &from, len);
			continue;
		}
		switch (errno) {
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			out_of_descriptors(l, errno);
			return;
		case EAGAIN:
			return;
		default:
			continue;	/* that connection failed already (ECONNABORTED and others) */
		}
	}
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct net_listener *l = poll->data;
	(void)events;
	if (status < 0) {
		l->polling = false;	/* tried again at the next tick */
		return;
	}
	accept_some(l);
	net_loop_settle(l->net->loops[0]);
}

enum err net_listeners_watch(struct net *net)
{
	for (int i = 0; i < net->listener_count; i++) {
		struct net_listener *l = &net->listeners[i];
		if (uv_poll_init(&net->loops[0]->uv, &l->poll, l->fd) != 0) {
			return ERR_IO;
		}
		l->watched = true;
		l->poll.data = l;
	}
	net_listeners_retry(net);
	return ERR_OK;
}

void net_listeners_retry(struct net *net)
{
	if (net->spare_fd < 0) {
		net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	for (int i = 0; i < net->listener_count; i++) {
		struct net_listener *l = &net->listeners[i];
		if (!l->polling && l->fd >= 0) {
			l->polling = uv_poll_start(&l->poll, UV_READABLE, on_listener) == 0;
		}
	}
}

void net_listeners_close(struct net *net)
{
	for (int i = 0; i < net->listener_count; i++) {
		struct net_listener *l = &net->listeners[i];
		if (l->fd < 0) {
			continue;
		}
		if (l->watched) {
			uv_close((uv_handle_t *)&l->poll, NULL);
		}
		close(l->fd);
		l->fd = -1;
		l->polling = false;
	}
}
