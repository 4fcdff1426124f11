#include "fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- the protocol ----------------------------------------------------------- */

struct conn {
	struct stage *st;
	struct net_stream *s;
	size_t left;
	int64_t tick_at;
	uint8_t next;
	bool inside;	/* a call into the stream is under way */
};

static void bump(struct stage *st, int *counter)
{
	lock_take(&st->lock);
	(*counter)++;
	cond_broadcast(&st->cond);
	lock_give(&st->lock);
}

static void pour(struct conn *c)
{
	uint8_t chunk[CHUNK];
	c->inside = true;
	while (c->left > 0 && net_stream_queued(c->s) < NET_QUEUE_HIGH) {
		size_t n = c->left < sizeof chunk ? c->left : sizeof chunk;
		for (size_t i = 0; i < n; i++) {
			chunk[i] = c->next++;
		}
		enum err e = net_stream_write(c->s, chunk, n);
		ck_assert(e == ERR_OK || c->st->write_may_fail);
		if (e != ERR_OK) {
			net_stream_abort(c->s);
			break;
		}
		c->left -= n;
		lock_take(&c->st->lock);
		if (net_stream_queued(c->s) > c->st->queue_peak) {
			c->st->queue_peak = net_stream_queued(c->s);
		}
		lock_give(&c->st->lock);
	}
	c->inside = false;
}

static enum err on_opened(void *ctx, struct net_stream *s, void **out)
{
	struct stage *st = ctx;
	if (st->play == PLAY_REFUSE) {
		bump(st, &st->opened);
		return ERR_BUSY;
	}
	struct conn *c = MEM_NEW(struct conn);
	if (c == NULL) {
		return ERR_NOMEM;
	}
	c->st = st;
	c->s = s;
	lock_take(&st->lock);
	if (st->opened < IDS_MAX) {
		st->id[st->opened] = net_stream_id(s);
		st->loop[st->opened] = net_stream_loop(s);
	}
	st->is_tls = net_stream_is_tls(s);
	const char *name = net_stream_peer_name(s);
	snprintf(st->peer_name, sizeof st->peer_name, "%s", name != NULL ? name : "");
	lock_give(&st->lock);
	*out = c;
	if (st->pause_first) {
		net_stream_pause(s);
	}
	if (st->authorise) {
		net_stream_authorised(s);
	}
	if (net_stream_is_surplus(s)) {
		char text[32];
		snprintf(text, sizeof text, "at most %d", net_stream_max_connections(s));
		ck_assert_int_eq(net_stream_write(s, text, strlen(text)), ERR_OK);
		net_stream_close(s);
		bump(st, &st->surplus);
		bump(st, &st->opened);
		return ERR_OK;
	}
	if (st->tick_after_ms > 0) {
		c->tick_at = clock_mono_ms() + st->tick_after_ms;
		net_stream_tick_at(s, c->tick_at);
	}
	if (st->play == PLAY_SOURCE) {
		c->left = st->source_bytes;
		pour(c);
	}
	bump(st, &st->opened);
	return ERR_OK;
}

static void on_received(void *conn, const uint8_t *p, size_t n)
{
	struct conn *c = conn;
	struct stage *st = c->st;
	c->inside = true;
	if (st->play == PLAY_ECHO) {
		ck_assert_int_eq(net_stream_write(c->s, p, n), ERR_OK);
		if (net_stream_queued(c->s) >= NET_QUEUE_HIGH) {
			net_stream_pause(c->s);
		}
	} else if (st->play == PLAY_ANSWER) {
		ck_assert_int_eq(net_stream_write(c->s, "bye", 3), ERR_OK);
		net_stream_close(c->s);
		ck_assert_int_eq(net_stream_write(c->s, "late", 4), ERR_EOF);
	} else if (st->play == PLAY_ABORT) {
		net_stream_abort(c->s);
	}
	c->inside = false;
	lock_take(&st->lock);
	st->bytes += n;
	if (net_stream_queued(c->s) > st->queue_peak) {
		st->queue_peak = net_stream_queued(c->s);
	}
	cond_broadcast(&st->cond);
	lock_give(&st->lock);
}

static void on_ended(void *conn)
{
	struct conn *c = conn;
	bump(c->st, &c->st->ended);
	c->inside = true;
	net_stream_close(c->s);
	c->inside = false;
}

static void on_writable(void *conn)
{
	struct conn *c = conn;
	if (c->st->play == PLAY_SOURCE) {
		pour(c);
	} else {
		net_stream_resume(c->s);
	}
}

static void on_tick(void *conn, int64_t now_ms)
{
	struct conn *c = conn;
	if (now_ms < c->tick_at) {
		bump(c->st, &c->st->early_ticks);
	}
	bump(c->st, &c->st->ticks);
}

static void on_stopping(void *conn)
{
	struct conn *c = conn;
	if (c->st->close_on_stop) {
		net_stream_close(c->s);
	}
	bump(c->st, &c->st->stopping);
}

