#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "test/lib/fake_state.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *saver_suite(void);

/* The rows as they should be: key number k of a shard, "" = not there. */
enum { SHARDS = 3, KEYS = 12, CONTENT = 24 };

static struct bed bed;
static struct state *state;
static char model[SHARDS][KEYS][CONTENT];
static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static void use_state(struct state *s)
{
	if (bed.core != NULL) {
		bed_close(&bed);
	}
	bed.options.state = s;
	bed_open(&bed);
}

static void setup(void)
{
	memset(model, 0, sizeof model);
	seed = 4711;
	bed_init(&bed, SHARDS);
	state = fake_state_new();
	use_state(state);
}

static void teardown(void)
{
	bed_fini(&bed);
	fake_state_free(&state);
}

/* ---- rows ------------------------------------------------------------------ */

static struct store_row row_of(const char *key, const char *content)
{
	return (struct store_row){.kind = STORE_ROW_OFFSET,
				  .is_deleted = content[0] == '\0',
				  .key = span_str(key),
				  .content = span_str(content)};
}

static void write_row(uint32_t shard, uint32_t k, const char *content)
{
	char key[16];
	snprintf(key, sizeof key, "key-%u", k);
	snprintf(model[shard][k], CONTENT, "%s", content);
	struct store_row row = row_of(key, content);
	ck_assert_int_eq(bed_rows_write(&bed, shard, &row, 1), ERR_OK);
}

static void write_some(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		char content[CONTENT] = "";
		if (next_random(4) > 0) {
			snprintf(content, sizeof content, "%u", next_random(1000000));
		}
		write_row(next_random(SHARDS), next_random(KEYS), content);
	}
}

static uint32_t model_rows(void)
{
	uint32_t n = 0;
	for (uint32_t s = 0; s < SHARDS; s++) {
		for (uint32_t k = 0; k < KEYS; k++) {
			n += model[s][k][0] != '\0';
		}
	}
	return n;
}

/* What the core has is what was written. */
struct scan {
	struct store_rows_scan op;
	uint32_t n;
	bool is_done;
};

static enum err on_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct scan *s = arg;
	char text[CONTENT];
	unsigned k;
	ck_assert_int_eq(span_to_cstr(key, text, sizeof text), ERR_OK);
	ck_assert_int_eq(sscanf(text, "key-%u", &k), 1);
	ck_assert(shard < SHARDS && k < KEYS);
	ck_assert(span_eq_str(content, model[shard][k]));
	s->n++;
	return ERR_OK;
}

static void on_scanned(struct msg *m)
{
	((struct scan *)m)->is_done = true;
}

static void check_core(void)
{
	struct scan s = {.op = {.reply_to = &bed.mb,
				.done = on_scanned,
				.kind = STORE_ROW_OFFSET,
				.row = on_row,
				.arg = &s}};
	shard_core_rows_scan(bed.core, &s.op);
	ops_until(&bed.mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	ck_assert_uint_eq(s.n, model_rows());
}

static void check_state(struct state *s)
{
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		for (uint32_t k = 0; k < KEYS; k++) {
			char key[16];
			char content[CONTENT];
			snprintf(key, sizeof key, "key-%u", k);
			bool is_there = fake_state_get(s, shard, STORE_ROW_OFFSET, span_str(key),
						       content, sizeof content);
			ck_assert_int_eq(is_there, model[shard][k][0] != '\0');
			ck_assert_str_eq(content, model[shard][k]);
		}
	}
	ck_assert_uint_eq(fake_state_rows(s, STORE_ROW_OFFSET), model_rows());
}

/* A core that begins with this state and the whole log has everything. The state
 * is the test's again afterwards. */
static void check_restart(struct state *s)
{
	use_state(s);
	check_core();
	bed_close(&bed);
	check_state(s);
}

static void save_now(struct shard_core *core, void *arg)
{
	(void)arg;
	shard_save_core(core, clock_mono_ns());
}

static void save_and_wait(void)
{
	uint32_t commits = fake_state_commits(state);
	bed_on_core(&bed, save_now, NULL);
	fake_state_wait(state, commits + 1);
	bed_settle(&bed);	/* the answer is back */
}

/* ---- tests ------------------------------------------------------------------- */

