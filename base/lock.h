#ifndef BASE_LOCK_H
#define BASE_LOCK_H

/* Mutexes, conditions and threads: the only place that touches pthread.
 *
 * Lock order (a lock may be taken only while holding locks of a lower rank):
 *   10 registry of readers (gateway/core)      40 partition watch list (store)
 *   15 scopes, flows and lanes (throttle)
 *   20 catalogue snapshot pointer (store)      50 recent-entry cache (store)
 *   30 segment table (store/volume)            60 groups' operations (gateway/group)
 *                                              90 mailbox      95 log
 * Nothing calls back, does I/O or blocks while holding one. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lock {
	pthread_mutex_t m;
};
struct cond {
	pthread_cond_t c;
};

void lock_init(struct lock *l);
void lock_fini(struct lock *l);
void lock_take(struct lock *l);
void lock_give(struct lock *l);

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);
void cond_wait(struct cond *c, struct lock *l);
/* Waits until signalled or CLOCK_MONOTONIC reaches deadline_ns; false on timeout. */
bool cond_wait_until(struct cond *c, struct lock *l, int64_t deadline_ns);

/* Roles of docs/architecture.md "Threads". */
enum thread_role {
	ROLE_MAIN,
	ROLE_NET_LOOP,
	ROLE_HTTP,
	ROLE_SHARD_CORE,
	ROLE_VOLUME_WRITER,
	ROLE_READER,
	ROLE_BACKGROUND,
	ROLE_COORDINATOR,
	ROLE_PACER,
};

typedef void *thread_fn(void *arg);
/* Starts a thread named `name` (at most 15 characters) with all signals
 * blocked and its role set. */
enum err thread_start(pthread_t *t, enum thread_role role, const char *name, thread_fn *fn,
		      void *arg) MUST_CHECK;
void thread_join(pthread_t t);
void thread_role_set(enum thread_role role);
enum thread_role thread_role(void);
#define ASSERT_THREAD(role) assert(thread_role() == (role))

#endif
