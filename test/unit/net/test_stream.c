#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "fixture.h"

static const size_t sizes[] = {1, (16 << 10) + 1, 5000000};

static struct stage stage;

START_TEST(plain_echo_returns_every_byte)
{
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, NULL);
	struct net_dial *c = dial(&stage, NULL);
	echo_round(c, sizes[_i]);
	net_dial_close(&c);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_OK);
	ck_assert_int_eq(stage.ended, 1);
	ck_assert(!stage.is_tls);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(tls_echo_returns_every_byte)
{
	struct dir dir;
	dir_certificates(&dir);
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	struct net_dial *c = dial(&stage, dir.ca);
	echo_round(c, sizes[_i]);
	net_dial_close(&c);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_OK);
	ck_assert(stage.is_tls);
	stage_stop(&stage, 1000);
	dir_remove(&dir);
}
END_TEST

START_TEST(many_connections_are_spread_over_the_loops)
{
	enum { MANY = 100 };
	struct dir dir;
	struct net_dial *c[MANY];
	dir_certificates(&dir);
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	for (int i = 0; i < MANY; i++) {
		c[i] = dial(&stage, dir.ca);
	}
	stage_wait(&stage, &stage.opened, MANY);
	int first = 0;
	for (int i = 0; i < MANY; i++) {
		echo_round(c[i], 1000);
		first += stage.loop[i] == net_loop_at(stage.net, 0) ? 1 : 0;
	}
	ck_assert_int_eq(first, MANY / 2);
	ck_assert_int_eq(metric_get(METRIC_CONNECTIONS_ACTIVE), MANY);
	for (int i = 0; i < MANY; i++) {
		net_dial_close(&c[i]);
	}
	stage_wait(&stage, &stage.closed, MANY);
	stage_stop(&stage, 1000);
	ck_assert_int_eq(metric_get(METRIC_CONNECTIONS_ACTIVE), 0);
	dir_remove(&dir);
}
END_TEST

static void resume(struct net_loop *loop, void *arg)
{
	struct net_stream *s = net_stream_by_id(loop, *(uint64_t *)arg);
	ck_assert_ptr_nonnull(s);
	net_stream_resume(s);
}

START_TEST(paused_stream_reads_nothing_until_resumed)
{
	static const uint8_t block[10000];
	size_t sent = 0;
	stage_init(&stage, PLAY_SINK);
	stage.pause_first = true;
	stage_start(&stage, NULL, NULL);
	int fd = raw_connect(stage.port);
	stage_wait(&stage, &stage.opened, 1);
	/* Until the kernel's buffers on both sides are full. */
	struct pollfd p = {fd, POLLOUT, 0};
	while (poll(&p, 1, 100) == 1) {
		ssize_t n = send(fd, block, sizeof block, MSG_DONTWAIT);
		ck_assert_int_gt(n, 0);
		sent += (size_t)n;
	}
	ck_assert_uint_gt(sent, 0);
	ck_assert_uint_eq(stage.bytes, 0);
	on_loop(stage.loop[0], resume, &stage.id[0]);
	stage_wait_bytes(&stage, sent);
	ck_assert_uint_eq(stage.bytes, sent);
	close(fd);
	stage_wait(&stage, &stage.closed, 1);
	stage_stop(&stage, 1000);
}
END_TEST

/* A source that honours `writable` stays near NET_QUEUE_HIGH while the peer does
 * not read, and delivers everything when it does. */
START_TEST(slow_reader_bounds_the_queue)
{
	struct dir dir;
	bool tls = _i == 1;
	dir_certificates(&dir);
	stage_init(&stage, PLAY_SOURCE);
	stage.source_bytes = 20000000;
	stage_start(&stage, NULL, tls ? dir_tls(&dir, NULL) : NULL);
	struct net_dial *c = dial(&stage, tls ? dir.ca : NULL);
	stage_wait(&stage, &stage.opened, 1);
	size_t got = 0;
	while (got < stage.source_bytes) {
		static uint8_t buf[CHUNK];
		size_t n;
		ck_assert_int_eq(net_dial_read(c, buf, sizeof buf, &n, NULL), ERR_OK);
		bool same = true;
		for (size_t i = 0; i < n; i++) {
			same = same && buf[i] == (uint8_t)(got + i);
		}
		ck_assert(same);
		got += n;
	}
	ck_assert_uint_eq(got, stage.source_bytes);
	net_dial_close(&c);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_uint_lt(stage.queue_peak, NET_QUEUE_HIGH + 2 * CHUNK);
	stage_stop(&stage, 1000);
	dir_remove(&dir);
}
END_TEST

