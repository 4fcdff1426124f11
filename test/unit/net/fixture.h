#ifndef TEST_UNIT_NET_FIXTURE_H
#define TEST_UNIT_NET_FIXTURE_H

/* A network with one listener and a protocol that does what the test asks. */

#include <check.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/log.h"
#include "gateway/net/dial.h"
#include "gateway/net/stream.h"
#include "gateway/net/tls.h"

enum { WAIT_MS = 30000, CHUNK = 64 << 10, IDS_MAX = 1024 };

enum play {
	PLAY_ECHO,	/* sends back, pausing while its queue is high */
	PLAY_SINK,	/* counts */
	PLAY_SOURCE,	/* sends ctx->source_bytes as fast as it is let */
	PLAY_ANSWER,	/* one answer to the first bytes, then close */
	PLAY_ABORT,	/* aborts at the first bytes */
	PLAY_REFUSE,	/* `opened` fails */
};

/* What all connections of a test share. Counters are under the lock. */
struct stage {
	enum play play;
	bool pause_first;	/* paused in `opened` until a message resumes */
	bool close_on_stop;	/* closes in `stopping` */
	bool authorise;
	bool write_may_fail;	/* a source whose write fails aborts */
	int64_t tick_after_ms;	/* asks for a tick this long after opened; 0: no */
	size_t source_bytes;
	struct net_protocol protocol;

	struct lock lock;
	struct cond cond;
	int opened;
	int closed;
	int ended;
	int stopping;
	int surplus;		/* of those opened: were told so and closed */
	int ticks;
	int early_ticks;
	int reentered;		/* `closed` came from within a call of ours */
	enum err reason;	/* of the last that closed */
	size_t bytes;
	size_t queue_peak;
	uint64_t id[IDS_MAX];
	struct net_loop *loop[IDS_MAX];
	char peer_name[64];
	bool is_tls;

	struct net *net;
	struct net_tls *tls;
	char bound[64];
	int port;
};

/* A stage without a network. */
void stage_init(struct stage *st, enum play play);
/* Listens on 127.0.0.1 and starts; `o` NULL: two loops, no limits. */
void stage_start(struct stage *st, const struct net_options *o, struct net_tls *tls);
void stage_listen(struct stage *st, const struct net_options *o, struct net_tls *tls);
void stage_run(struct stage *st);
void stage_stop(struct stage *st, int grace_ms);
/* Waits until the counter is at least `least`; fails the test after WAIT_MS. */
void stage_wait(struct stage *st, const int *counter, int least);
void stage_wait_bytes(struct stage *st, size_t least);
int stage_count(struct stage *st, const int *counter);

/* Runs fn(arg) on the loop and waits for it. */
typedef void loop_fn(struct net_loop *loop, void *arg);
void on_loop(struct net_loop *loop, loop_fn *fn, void *arg);

/* Connected, or the test fails. */
struct net_dial *dial(const struct stage *st, const char *ca_file);
/* Writes n bytes and reads as many back, keeping a bounded amount under way. */
void echo_round(struct net_dial *c, size_t n);
int raw_connect(int port);
/* Reads until the end or an error; gives the number of bytes. */
size_t raw_drain(int fd);

/* The last log line that holds `id`, or an empty text; see log_catch. */
void log_catch(void);
void log_release(void);
int log_seen(const char *id, char line[512]);
void log_wait(const char *id, char line[512]);

/* A directory with development certificates; removed by dir_remove. */
struct dir {
	char path[64];
	char ca[96];
	char cert[96];
	char key[96];
	char ca_key[96];
};
void dir_make(struct dir *d);
void dir_certificates(struct dir *d);
void dir_remove(struct dir *d);
struct net_tls *dir_tls(const struct dir *d, const char *client_ca);

Suite *wheel_suite(void);
Suite *queue_suite(void);
Suite *stream_suite(void);
Suite *limits_suite(void);
Suite *tls_suite(void);
Suite *devcert_suite(void);
Suite *dial_suite(void);

#endif