START_TEST(rows_of_every_shard_are_saved_by_themselves_and_come_back)
{
	uint32_t commits = fake_state_commits(state);
	write_row(0, 1, "zero");
	write_row(1, 1, "one");
	write_row(2, 1, "two");
	write_row(2, 2, "gone");
	write_row(2, 2, "");
	int64_t begin_ns = clock_mono_ns();
	fake_state_wait(state, commits + 1);
	while (fake_state_rows(state, STORE_ROW_OFFSET) < 3) {
		ck_assert_int_lt(clock_mono_ns() - begin_ns, (int64_t)10 * 1000000000);
		usleep(1000);
	}
	check_state(state);
	/* Nothing changes, so nothing more is written. */
	bed_settle(&bed);
	commits = fake_state_commits(state);
	usleep(1300 * 1000);
	ck_assert_uint_eq(fake_state_commits(state), commits);
	check_restart(state);
}
END_TEST

START_TEST(a_pass_writes_what_changed)
{
	write_some(60);
	save_and_wait();
	check_state(state);
	ck_assert_uint_eq(fake_state_index(state, 1), bed.core->shards[1].applied_index);
	write_row(1, 3, "changed");
	save_and_wait();
	ck_assert_uint_eq(fake_state_last_shards(state), 1);
	ck_assert_uint_eq(fake_state_last_bytes(state), strlen("key-3") + strlen("changed"));
	/* Of the catalogue: its namespace and one of two hubs. */
	struct store_partition *p = bed_create(&bed, "h1", 2);
	store_partition_drop(&p);
	p = bed_create(&bed, "h2", 2);
	store_partition_drop(&p);
	save_and_wait();
	ck_assert_uint_eq(fake_state_rows(state, CATALOG_ROW_HUB), 2);
	uint64_t all = fake_state_last_bytes(state);
	struct catalog_command cmd = ops_create("h1", 0);
	cmd.op = CATALOG_HUB_DELETE;
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	save_and_wait();
	ck_assert_uint_eq(fake_state_rows(state, CATALOG_ROW_HUB), 1);
	ck_assert_uint_lt(fake_state_last_bytes(state), all);
	ck_assert_uint_eq(fake_state_last_shards(state), 1);
	/* An index alone waits; the end takes it. */
	p = bed_find(&bed, "h2", 0);
	uint32_t shard = p->shard->number;
	uint64_t index = fake_state_index(state, shard);
	ck_assert_int_eq(bed_append(&bed, p, 0, 1), ERR_OK);
	store_partition_drop(&p);
	bed_on_core(&bed, save_now, NULL);
	bed_settle(&bed);
	ck_assert_uint_eq(fake_state_index(state, shard), index);
	bed_close(&bed);
	ck_assert_uint_eq(fake_state_index(state, shard), index + 1);
	check_restart(state);
}
END_TEST

START_TEST(a_slow_state_holds_nobody_up)
{
	fake_state_hold(state);
	uint32_t commits = fake_state_commits(state);
	write_some(10);
	bed_on_core(&bed, save_now, NULL);
	fake_state_wait_begun(state, commits + 1);
	struct store_partition *p = bed_create(&bed, "h", 1);
	for (int round = 0; round < 5; round++) {
		write_some(20);
		ck_assert_int_eq(bed_append(&bed, p, round, 1), ERR_OK);
		/* One job at a time. */
		bed_on_core(&bed, save_now, NULL);
	}
	store_partition_drop(&p);
	check_core();
	ck_assert_uint_eq(fake_state_commits(state), commits);
	fake_state_release(state);
	/* What came meanwhile follows by itself. */
	fake_state_wait(state, commits + 2);
	check_state(state);
	check_restart(state);
}
END_TEST

START_TEST(a_failed_commit_is_made_up_for)
{
	static const enum err errors[] = {ERR_FULL, ERR_NOMEM, ERR_CORRUPT};
	write_some(30);
	save_and_wait();
	for (size_t i = 0; i < 3; i++) {
		struct catalog_command cmd = ops_create("h", 2);
		ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
		write_some(30);
		fake_state_fail(state, errors[i], 1);
		save_and_wait();
		write_some(i == 0 ? 0 : 5);
		cmd.op = CATALOG_HUB_DELETE;
		ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
		save_and_wait();
		check_state(state);
		ck_assert_uint_eq(fake_state_rows(state, CATALOG_ROW_HUB), 0);
		struct state *copy = fake_state_copy(state);
		check_restart(copy);
		fake_state_free(&copy);
		use_state(state);
		check_core();
	}
}
END_TEST

START_TEST(a_failed_commit_is_repeated_unasked)
{
	uint32_t commits = fake_state_commits(state);
	write_some(30);
	fake_state_fail(state, ERR_FULL, 2);
	fake_state_wait(state, commits + 3);
	check_state(state);
}
END_TEST

