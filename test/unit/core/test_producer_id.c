#include "base/mem.h"
#include "test/unit/core/core_fix.h"

static struct core_fix fix;
static int answered;

static void setup(void)
{
	core_fix_open(&fix);
	answered = 0;
}

static void teardown(void)
{
	core_fix_close(&fix);
}

static void on_id(struct msg *m)
{
	(void)m;
	answered++;
}

static void ask(struct core_producer_id *op)
{
	*op = (struct core_producer_id){.reply_to = &fix.reply, .done = on_id, .id = -1};
	core_producer_id(fix.core, op);
}

static void wait_for(int n)
{
	while (answered < n) {
		core_fix_wait(&fix);
	}
}

/* More than a block at once: asked for while the first block is on its way. */
START_TEST(every_id_is_given_once)
{
	enum { N = 2500 };
	struct core_producer_id *ops = mem_calloc(N, sizeof *ops);
	bool *seen = mem_calloc(N, sizeof *seen);
	for (int i = 0; i < N; i++) {
		ask(&ops[i]);
	}
	wait_for(N);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(ops[i].err, ERR_OK);
		ck_assert_int_ge(ops[i].id, 0);
		ck_assert_int_lt(ops[i].id, N);
		ck_assert(!seen[ops[i].id]);
		seen[ops[i].id] = true;
	}
	mem_free(seen);
	mem_free(ops);
}
END_TEST

START_TEST(a_new_core_uses_a_new_block)
{
	struct core_producer_id first;
	ask(&first);
	wait_for(1);
	core_free(&fix.core);
	struct core_options o = {.store = fix.store, .host = "h", .inflight_max_bytes = 1 << 20};
	ck_assert_int_eq(core_new(&o, &fix.core), ERR_OK);
	struct core_producer_id second;
	ask(&second);
	wait_for(2);
	ck_assert_int_eq(second.err, ERR_OK);
	ck_assert_int_gt(second.id, first.id);
}
END_TEST

START_TEST(a_stopped_store_is_said)
{
	store_close(fix.store);
	struct core_producer_id op;
	ask(&op);
	wait_for(1);
	ck_assert_int_eq(op.err, ERR_STOPPING);
}
END_TEST

Suite *producer_id_suite(void)
{
	Suite *s = suite_create("producer_id");
	TCase *t = tcase_create("ids");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_id_is_given_once);
	tcase_add_test(t, a_new_core_uses_a_new_block);
	tcase_add_test(t, a_stopped_store_is_said);
	suite_add_tcase(s, t);
	return s;
}
