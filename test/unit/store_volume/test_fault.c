#include <stdio.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/mem.h"
#include "store/volume/volume_priv.h"

static struct bed bed;

static void setup(void)
{
	bed_init(&bed);
	bed_log_catch();
}
static void teardown(void)
{
	bed_fini(&bed);
}

static void fill(void)
{
	bed_open(&bed, false);
	while (!bed_has_file(&bed, 3, ".mdb")) {
		bed_append(&bed, 0, 1, 40000);
		bed_append(&bed, 1, 2, 40000);
	}
	bed_wait_sealed(&bed, 1);
	bed_wait_sealed(&bed, 2);
	bed_close(&bed);
}

/* Every allocation of volume_open fails once; it says so and leaves all as it was. */
static void open_with_faults(bool was_unclean)
{
	struct err_detail d;
	for (long n = 1;; n++) {
		mem_fault_at(n);
		enum err e = bed_try_open(&bed, was_unclean, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			ck_assert_int_gt(n, 5);
			return;
		}
		ck_assert_msg(e == ERR_NOMEM, "allocation %ld: %s: %s", n, err_text(e), d.text);
		ck_assert_ptr_null(bed.v);
	}
}

START_TEST(founding_survives_lack_of_memory)
{
	open_with_faults(false);
	bed_start(&bed);
	bed_append(&bed, 0, 1, 100);
	bed_check_all(&bed);
}
END_TEST

START_TEST(open_survives_lack_of_memory)
{
	fill();
	open_with_faults(false);
	bed_start(&bed);
	bed_check_all(&bed);
	bed_close(&bed);
	char path[256];
	bed_file(&bed, 2, ".idx", path, sizeof path);
	unlink(path);
	open_with_faults(true);
	bed_start(&bed);
	bed_check_all(&bed);
}
END_TEST

static void on_answer(struct msg *m)
{
	(void)m;
}

/* Runs a read on this thread, as a reader would, with its n-th allocation failing. */
START_TEST(read_survives_lack_of_memory)
{
	struct err_detail d;
	fill();
	for (long n = 1;; n++) {
		ck_assert_int_eq(bed_try_open(&bed, false, &d), ERR_OK);
		thread_role_set(ROLE_READER);
		struct reader rd = {.volume = bed.v, .slot = ENV_READER_0};
		struct volume_read r = {
			.part = bed_part(0),
			.limit = bed.next_seq[0],
			.max_bytes = 60000,
			.reply_to = &bed.box,
			.done = on_answer,
		};
		volume_read(bed.v, &r);
		read_queue_stop(&bed.v->queue);
		mem_fault_at(n);
		reader_main(&rd);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_ptr_eq(mailbox_take(&bed.box), &r.msg);
		if (r.err == ERR_OK) {
			ck_assert_uint_eq(r.out.n, 1);
			bed_check_batches(0, &r.out);
			store_batches_drop(&r.out);
		} else {
			ck_assert_int_eq(r.err, ERR_NOMEM);
			ck_assert_uint_eq(r.out.n, 0);
		}
		bed_close(&bed);
		if (!fired) {
			ck_assert_int_eq(r.err, ERR_OK);
			ck_assert_int_gt(n, 3);
			return;
		}
	}
}
END_TEST

Suite *fault_suite(void)
{
	Suite *s = suite_create("fault");
	TCase *t = tcase_create("fault");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, founding_survives_lack_of_memory);
	tcase_add_test(t, open_survives_lack_of_memory);
	tcase_add_test(t, read_survives_lack_of_memory);
	suite_add_tcase(s, t);
	return s;
}