START_TEST(nothing_is_lost_when_killed_at_any_time)
{
	enum { COPIES = 12 };
	struct state *copies[COPIES];
	for (int i = 0; i < COPIES; i++) {
		write_some(next_random(25));
		if (i % 3 == 0) {
			fake_state_fail(state, ERR_FULL, i % 2 == 0);
			save_and_wait();
			fake_state_fail(state, ERR_FULL, 0);
		}
		write_some(next_random(4));
		copies[i] = fake_state_copy(state);
	}
	bed_close(&bed);
	check_state(state);
	for (int i = 0; i < COPIES; i++) {
		check_restart(copies[i]);
		fake_state_free(&copies[i]);
	}
	/* Without any state, and with the file new. */
	struct state *none = fake_state_new();
	check_restart(none);
	check_restart(none);
	fake_state_free(&none);
}
END_TEST

static void *release_later(void *arg)
{
	(void)arg;
	usleep(200 * 1000);
	fake_state_release(state);
	return NULL;
}

START_TEST(closing_waits_for_the_last_job)
{
	write_some(20);
	fake_state_hold(state);
	uint32_t commits = fake_state_commits(state);
	bed_on_core(&bed, save_now, NULL);
	fake_state_wait_begun(state, commits + 1);
	write_some(20);
	pthread_t t;
	ck_assert_int_eq(pthread_create(&t, NULL, release_later, NULL), 0);
	bed_close(&bed);
	ck_assert_uint_eq(fake_state_commits(state), commits + 2);
	pthread_join(t, NULL);
	check_state(state);
	check_restart(state);
}
END_TEST

START_TEST(closing_ends_when_the_state_cannot_be_written)
{
	write_some(20);
	save_and_wait();
	struct state *before = fake_state_copy(state);
	write_some(20);
	uint32_t commits = fake_state_commits(state);
	fake_state_fail(state, ERR_FULL, 1000);
	bed_close(&bed);
	ck_assert_uint_eq(fake_state_commits(state), commits + 1);
	ck_assert_uint_eq(fake_state_index(state, 1), fake_state_index(before, 1));
	fake_state_fail(state, ERR_FULL, 0);
	check_restart(state);
	fake_state_free(&before);
}
END_TEST

START_TEST(much_goes_in_several_jobs)
{
	enum { SIZE = 1 << 20, ROWS = 5 };
	static uint8_t content[SIZE];
	uint32_t commits = fake_state_commits(state);
	fake_state_hold(state);
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		for (uint32_t i = 0; i < ROWS; i++) {
			char key[16];
			snprintf(key, sizeof key, "large-%u", i);
			struct store_row row = {.kind = STORE_ROW_GROUP,
						.key = span_str(key),
						.content = span_of(content, SIZE)};
			ck_assert_int_eq(bed_rows_write(&bed, shard, &row, 1), ERR_OK);
		}
	}
	fake_state_release(state);
	/* One may have gone before the hold. */
	for (uint32_t n = commits + 1; fake_state_rows(state, STORE_ROW_GROUP) < SHARDS * ROWS; n++) {
		fake_state_wait(state, n);
		ck_assert_uint_lt(fake_state_last_bytes(state), SHARD_JOB_TARGET + ROWS * SIZE + 4096);
	}
	ck_assert_uint_ge(fake_state_commits(state), commits + 2);
	use_state(state);
	ck_assert_uint_eq(bed_rows(&bed, STORE_ROW_GROUP), SHARDS * ROWS);
}
END_TEST

START_TEST(rows_of_a_later_program_are_kept)
{
	write_some(20);
	bed_close(&bed);
	fake_state_set(state, 2, 200, span_str("who"), span_str("knows"));
	use_state(state);
	write_row(2, 0, "more");
	check_core();
	bed_close(&bed);
	char content[CONTENT];
	ck_assert(fake_state_get(state, 2, 200, span_str("who"), content, sizeof content));
	ck_assert_str_eq(content, "knows");
	check_restart(state);
}
END_TEST

START_TEST(a_damaged_state_is_rebuilt_from_the_log)
{
	struct catalog_command cmd = ops_create("h", 2);
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
	for (uint32_t shard = 0; shard <= SHARDS; shard++) {
		write_some(30);
		bed_close(&bed);
		if (shard < SHARDS) {
			fake_state_damage(state, shard);
		} else {
			/* The catalogue's kinds have no place there. */
			fake_state_set(state, 1, CATALOG_ROW_HUB, span_str("k"), span_str(""));
		}
		use_state(state);
		check_core();
		struct store_partition *p = bed_find(&bed, "h", 1);
		ck_assert_ptr_nonnull(p);
		store_partition_drop(&p);
		save_and_wait();
		check_state(state);
		ck_assert_uint_eq(fake_state_last_shards(state), SHARDS);
		ck_assert_uint_eq(fake_state_rows(state, CATALOG_ROW_HUB), 1);
	}
}
END_TEST