START_TEST(echo_of_a_client_that_does_not_read_bounds_the_queue)
{
	static const uint8_t block[100000];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, NULL);
	int fd = raw_connect(stage.port);
	struct pollfd p = {fd, POLLOUT, 0};
	while (poll(&p, 1, 200) == 1) {
		ck_assert_int_gt(send(fd, block, sizeof block, MSG_DONTWAIT), 0);
	}
	close(fd);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_uint_lt(stage.queue_peak, NET_QUEUE_HIGH + 2 * NET_READ_BUFFER);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(queue_that_does_not_move_ends_the_stream)
{
	struct net_options o = {.loops = 1, .stall_ms = 300};
	char line[512];
	log_catch();
	stage_init(&stage, PLAY_SOURCE);
	stage.source_bytes = 100000000;
	stage_start(&stage, &o, NULL);
	int fd = raw_connect(stage.port);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_TIMEOUT);
	ck_assert_int_eq(log_seen("NET-STALLED", line), 1);
	close(fd);
	stage_stop(&stage, 1000);
	log_release();
}
END_TEST

/* The client has sent more than was read when the stream closes: the answer
 * must arrive all the same. */
START_TEST(answer_before_close_arrives_whole)
{
	static const uint8_t block[300000];
	stage_init(&stage, PLAY_ANSWER);
	stage_start(&stage, NULL, NULL);
	int fd = raw_connect(stage.port);
	ck_assert_int_gt(send(fd, block, sizeof block, 0), 0);
	char buf[16];
	ck_assert_int_eq(recv(fd, buf, sizeof buf, MSG_WAITALL), 3);
	ck_assert_int_eq(memcmp(buf, "bye", 3), 0);
	ck_assert_int_eq(recv(fd, buf, sizeof buf, 0), 0);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_OK);
	close(fd);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(abort_from_within_received_tells_closed_later)
{
	stage_init(&stage, PLAY_ABORT);
	stage_start(&stage, NULL, NULL);
	int fd = raw_connect(stage.port);
	ck_assert_int_eq(send(fd, "x", 1, 0), 1);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_OK);
	ck_assert_uint_eq(raw_drain(fd), 0);
	close(fd);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(refused_stream_is_closed_without_closed)
{
	stage_init(&stage, PLAY_REFUSE);
	stage_start(&stage, NULL, NULL);
	int fd = raw_connect(stage.port);
	ck_assert_uint_eq(raw_drain(fd), 0);
	close(fd);
	stage_stop(&stage, 1000);
	ck_assert_int_eq(stage.closed, 0);
}
END_TEST

