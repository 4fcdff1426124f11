#include <stdatomic.h>

#include "bed.h"
#include "suites.h"

/* One thread appends, others read and seek what is there already; segments roll,
 * are sealed and evicted meanwhile. */

static struct bed bed;
static _Atomic int64_t visible[BED_PARTS];
static _Atomic int64_t trimmed[BED_PARTS];
static atomic_bool is_over;

static void setup(void)
{
	bed_init(&bed);
}
static void teardown(void)
{
	bed_fini(&bed);
}

enum { PARTS = 4, READERS = 3, ROUNDS = 150 };

static void on_answer(struct msg *m)
{
	(void)m;
}

static void read_once(struct mailbox *box, uint32_t p, int64_t from, int64_t limit)
{
	struct volume_read r = {
		.reply_to = box,
		.done = on_answer,
		.part = bed_part(p),
		.from = from,
		.limit = limit,
		.max_bytes = 100000,
	};
	volume_read(bed.v, &r);
	msg_run_all(mailbox_wait(box, INT64_MAX));
	ck_assert_int_eq(r.err, ERR_OK);
	ck_assert_uint_gt(r.out.n, 0);
	ck_assert_int_le(r.out.v[0].base_seq, from);
	bed_check_batches(p, &r.out);
	struct volume_seek s = {
		.reply_to = box,
		.done = on_answer,
		.part = bed_part(p),
		.after_ms = r.out.v[0].append_ms,
		.inclusive = true,
		.limit = limit,
	};
	store_batches_drop(&r.out);
	volume_seek(bed.v, &s);
	msg_run_all(mailbox_wait(box, INT64_MAX));
	ck_assert_int_eq(s.err, ERR_OK);
	ck_assert_int_le(s.seq, from);
}

static void *read_loop(void *arg)
{
	struct mailbox box;
	mailbox_init(&box, NULL, NULL);
	uint64_t random = (uintptr_t)arg;
	while (!atomic_load(&is_over)) {
		random = random * 6364136223846793005U + 1442695040888963407U;
		uint32_t p = (uint32_t)(random >> 60) % PARTS;
		int64_t limit = atomic_load(&visible[p]);
		if (limit > 0) {
			read_once(&box, p, (int64_t)(random >> 20) % limit, limit);
		}
	}
	mailbox_fini(&box);
	return NULL;
}

START_TEST(readers_and_writer_agree)
{
	bed.options.open_segments_max = 2;
	bed_open(&bed, false);
	pthread_t threads[READERS];
	for (uintptr_t i = 0; i < READERS; i++) {
		ck_assert_int_eq(thread_start(&threads[i], ROLE_MAIN, "test-reader", read_loop,
					      (void *)(i + 1)),
				 ERR_OK);
	}
	for (int i = 0; i < ROUNDS; i++) {
		for (uint32_t p = 0; p < PARTS; p++) {
			struct bed_entry *e = bed_entry_begin(&bed, bed_shard(&bed, p));
			bed_entry_batch(&bed, e, p, 2, 5000);
			bed_entry_batch(&bed, e, p, 1, 100);
			bed_submit(&bed, e);
		}
		bed_wait(&bed);
		for (uint32_t p = 0; p < PARTS; p++) {
			atomic_store(&visible[p], bed.next_seq[p]);
		}
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < READERS; i++) {
		thread_join(threads[i]);
	}
	bed_check_all(&bed);
	ck_assert(bed_has_file(&bed, 4, ".mdb"));
}
END_TEST

/* The start of each partition moves on while it is read, dead segments go and what is
 * left of others is copied. */
static void *read_trimmed_loop(void *arg)
{
	struct mailbox box;
	mailbox_init(&box, NULL, NULL);
	uint64_t random = (uintptr_t)arg;
	while (!atomic_load(&is_over)) {
		random = random * 6364136223846793005U + 1442695040888963407U;
		uint32_t p = (uint32_t)(random >> 60) % PARTS;
		struct volume_read r = {
			.reply_to = &box,
			.done = on_answer,
			.part = bed_part(p),
			.from = 0,
			.limit = atomic_load(&visible[p]),
			.max_bytes = 100000,
		};
		int64_t start = atomic_load(&trimmed[p]);
		r.from = (random >> 20) % 2 == 0 ? 0 : (int64_t)(random >> 30) % (r.limit + 1);
		volume_read(bed.v, &r);
		msg_run_all(mailbox_wait(&box, INT64_MAX));
		ck_assert_int_eq(r.err, ERR_OK);
		int64_t from = r.from > start ? r.from : start;
		ck_assert(r.out.n > 0 || from >= r.limit || atomic_load(&trimmed[p]) > start);
		ck_assert(r.out.n == 0 || r.out.v[0].base_seq + r.out.v[0].count > start);
		bed_check_batches(p, &r.out);
		store_batches_drop(&r.out);
		struct volume_cut c = {
			.reply_to = &box,
			.done = on_answer,
			.part = bed_part(p),
			.limit = r.limit,
			.before_ms = INT64_MIN,
			.keep_bytes = 50000,
		};
		volume_cut(bed.v, &c);
		msg_run_all(mailbox_wait(&box, INT64_MAX));
		ck_assert(c.err == ERR_BUSY || (c.err == ERR_OK && c.seq >= start));
	}
	mailbox_fini(&box);
	return NULL;
}

START_TEST(readers_and_cleaner_agree)
{
	bed.options.open_segments_max = 2;
	bed.options.clean_pause_ms = 1;
	bed_open(&bed, false);
	pthread_t threads[READERS];
	for (uintptr_t i = 0; i < READERS; i++) {
		ck_assert_int_eq(thread_start(&threads[i], ROLE_MAIN, "test-reader",
					      read_trimmed_loop, (void *)(i + 1)),
				 ERR_OK);
	}
	for (int i = 0; i < 2 * ROUNDS; i++) {
		for (uint32_t p = 0; p < PARTS; p++) {
			struct bed_entry *e = bed_entry_begin(&bed, bed_shard(&bed, p));
			bed_entry_batch(&bed, e, p, 2, 5000);
			bed_entry_batch(&bed, e, p, 1, 100);
			bed_submit(&bed, e);
		}
		bed_wait(&bed);
		for (uint32_t p = 0; p < PARTS; p++) {
			atomic_store(&visible[p], bed.next_seq[p]);
			/* One keeps all, the others less and less. */
			int64_t start = bed.next_seq[p] - 400 / (p + 1);
			if (p > 0 && start > 0) {
				volume_set_start(bed.v, bed_part(p), start);
				atomic_store(&trimmed[p], start);
			}
		}
		for (uint32_t k = 0; k < bed.options.shards; k++) {
			volume_set_floor(bed.v, k, bed.next_index[k] - 1);
		}
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < READERS; i++) {
		thread_join(threads[i]);
	}
	ck_assert(!bed_has_file(&bed, 1, ".mdb"));
	for (int round = 0; round < 2; round++) {
		for (uint32_t p = 0; p < PARTS; p++) {
			volume_set_start(bed.v, bed_part(p), atomic_load(&trimmed[p]));
			bed_check_read(&bed, p, atomic_load(&trimmed[p]), bed.next_seq[p]);
		}
		bed_reopen(&bed, round == 0);
	}
}
END_TEST

Suite *concurrent_suite(void)
{
	Suite *s = suite_create("concurrent");
	TCase *t = tcase_create("concurrent");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, readers_and_writer_agree);
	tcase_add_test(t, readers_and_cleaner_agree);
	suite_add_tcase(s, t);
	return s;
}
