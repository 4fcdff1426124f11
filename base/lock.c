#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"

static _Thread_local enum thread_role this_role = ROLE_MAIN;

void lock_init(struct lock *l)
{
	int r = pthread_mutex_init(&l->m, NULL);
	assert(r == 0);
	(void)r;
}

void lock_fini(struct lock *l)
{
	int r = pthread_mutex_destroy(&l->m);
	assert(r == 0);
	(void)r;
}

void lock_take(struct lock *l)
{
	int r = pthread_mutex_lock(&l->m);
	assert(r == 0);
	(void)r;
}

void lock_give(struct lock *l)
{
	int r = pthread_mutex_unlock(&l->m);
	assert(r == 0);
	(void)r;
}

void cond_init(struct cond *c)
{
	pthread_condattr_t a;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	int r = pthread_cond_init(&c->c, &a);
	assert(r == 0);
	(void)r;
	pthread_condattr_destroy(&a);
}

void cond_fini(struct cond *c)
{
	pthread_cond_destroy(&c->c);
}

void cond_signal(struct cond *c)
{
	pthread_cond_signal(&c->c);
}

void cond_broadcast(struct cond *c)
{
	pthread_cond_broadcast(&c->c);
}

void cond_wait(struct cond *c, struct lock *l)
{
	pthread_cond_wait(&c->c, &l->m);
}

bool cond_wait_until(struct cond *c, struct lock *l, int64_t deadline_ns)
{
	if (deadline_ns < 0) {
		deadline_ns = 0;
	}
	struct timespec ts = {
		.tv_sec = (time_t)(deadline_ns / 1000000000),
		.tv_nsec = (long)(deadline_ns % 1000000000),
	};
	return pthread_cond_timedwait(&c->c, &l->m, &ts) != ETIMEDOUT;
}

struct start {
	thread_fn *fn;
	void *arg;
	enum thread_role role;
	char name[16];
};

static void *thread_main(void *arg)
{
	struct start s = *(struct start *)arg;
	mem_free(arg);
	this_role = s.role;
	pthread_setname_np(pthread_self(), s.name);
	return s.fn(s.arg);
}

enum err thread_start(pthread_t *t, enum thread_role role, const char *name, thread_fn *fn,
		      void *arg)
{
	struct start *s = MEM_NEW(struct start);
	if (s == NULL) {
		return ERR_NOMEM;
	}
	s->fn = fn;
	s->arg = arg;
	s->role = role;
	snprintf(s->name, sizeof s->name, "%s", name);
	sigset_t all;
	sigset_t old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(t, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		mem_free(s);
		return ERR_NOMEM;
	}
	return ERR_OK;
}

void thread_join(pthread_t t)
{
	pthread_join(t, NULL);
}

void thread_role_set(enum thread_role role)
{
	this_role = role;
}

enum thread_role thread_role(void)
{
	return this_role;
}
