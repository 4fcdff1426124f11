#ifndef TEST_BENCH_STORE_H
#define TEST_BENCH_STORE_H

/* What the parts of bench_store share. */

#include "base/clock.h"
#include "base/hist.h"
#include "base/mem.h"
#include "store/store.h"

struct settings {
	const char *dir;
	long size;		/* of an event's value */
	long events;		/* in a batch */
	long threads;		/* of producers */
	long producers;
	long window;		/* batches of a producer that wait for their answer */
	long partitions;
	long shards;
	long seconds;
	long rate;		/* KiB of payload per second in all; 0: as fast as it goes */
	long fill;		/* MiB: ends when so much was written; 0: by time */
	long cold;		/* readers from the oldest event on, past the cache */
	long slow;		/* readers at places of their own, one read a second */
	long recent;		/* readers of what the cache holds */
	long retention;		/* KiB each partition keeps; 0: all */
	long segment;		/* MiB of a segment; 0: default */
	long old;		/* 1: reads what is there, produces nothing */
};
extern struct settings settings;

void bench_fail(const char *what, const char *why) __attribute__((noreturn));

/* ---- producers ------------------------------------------------------------ */

struct bench_load;
struct bench_load *bench_load_start(struct store *s, struct store_partition **partitions);
/* Ends them and waits; batches answered. */
uint64_t bench_load_join(struct bench_load *l);
void bench_load_stop(struct bench_load *l);
bool bench_load_is_done(struct bench_load *l);
uint32_t bench_load_batch_bytes(const struct bench_load *l);
struct hist *bench_load_latency(struct bench_load *l);
void bench_load_free(struct bench_load **l);

/* ---- readers -------------------------------------------------------------- */

enum bench_reader { BENCH_COLD, BENCH_SLOW, BENCH_RECENT };
struct bench_read_result {
	uint64_t reads;
	uint64_t bytes;
	double cpu_seconds;	/* of the reading thread itself */
	double seconds;
	struct hist latency;
	bool is_done;		/* cold: everything that was there is read */
};
struct bench_reads;
struct bench_reads *bench_reads_start(struct store *s, struct store_partition **partitions,
				      enum bench_reader kind, long n);
bool bench_reads_are_done(struct bench_reads *r);
void bench_reads_join(struct bench_reads *r, struct bench_read_result *out);
void bench_reads_free(struct bench_reads **r);

#endif
