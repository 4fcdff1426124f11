#ifndef GATEWAY_CLI_BENCH_PRIV_H
#define GATEWAY_CLI_BENCH_PRIV_H

/* The load generator: one thread per connection. Workers connect, wait for the
 * common start, send until the end and wait for what is outstanding. */

#include <pthread.h>
#include <stdatomic.h>

#include "base/hist.h"
#include "base/lock.h"
#include "gateway/cli/target.h"

enum {
	BENCH_CONNECTIONS_MAX = 1024,
	BENCH_IN_FLIGHT_MAX = 4096,
	BENCH_ANSWER_MS = 30000,	/* for what is outstanding at the end */
	BENCH_NAP_NS = 100000,		/* sleep while waiting for a planned time */
	BENCH_KAFKA_BATCH_MAX = 64 << 20,	/* the server's own limit is usually 1 MiB */
};

enum bench_protocol { BENCH_AMQP, BENCH_HTTPS, BENCH_KAFKA };
enum bench_mode { BENCH_BATCH, BENCH_SINGLE, BENCH_READ };

struct bench {
	const struct cli_args *a;
	struct cli_target target;
	const char *hub;
	enum bench_protocol protocol;
	enum bench_mode mode;
	uint64_t size;		/* body bytes of an event */
	uint64_t batch;		/* events of a send */
	uint64_t in_flight;
	int codec;		/* Kafka: enum records_codec */
	bool idempotent;	/* Kafka */
	uint64_t connections;
	uint64_t duration_ms;
	uint64_t rate;		/* events per second in total; 0: as fast as acknowledged */
	struct lock lock;
	struct cond changed;
	uint64_t ready;		/* workers that are connected or have failed */
	bool go;
	int64_t start_ns;
	int64_t end_ns;
};

struct bench_worker {
	struct bench *bench;
	uint64_t index;
	pthread_t thread;
	bool started;
	struct hist latency;
	uint64_t max_ns;
	uint64_t acked;		/* events acknowledged before the end */
	uint64_t late;		/* ... and after it */
	uint64_t bytes;		/* of events acknowledged or read before the end */
	uint64_t errors;	/* events refused or lost */
	uint64_t throttled;	/* sends and fetches told to wait, refused or not */
	uint64_t told_ms;	/* ... how long, added up */
	int64_t again_ns;	/* nothing is sent before */
	struct err_detail why;	/* the first error; "" = none */
	bool failed;		/* the connection could not be opened or broke */
};

/* Fills in the outcome of one send: planned or sent at `at_ns`. */
void bench_acked(struct bench_worker *w, int64_t at_ns, int64_t now_ns);
/* The same for any number of events and bytes. */
void bench_done(struct bench_worker *w, int64_t at_ns, int64_t now_ns, uint64_t events,
		uint64_t bytes);
void bench_error(struct bench_worker *w, uint64_t events, const char *text);
/* The server told this connection to wait for so long from now on. */
void bench_throttled(struct bench_worker *w, int64_t wait_ms);
/* How long it still has to, at most until the end of the run; 0: it need not. */
int64_t bench_told_ns(const struct bench_worker *w, int64_t now_ns);
/* Sleeps so long. */
void bench_nap(int64_t ns);
/* Waits for the common start; false when the run is called off. */
bool bench_wait_start(struct bench_worker *w);
/* When the n-th send of this worker is planned. Without a rate: at once. */
int64_t bench_planned_ns(const struct bench_worker *w, uint64_t n);
/* Body text for events. */
void bench_fill(uint8_t *p, size_t n);

thread_fn bench_amqp_run;	/* arg: struct bench_worker */
thread_fn bench_https_run;
thread_fn bench_kafka_run;
void bench_kafka_read(struct bench_worker *w);	/* bench_kafka_run with --mode read */

#endif