static void on_closed(void *conn, enum err reason)
{
	struct conn *c = conn;
	struct stage *st = c->st;
	lock_take(&st->lock);
	st->closed++;
	st->reason = reason;
	st->reentered += c->inside ? 1 : 0;
	cond_broadcast(&st->cond);
	lock_give(&st->lock);
	mem_free(c);
}

/* ---- the stage ----------------------------------------------------------------- */

void stage_init(struct stage *st, enum play play)
{
	memset(st, 0, sizeof *st);
	st->play = play;
	lock_init(&st->lock);
	cond_init(&st->cond);
	st->protocol = (struct net_protocol){
		.name = "play",
		.opened = on_opened,
		.received = on_received,
		.ended = on_ended,
		.writable = on_writable,
		.tick = on_tick,
		.closed = on_closed,
		.stopping = on_stopping,
	};
}

void stage_listen(struct stage *st, const struct net_options *o, struct net_tls *tls)
{
	struct net_options two = {.loops = 2};
	struct err_detail d = {0};
	ck_assert_msg(net_new(o != NULL ? o : &two, &st->net, &d) == ERR_OK, "%s", d.text);
	struct net_listen_options listen = {
		.address = "127.0.0.1:0",
		.protocol = &st->protocol,
		.ctx = st,
		.tls = tls,
	};
	ck_assert_msg(net_listen(st->net, &listen, st->bound, &d) == ERR_OK, "%s", d.text);
	st->tls = tls;
	st->port = atoi(strrchr(st->bound, ':') + 1);
	ck_assert_int_gt(st->port, 0);
}

void stage_run(struct stage *st)
{
	struct err_detail d = {0};
	ck_assert_msg(net_start(st->net, &d) == ERR_OK, "%s", d.text);
}

void stage_start(struct stage *st, const struct net_options *o, struct net_tls *tls)
{
	stage_listen(st, o, tls);
	stage_run(st);
}

void stage_stop(struct stage *st, int grace_ms)
{
	net_stop(&st->net, grace_ms);
	net_tls_free(&st->tls);
	ck_assert_int_eq(st->reentered, 0);
	if (st->play != PLAY_REFUSE) {
		ck_assert_int_eq(st->opened, st->closed);
	}
	cond_fini(&st->cond);
	lock_fini(&st->lock);
}

static int64_t wait_end(void)
{
	return clock_mono_ns() + (int64_t)WAIT_MS * 1000000;
}

void stage_wait(struct stage *st, const int *counter, int least)
{
	int64_t until = wait_end();
	lock_take(&st->lock);
	while (*counter < least && cond_wait_until(&st->cond, &st->lock, until)) {
	}
	int seen = *counter;
	lock_give(&st->lock);
	ck_assert_int_ge(seen, least);
}

void stage_wait_bytes(struct stage *st, size_t least)
{
	int64_t until = wait_end();
	lock_take(&st->lock);
	while (st->bytes < least && cond_wait_until(&st->cond, &st->lock, until)) {
	}
	size_t seen = st->bytes;
	lock_give(&st->lock);
	ck_assert_uint_ge(seen, least);
}

int stage_count(struct stage *st, const int *counter)
{
	lock_take(&st->lock);
	int seen = *counter;
	lock_give(&st->lock);
	return seen;
}

struct call {
	struct msg msg;
	struct net_loop *loop;
	loop_fn *fn;
	void *arg;
	struct lock lock;
	struct cond cond;
	bool done;
};

static void run_call(struct msg *m)
{
	struct call *call = (struct call *)m;
	call->fn(call->loop, call->arg);
	lock_take(&call->lock);
	call->done = true;
	cond_signal(&call->cond);	/* under the lock: afterwards `call` may be gone */
	lock_give(&call->lock);
}

void on_loop(struct net_loop *loop, loop_fn *fn, void *arg)
{
	struct call call = {.msg = {.run = run_call}, .loop = loop, .fn = fn, .arg = arg};
	int64_t until = wait_end();
	lock_init(&call.lock);
	cond_init(&call.cond);
	mailbox_post(net_loop_mailbox(loop), &call.msg);
	lock_take(&call.lock);
	while (!call.done && cond_wait_until(&call.cond, &call.lock, until)) {
	}
	bool done = call.done;
	lock_give(&call.lock);
	ck_assert(done);
	cond_fini(&call.cond);
	lock_fini(&call.lock);
}

/* ---- clients ---------------------------------------------------------------------- */

struct net_dial *dial(const struct stage *st, const char *ca_file)
{
	struct net_dial_options o = {
		.host = "127.0.0.1",
		.port = st->port,
		.tls = ca_file != NULL,
		.ca_file = ca_file,
		.timeout_ms = WAIT_MS,
	};
	struct net_dial *c = NULL;
	struct err_detail d = {0};
	ck_assert_msg(net_dial_open(&o, &c, &d) == ERR_OK, "%s", d.text);
	return c;
}

