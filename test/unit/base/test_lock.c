#include "base/lock.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "suites.h"

struct shared {
	struct lock lock;
	struct cond cond;
	int turns;
	bool go;
	enum thread_role role;
	char name[16];
	bool signals_blocked;
};

static void *count_up(void *arg)
{
	struct shared *s = arg;
	for (int i = 0; i < 10000; i++) {
		lock_take(&s->lock);
		s->turns++;
		lock_give(&s->lock);
	}
	return NULL;
}

START_TEST(lock_excludes)
{
	struct shared s = {0};
	pthread_t t[3];
	lock_init(&s.lock);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(thread_start(&t[i], ROLE_BACKGROUND, "count", count_up, &s), ERR_OK);
	}
	for (int i = 0; i < 3; i++) {
		thread_join(t[i]);
	}
	ck_assert_int_eq(s.turns, 30000);
	lock_fini(&s.lock);
}
END_TEST

static void *wait_for_go(void *arg)
{
	struct shared *s = arg;
	sigset_t set;
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	lock_take(&s->lock);
	s->role = thread_role();
	s->signals_blocked = sigismember(&set, SIGTERM) == 1 && sigismember(&set, SIGUSR1) == 1;
	pthread_getname_np(pthread_self(), s->name, sizeof s->name);
	while (!s->go) {
		cond_wait(&s->cond, &s->lock);
	}
	s->turns++;
	lock_give(&s->lock);
	return NULL;
}

START_TEST(broadcast_wakes_all_and_threads_know_their_role)
{
	struct shared s = {0};
	pthread_t t[2];
	lock_init(&s.lock);
	cond_init(&s.cond);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(thread_start(&t[i], ROLE_VOLUME_WRITER, "a-name-too-long-for-it",
					      wait_for_go, &s), ERR_OK);
	}
	lock_take(&s.lock);
	s.go = true;
	cond_broadcast(&s.cond);
	lock_give(&s.lock);
	thread_join(t[0]);
	thread_join(t[1]);
	ck_assert_int_eq(s.turns, 2);
	ck_assert_int_eq(s.role, ROLE_VOLUME_WRITER);
	ck_assert(s.signals_blocked);
	ck_assert_str_eq(s.name, "a-name-too-long");
	ck_assert_int_eq(thread_role(), ROLE_MAIN);
	thread_role_set(ROLE_HTTP);
	ck_assert_int_eq(thread_role(), ROLE_HTTP);
	thread_role_set(ROLE_MAIN);
	cond_fini(&s.cond);
	lock_fini(&s.lock);
}
END_TEST

START_TEST(wait_ends_at_its_deadline)
{
	struct shared s = {0};
	lock_init(&s.lock);
	cond_init(&s.cond);
	lock_take(&s.lock);
	ck_assert(!cond_wait_until(&s.cond, &s.lock, 0));
	int64_t deadline = clock_mono_ns() + 1000000;
	while (cond_wait_until(&s.cond, &s.lock, deadline)) {
	}
	ck_assert_int_ge(clock_mono_ns(), deadline);
	lock_give(&s.lock);
	cond_fini(&s.cond);
	lock_fini(&s.lock);
}
END_TEST

START_TEST(thread_without_memory_is_not_started)
{
	pthread_t t;
	struct shared s = {0};
	mem_fault_at(1);
	ck_assert_int_eq(thread_start(&t, ROLE_READER, "none", count_up, &s), ERR_NOMEM);
	mem_fault_at(0);
}
END_TEST

Suite *lock_suite(void)
{
	Suite *s = suite_create("lock");
	TCase *t = tcase_create("lock");
	tcase_add_test(t, lock_excludes);
	tcase_add_test(t, broadcast_wakes_all_and_threads_know_their_role);
	tcase_add_test(t, wait_ends_at_its_deadline);
	tcase_add_test(t, thread_without_memory_is_not_started);
	suite_add_tcase(s, t);
	return s;
}