START_TEST(peer_end_without_ended_closes_with_eof)
{
	stage_init(&stage, PLAY_SINK);
	stage.protocol.ended = NULL;
	stage_start(&stage, NULL, NULL);
	close(raw_connect(stage.port));
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_EOF);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(reset_by_the_peer_closes_with_io)
{
	stage_init(&stage, PLAY_SINK);
	stage_start(&stage, NULL, NULL);
	int fd = raw_connect(stage.port);
	stage_wait(&stage, &stage.opened, 1);
	struct linger now = {1, 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(stage.reason, ERR_IO);
	stage_stop(&stage, 1000);
}
END_TEST

START_TEST(tick_comes_after_its_time_and_once)
{
	stage_init(&stage, PLAY_SINK);
	stage.tick_after_ms = 250;
	stage_start(&stage, NULL, NULL);
	int64_t begun = clock_mono_ms();
	int fd = raw_connect(stage.port);
	stage_wait(&stage, &stage.ticks, 1);
	ck_assert_int_ge(clock_mono_ms() - begun, 250);
	struct pollfd p = {fd, POLLIN, 0};
	ck_assert_int_eq(poll(&p, 1, 300), 0);
	ck_assert_int_eq(stage_count(&stage, &stage.ticks), 1);
	ck_assert_int_eq(stage.early_ticks, 0);
	close(fd);
	stage_stop(&stage, 1000);
}
END_TEST

/* ---- messages --------------------------------------------------------------- */

enum { POSTERS = 4, POSTS = 2000 };

struct note {
	struct msg msg;
	struct net_loop *loop;
	uint64_t id;
};

static void run_note(struct msg *m)
{
	struct note *note = (struct note *)m;
	struct net_stream *s = net_stream_by_id(note->loop, note->id);
	if (s != NULL) {
		ck_assert_int_eq(net_stream_write(s, "m", 1), ERR_OK);
	}
	mem_free(note);
}

static void *post_many(void *arg)
{
	struct stage *st = arg;
	for (int i = 0; i < POSTS; i++) {
		struct note *note = MEM_NEW(struct note);
		ck_assert_ptr_nonnull(note);
		note->msg.run = run_note;
		note->loop = st->loop[0];
		note->id = st->id[0];
		mailbox_post(net_loop_mailbox(note->loop), &note->msg);
	}
	return NULL;
}

START_TEST(messages_of_other_threads_reach_the_stream)
{
	pthread_t thread[POSTERS];
	stage_init(&stage, PLAY_SINK);
	stage_start(&stage, NULL, NULL);
	struct net_dial *c = dial(&stage, NULL);
	stage_wait(&stage, &stage.opened, 1);
	for (int i = 0; i < POSTERS; i++) {
		ck_assert_int_eq(thread_start(&thread[i], ROLE_BACKGROUND, "poster", post_many, &stage),
				 ERR_OK);
	}
	size_t got = 0;
	while (got < (size_t)POSTERS * POSTS) {
		char buf[1000];
		size_t n;
		ck_assert_int_eq(net_dial_read(c, buf, sizeof buf, &n, NULL), ERR_OK);
		got += n;
	}
	ck_assert_uint_eq(got, (size_t)POSTERS * POSTS);
	for (int i = 0; i < POSTERS; i++) {
		thread_join(thread[i]);
	}
	net_dial_close(&c);
	stage_wait(&stage, &stage.closed, 1);
	post_many(&stage);	/* to a stream that is gone */
	stage_stop(&stage, 1000);
}
END_TEST

struct adoption {
	struct stage *st;
	int fd;
	bool abort;
};

static void adopt(struct net_loop *loop, void *arg)
{
	struct adoption *a = arg;
	struct net_stream *s = NULL;
	ck_assert_int_eq(net_stream_adopt(loop, a->fd, &a->st->protocol, a->st, &s), ERR_OK);
	ck_assert_ptr_null(net_stream_conn(s));
	ck_assert_str_eq(net_stream_peer(s), "local");
	ck_assert_int_eq(net_stream_write(s, "hello", 5), ERR_OK);
	if (a->abort) {
		net_stream_abort(s);
	}
}

START_TEST(adopted_socketpair_is_a_stream)
{
	int pair[2];
	char buf[16];
	stage_init(&stage, PLAY_ECHO);
	stage_start(&stage, NULL, NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	struct adoption a = {&stage, pair[0], false};
	on_loop(net_loop_at(stage.net, 1), adopt, &a);
	ck_assert_int_eq(recv(pair[1], buf, 5, MSG_WAITALL), 5);
	ck_assert_int_eq(memcmp(buf, "hello", 5), 0);
	ck_assert_int_eq(send(pair[1], "back", 4, 0), 4);
	ck_assert_int_eq(recv(pair[1], buf, 4, MSG_WAITALL), 4);
	close(pair[1]);
	stage_wait(&stage, &stage.closed, 1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	a = (struct adoption){&stage, pair[0], true};
	on_loop(net_loop_at(stage.net, 0), adopt, &a);
	ck_assert_uint_eq(raw_drain(pair[1]), 0);
	close(pair[1]);
	stage_stop(&stage, 1000);
	ck_assert_int_eq(stage.opened, 1);
}
END_TEST

/* ---- stopping ----------------------------------------------------------------- */

START_TEST(stop_closes_open_connections)
{
	enum { OPEN = 20 };
	int fd[OPEN];
	stage_init(&stage, PLAY_SINK);
	stage_start(&stage, NULL, NULL);
	for (int i = 0; i < OPEN; i++) {
		fd[i] = raw_connect(stage.port);
	}
	stage_wait(&stage, &stage.opened, OPEN);
	int64_t begun = clock_mono_ms();
	stage_stop(&stage, 200);
	ck_assert_int_ge(clock_mono_ms() - begun, 200);
	ck_assert_int_eq(stage.closed, OPEN);
	ck_assert_int_eq(stage.stopping, OPEN);
	ck_assert_int_eq(stage.reason, ERR_STOPPING);
	for (int i = 0; i < OPEN; i++) {
		ck_assert_uint_eq(raw_drain(fd[i]), 0);
		close(fd[i]);
	}
}
END_TEST

START_TEST(stop_lets_connections_end_in_order)
{
	struct dir dir;
	dir_certificates(&dir);
	stage_init(&stage, PLAY_SINK);
	stage.close_on_stop = true;
	stage_start(&stage, NULL, dir_tls(&dir, NULL));
	struct net_dial *c = dial(&stage, dir.ca);
	int silent = raw_connect(stage.port);	/* never begins its handshake */
	stage_wait(&stage, &stage.opened, 1);
	int64_t begun = clock_mono_ms();
	net_drain(stage.net, WAIT_MS);
	ck_assert_int_lt(clock_mono_ms() - begun, WAIT_MS / 2);
	ck_assert_int_eq(stage.reason, ERR_OK);
	char byte;
	size_t n;
	ck_assert_int_eq(net_dial_read(c, &byte, 1, &n, NULL), ERR_EOF);
	/* After the drain the loops still run messages. */
	post_many(&stage);
	net_dial_close(&c);
	close(silent);
	stage_stop(&stage, 0);
	dir_remove(&dir);
}
END_TEST

START_TEST(stop_of_what_never_started_frees_all)
{
	stage_init(&stage, PLAY_SINK);
	stage_listen(&stage, NULL, NULL);
	stage_stop(&stage, 1000);
	struct net *none = NULL;
	net_stop(&none, 0);
}
END_TEST

START_TEST(failed_allocation_of_a_network_frees_all)
{
	struct net_options o = {.loops = 2};
	for (long n = 1;; n++) {
		struct net *net = NULL;
		mem_fault_at(n);
		enum err e = net_new(&o, &net, NULL);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			net_stop(&net, 0);
			break;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
	}
}
END_TEST

Suite *stream_suite(void)
{
	Suite *s = suite_create("stream");
	TCase *t = tcase_create("stream");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, plain_echo_returns_every_byte, 0, 3);
	tcase_add_loop_test(t, tls_echo_returns_every_byte, 0, 3);
	tcase_add_test(t, many_connections_are_spread_over_the_loops);
	tcase_add_test(t, paused_stream_reads_nothing_until_resumed);
	tcase_add_loop_test(t, slow_reader_bounds_the_queue, 0, 2);
	tcase_add_test(t, echo_of_a_client_that_does_not_read_bounds_the_queue);
	tcase_add_test(t, queue_that_does_not_move_ends_the_stream);
	tcase_add_test(t, answer_before_close_arrives_whole);
	tcase_add_test(t, abort_from_within_received_tells_closed_later);
	tcase_add_test(t, refused_stream_is_closed_without_closed);
	tcase_add_test(t, peer_end_without_ended_closes_with_eof);
	tcase_add_test(t, reset_by_the_peer_closes_with_io);
	tcase_add_test(t, tick_comes_after_its_time_and_once);
	tcase_add_test(t, messages_of_other_threads_reach_the_stream);
	tcase_add_test(t, adopted_socketpair_is_a_stream);
	tcase_add_test(t, stop_closes_open_connections);
	tcase_add_test(t, stop_lets_connections_end_in_order);
	tcase_add_test(t, stop_of_what_never_started_frees_all);
	tcase_add_test(t, failed_allocation_of_a_network_frees_all);
	suite_add_tcase(s, t);
	return s;
}