void echo_round(struct net_dial *c, size_t n)
{
	enum { UNDER_WAY = 128 << 10 };
	static _Thread_local uint8_t out[CHUNK];
	static _Thread_local uint8_t in[CHUNK];
	size_t sent = 0;
	size_t got = 0;
	struct err_detail d = {0};
	while (got < n) {
		if (sent < n && sent - got < UNDER_WAY) {
			size_t k = n - sent < sizeof out ? n - sent : sizeof out;
			for (size_t i = 0; i < k; i++) {
				out[i] = (uint8_t)((sent + i) * 7 % 251);
			}
			ck_assert_msg(net_dial_write(c, out, k, &d) == ERR_OK, "%s", d.text);
			sent += k;
			continue;
		}
		size_t k;
		ck_assert_msg(net_dial_read(c, in, sizeof in, &k, &d) == ERR_OK, "%s", d.text);
		ck_assert_uint_gt(k, 0);
		bool same = true;	/* one assertion per piece: each costs a system call */
		for (size_t i = 0; i < k; i++) {
			same = same && in[i] == (uint8_t)((got + i) * 7 % 251);
		}
		ck_assert(same);
		got += k;
	}
	ck_assert_uint_eq(got, n);
}

int raw_connect(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	struct sockaddr_in a = {0};
	a.sin_family = AF_INET;
	a.sin_port = htons((uint16_t)port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	struct timeval tv = {WAIT_MS / 1000, 0};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

size_t raw_drain(int fd)
{
	char buf[4096];
	size_t sum = 0;
	for (ssize_t n; (n = recv(fd, buf, sizeof buf, 0)) > 0;) {
		sum += (size_t)n;
	}
	return sum;
}

/* ---- the log ------------------------------------------------------------------------- */

enum { LINES_MAX = 64, LINE_MAX_BYTES = 512 };

static struct {
	struct lock lock;
	struct cond cond;
	int count;
	char line[LINES_MAX][LINE_MAX_BYTES];
} caught;

static void on_line(void *arg, enum log_level level, const char *line)
{
	(void)arg;
	(void)level;
	lock_take(&caught.lock);
	if (caught.count < LINES_MAX) {
		snprintf(caught.line[caught.count++], LINE_MAX_BYTES, "%s", line);
	}
	cond_broadcast(&caught.cond);
	lock_give(&caught.lock);
}

void log_catch(void)
{
	lock_init(&caught.lock);
	cond_init(&caught.cond);
	caught.count = 0;
	log_setup(LOG_INFO, false);
	log_sink(on_line, NULL);
}

void log_release(void)
{
	log_sink(NULL, NULL);
	log_setup(LOG_ERROR, false);	/* as main sets it */
	cond_fini(&caught.cond);
	lock_fini(&caught.lock);
}

static int seen_locked(const char *id, char line[LINE_MAX_BYTES])
{
	int n = 0;
	line[0] = '\0';
	for (int i = 0; i < caught.count; i++) {
		if (strstr(caught.line[i], id) != NULL) {
			memcpy(line, caught.line[i], LINE_MAX_BYTES);
			n++;
		}
	}
	return n;
}

int log_seen(const char *id, char line[LINE_MAX_BYTES])
{
	lock_take(&caught.lock);
	int n = seen_locked(id, line);
	lock_give(&caught.lock);
	return n;
}

void log_wait(const char *id, char line[LINE_MAX_BYTES])
{
	int64_t until = wait_end();
	lock_take(&caught.lock);
	int n = seen_locked(id, line);
	while (n == 0 && cond_wait_until(&caught.cond, &caught.lock, until)) {
		n = seen_locked(id, line);
	}
	lock_give(&caught.lock);
	ck_assert_int_gt(n, 0);
}

/* ---- certificates ------------------------------------------------------------------------ */

void dir_make(struct dir *d)
{
	snprintf(d->path, sizeof d->path, "/tmp/test_net_XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(d->path));
	snprintf(d->ca, sizeof d->ca, "%s/ca.pem", d->path);
	snprintf(d->ca_key, sizeof d->ca_key, "%s/ca.key", d->path);
	snprintf(d->cert, sizeof d->cert, "%s/cert.pem", d->path);
	snprintf(d->key, sizeof d->key, "%s/key.pem", d->path);
}

void dir_certificates(struct dir *d)
{
	struct err_detail detail = {0};
	dir_make(d);
	ck_assert_msg(net_tls_make_development(d->path, "hub.example.test", "node-1.example.test",
					       &detail) == ERR_OK, "%s", detail.text);
}

void dir_remove(struct dir *d)
{
	unlink(d->ca);
	unlink(d->ca_key);
	unlink(d->cert);
	unlink(d->key);
	ck_assert_int_eq(rmdir(d->path), 0);
}

struct net_tls *dir_tls(const struct dir *d, const char *client_ca)
{
	struct net_tls_files files = {d->cert, d->key, client_ca};
	struct net_tls *tls = NULL;
	struct err_detail detail = {0};
	ck_assert_msg(net_tls_new(&files, &tls, &detail) == ERR_OK, "%s", detail.text);
	return tls;
}