struct short_save {
	long n;
	bool has_fired;
};

static void save_with_short_memory(struct shard_core *core, void *arg)
{
	struct short_save *s = arg;
	mem_fault_at(s->n);
	shard_save_core(core, clock_mono_ns());
	s->has_fired = mem_fault_fired();
	mem_fault_at(0);
}

START_TEST(short_memory_defers_a_job)
{
	for (struct short_save s = {.n = 1, .has_fired = true}; s.has_fired; s.n++) {
		struct catalog_command cmd = ops_create("h", 2);
		ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
		cmd.op = CATALOG_GROUP_CREATE;
		for (int i = 0; i < 20; i++) {
			snprintf(cmd.group, sizeof cmd.group, "%0200d", i);
			ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
		}
		write_some(20);
		bed_on_core(&bed, save_with_short_memory, &s);
		cmd.op = CATALOG_HUB_DELETE;
		ck_assert_int_eq(bed_command(&bed, &cmd), ERR_OK);
		bed_close(&bed);
		check_state(state);
		ck_assert_uint_eq(fake_state_rows(state, CATALOG_ROW_HUB), 0);
		check_restart(state);
		use_state(state);
	}
}
END_TEST

START_TEST(short_memory_fails_a_start_with_a_state)
{
	write_some(20);
	save_and_wait();
	struct state *before = fake_state_copy(state);
	write_some(20);
	bed_close(&bed);
	bed.options.state = before;
	for (long n = 1;; n++) {
		struct err_detail d = {""};
		struct shard_core *core = NULL;
		mem_fault_at(n);
		enum err e = shard_core_new(&bed.options, &core, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert(e == ERR_OK || (fired && e == ERR_NOMEM && d.text[0] != '\0'));
		if (e == ERR_OK) {
			shard_core_free(&core);
		}
		if (!fired) {
			break;
		}
	}
	check_restart(before);
	fake_state_free(&before);
}
END_TEST

START_TEST(producer_ids_come_once_also_after_a_restart)
{
	int64_t want = 0;
	for (uint32_t i = 1; i <= 6; i++) {
		struct ops_command c = {.op = {.reply_to = &bed.mb,
					       .done = ops_command_done,
					       .command = {.op = CATALOG_PRODUCER_IDS,
							   .producer_ids = i * 10,
							   .first_producer_id = -1}}};
		shard_core_command(bed.core, &c.op);
		ops_until(&bed.mb, &c.is_done);
		ck_assert_int_eq(c.op.err, ERR_OK);
		ck_assert_int_eq(c.op.command.first_producer_id, want);
		want += i * 10;
		if (i == 2) {
			use_state(state);
		} else if (i == 4) {
			use_state(NULL);	/* from the log */
		}
	}
	struct catalog_command cmd = {.op = CATALOG_PRODUCER_IDS};
	ck_assert_int_eq(bed_command(&bed, &cmd), ERR_INVALID);
}
END_TEST

Suite *saver_suite(void)
{
	Suite *s = suite_create("saver");
	TCase *t = tcase_create("saver");
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, rows_of_every_shard_are_saved_by_themselves_and_come_back);
	tcase_add_test(t, a_pass_writes_what_changed);
	tcase_add_test(t, a_slow_state_holds_nobody_up);
	tcase_add_test(t, a_failed_commit_is_made_up_for);
	tcase_add_test(t, a_failed_commit_is_repeated_unasked);
	tcase_add_test(t, nothing_is_lost_when_killed_at_any_time);
	tcase_add_test(t, closing_waits_for_the_last_job);
	tcase_add_test(t, closing_ends_when_the_state_cannot_be_written);
	tcase_add_test(t, much_goes_in_several_jobs);
	tcase_add_test(t, rows_of_a_later_program_are_kept);
	tcase_add_test(t, a_damaged_state_is_rebuilt_from_the_log);
	tcase_add_test(t, short_memory_defers_a_job);
	tcase_add_test(t, short_memory_fails_a_start_with_a_state);
	tcase_add_test(t, producer_ids_come_once_also_after_a_restart);
	suite_add_tcase(s, t);
	return s;
}
