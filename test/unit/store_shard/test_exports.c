#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "test/lib/fake_state.h"
#include "test/unit/store_shard/shard_bed.h"

Suite *exports_suite(void);

/* Shard 1 is on the second volume. Row "k" of each shard tells the last write. */
enum { SHARDS = 3, VOLUMES = 2, TEXT = 32 };

static struct bed bed;
static struct state *state;
static struct exports exports;
static char dir[64];
static char last[SHARDS][TEXT];
static uint32_t n_written;

/* The interval is that of bed.options. */
static void open_core(void)
{
	struct err_detail d = {""};
	enum err e = exports_open(dir, bed.options.store_uuid, SHARDS, &exports, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	bed.options.state = state;
	for (uint32_t i = 0; i < VOLUMES; i++) {
		fake_volume_forget_told(bed.volumes[i]);
	}
	bed_open(&bed);
}

static void close_core(void)
{
	bed_close(&bed);
	exports_fini(&exports);
}

static void restart(void)
{
	close_core();
	open_core();
}

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/shard-exports-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	memset(last, 0, sizeof last);
	n_written = 0;
	state = fake_state_new();
	bed_make(&bed, SHARDS, VOLUMES);
	bed.dirs[0] = dir;
	bed.options.exports = &exports;
	bed.options.export_interval_ms = (int64_t)3600 * 1000;
	open_core();
}

static void teardown(void)
{
	char command[128];
	bed_fini(&bed);
	exports_fini(&exports);
	fake_state_free(&state);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

/* ---- what is written ------------------------------------------------------------- */

static void write_row(uint32_t shard)
{
	snprintf(last[shard], TEXT, "%u", ++n_written);
	struct store_row row = {.kind = STORE_ROW_OFFSET,
				.key = span_str("k"),
				.content = span_str(last[shard])};
	ck_assert_int_eq(bed_rows_write(&bed, shard, &row, 1), ERR_OK);
}

static void write_rows(void)
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		write_row(i);
	}
}

static uint64_t applied(uint32_t shard)
{
	return bed.core->shards[shard].applied_index;
}

struct scan {
	struct store_rows_scan op;
	bool is_done;
	uint32_t n;
};

static void on_scanned(struct msg *m)
{
	((struct scan *)m)->is_done = true;
}

static enum err on_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	struct scan *s = arg;
	ck_assert(span_eq_str(key, "k"));
	ck_assert(span_eq_str(content, last[shard]));
	s->n++;
	return ERR_OK;
}

static void check_rows(uint32_t n)
{
	struct scan s = {.op = {.reply_to = &bed.mb,
				.done = on_scanned,
				.kind = STORE_ROW_OFFSET,
				.row = on_row,
				.arg = &s}};
	shard_core_rows_scan(bed.core, &s.op);
	ops_until(&bed.mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	ck_assert_uint_eq(s.n, n);
}

/* ---- exports asked for ----------------------------------------------------------- */

struct ask {
	struct shard_export op;
	bool is_done;
};

static void on_exported(struct msg *m)
{
	((struct ask *)m)->is_done = true;
}

static void ask(struct ask *a)
{
	*a = (struct ask){.op = {.reply_to = &bed.mb, .done = on_exported, .err = ERR_INTERNAL}};
	shard_core_export(bed.core, &a->op);
}

static enum err export_now(void)
{
	struct ask a;
	ask(&a);
	ops_until(&bed.mb, &a.is_done);
	return a.op.err;
}

static void check_floors(uint64_t const want[SHARDS])
{
	for (uint32_t i = 0; i < SHARDS; i++) {
		ck_assert_uint_eq(fake_volume_floor(bed.volumes[i % VOLUMES], i), want[i]);
	}
}

/* Two exports with rows before each, then rows that neither has. The indexes of the
 * older one and of the newer one. */
static void make_two(uint64_t older[SHARDS], uint64_t newer[SHARDS])
{
	uint64_t *indexes[] = {older, newer};
	for (int i = 0; i < 2; i++) {
		write_rows();
		ck_assert_int_eq(export_now(), ERR_OK);
		for (uint32_t k = 0; k < SHARDS; k++) {
			indexes[i][k] = applied(k);
		}
	}
	write_rows();
}

static void flip_export(uint64_t number)
{
	char path[128];
	snprintf(path, sizeof path, "%s/export/%010llu.exp", dir, (unsigned long long)number);
	FILE *f = fopen(path, "r+");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fseek(f, 60, SEEK_SET), 0);
	int c = fgetc(f);
	ck_assert_int_eq(fseek(f, 60, SEEK_SET), 0);
	fputc(c ^ 4, f);
	fclose(f);
}

/* ---- when they are made ---------------------------------------------------------- */

START_TEST(one_is_made_when_something_moved)
{
	close_core();
	bed.options.export_interval_ms = 20;
	open_core();
	while (fake_volume_floor(bed.volume, 0) == 0) {
		write_row(0);
		usleep(2000);
		bed_settle(&bed);
	}
	/* Now nothing moves, so that after one more none follows. */
	usleep(200 * 1000);
	uint32_t dumps = fake_state_dumps(state);
	usleep(200 * 1000);
	ck_assert_uint_eq(fake_state_dumps(state), dumps);
	bed_settle(&bed);
	for (uint32_t i = 0; i < SHARDS; i++) {
		ck_assert_uint_eq(exports.v[0].shards[i].applied_index, applied(i));
	}
	write_row(1);
	fake_state_wait_dump(state, dumps + 1);
}
END_TEST

START_TEST(one_asked_for_has_all_that_was_applied)
{
	uint64_t older[SHARDS];
	uint64_t newer[SHARDS];
	static const uint64_t none[SHARDS];
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	check_floors(none);
	make_two(older, newer);
	ck_assert_uint_eq(exports.v[0].number, 3);
	for (uint32_t i = 0; i < SHARDS; i++) {
		ck_assert_uint_eq(exports.v[1].shards[i].applied_index, older[i]);
		ck_assert_uint_eq(exports.v[0].shards[i].applied_index, newer[i]);
		ck_assert_uint_eq(exports_floor(&exports, i), older[i]);
	}
	check_floors(older);
	/* An index alone is exported too. */
	struct store_partition *p = bed_create(&bed, "h", 1);
	uint32_t shard = p->shard->number;
	ck_assert_int_eq(bed_append(&bed, p, 0, 1), ERR_OK);
	store_partition_drop(&p);
	ck_assert_int_eq(export_now(), ERR_OK);
	ck_assert_uint_eq(exports.v[0].shards[shard].applied_index, applied(shard));
	/* And though nothing moved. */
	ck_assert_int_eq(export_now(), ERR_OK);
	ck_assert_uint_eq(exports.v[0].number, 5);
	/* The floors are told again at the next start. */
	restart();
	check_floors((uint64_t[SHARDS]){exports_floor(&exports, 0), exports_floor(&exports, 1),
					exports_floor(&exports, 2)});
	ck_assert_uint_gt(fake_volume_floor(bed.volume, 0), newer[0]);
}
END_TEST

START_TEST(those_who_ask_during_one_get_the_next)
{
	struct ask early[3];
	struct ask late[2];
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	uint32_t dumps = fake_state_dumps(state);
	fake_state_hold_dump(state, true);
	ask(&early[0]);
	fake_state_wait_dump(state, dumps + 1);
	write_rows();	/* held up by nothing */
	ask(&late[0]);
	ask(&late[1]);
	bed_settle(&bed);
	ck_assert(!early[0].is_done);
	fake_state_hold_dump(state, false);
	ops_until(&bed.mb, &late[0].is_done);
	ops_until(&bed.mb, &late[1].is_done);
	ck_assert(early[0].is_done && late[0].op.err == ERR_OK && late[1].op.err == ERR_OK);
	ck_assert_uint_eq(exports.v[0].number, 3);
	for (uint32_t i = 0; i < SHARDS; i++) {
		ck_assert_uint_eq(exports.v[0].shards[i].applied_index, applied(i));
		ck_assert_uint_lt(exports.v[1].shards[i].applied_index, applied(i));
	}
	/* A job is out: they wait for it, then for their own. */
	fake_state_hold(state);
	write_rows();
	for (int i = 0; i < 3; i++) {
		ask(&early[i]);
	}
	bed_settle(&bed);
	fake_state_release(state);
	for (int i = 0; i < 3; i++) {
		ops_until(&bed.mb, &early[i].is_done);
		ck_assert_int_eq(early[i].op.err, ERR_OK);
	}
	ck_assert_uint_eq(exports.v[0].shards[2].applied_index, applied(2));
}
END_TEST

struct times {
	int64_t next_ns;
	int64_t save_ns;
};

static void get_times(struct shard_core *core, void *arg)
{
	struct times *t = arg;
	t->next_ns = core->saver.exporter.next_ns - clock_mono_ns();
	t->save_ns = core->saver.save_ns - clock_mono_ns();
}

static void *release_later(void *arg)
{
	(void)arg;
	usleep(200 * 1000);
	fake_state_hold_dump(state, false);
	return NULL;
}

START_TEST(a_long_one_is_followed_by_ten_times_as_much_rest)
{
	close_core();
	bed.options.export_interval_ms = 50;
	open_core();
	write_rows();
	fake_state_hold_dump(state, true);
	pthread_t t;
	ck_assert_int_eq(pthread_create(&t, NULL, release_later, NULL), 0);
	ck_assert_int_eq(export_now(), ERR_OK);
	pthread_join(t, NULL);
	write_rows();
	struct times times;
	bed_on_core(&bed, get_times, &times);
	ck_assert_int_gt(times.next_ns, (int64_t)1500 * 1000000);
}
END_TEST

/* ---- failures -------------------------------------------------------------------- */

START_TEST(a_state_that_cannot_be_written_fails_the_export)
{
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	write_rows();
	fake_state_fail(state, ERR_FULL, 1000);
	for (uint32_t i = 1; i <= 12; i++) {
		ck_assert_int_eq(export_now(), ERR_FULL);
		ck_assert_uint_eq(exports.v[0].number, 1);
		/* Pauses grow up to the time in which an index is written anyway. */
		struct times t;
		bed_on_core(&bed, get_times, &t);
		int64_t want_ms = SHARD_STATE_CHANGED_MS << (i < 6 ? i - 1 : 5);
		want_ms = want_ms < SHARD_STATE_IDLE_MS ? want_ms : SHARD_STATE_IDLE_MS;
		ck_assert_int_le(t.save_ns, want_ms * 1000000);
		ck_assert_int_gt(t.save_ns, want_ms * 1000000 / 2);
	}
	fake_state_fail(state, ERR_FULL, 0);
	ck_assert_int_eq(export_now(), ERR_OK);
	ck_assert_uint_eq(exports.v[0].shards[1].applied_index, applied(1));
	write_rows();
	struct times t;
	bed_on_core(&bed, get_times, &t);
	ck_assert_int_le(t.save_ns, (int64_t)SHARD_STATE_CHANGED_MS * 1000000);
}
END_TEST

START_TEST(a_damaged_state_is_not_exported)
{
	uint64_t older[SHARDS];
	uint64_t newer[SHARDS];
	make_two(older, newer);
	fake_state_damage(state, 1);
	write_row(0);
	ck_assert_int_eq(export_now(), ERR_CORRUPT);
	ck_assert_uint_eq(exports.v[0].number, 2);
	check_floors(older);
	restart();
	check_rows(SHARDS);
	ck_assert_int_eq(export_now(), ERR_OK);
}
END_TEST

struct short_ask {
	struct ask *ask;
	long n;
	bool has_fired;
};

static void ask_with_short_memory(struct shard_core *core, void *arg)
{
	struct short_ask *s = arg;
	(void)core;
	mem_fault_at(s->n);
	s->ask->op.msg.run(&s->ask->op.msg);
	s->has_fired = mem_fault_fired();
	mem_fault_at(0);
}

START_TEST(short_memory_fails_an_export)
{
	for (struct short_ask s = {.n = 1, .has_fired = true}; s.has_fired; s.n++) {
		struct ask other;
		struct ask a;
		write_rows();
		/* As shard_core_export does, but run by ourselves. */
		s.ask = &a;
		ask(&other);
		ops_until(&bed.mb, &other.is_done);
		ck_assert_int_eq(other.op.err, ERR_OK);
		write_rows();
		a = other;
		a.is_done = false;
		a.op.inner = bed.core;
		a.op.msg.run = shard_on_export;
		bed_on_core(&bed, ask_with_short_memory, &s);
		ops_until(&bed.mb, &a.is_done);
		ck_assert_int_eq(a.op.err, s.has_fired ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(export_now(), ERR_OK);
	}
}
END_TEST

START_TEST(closing_answers_who_waits)
{
	struct ask out;
	struct ask waiting;
	write_rows();
	uint32_t dumps = fake_state_dumps(state);
	fake_state_hold_dump(state, true);
	ask(&out);
	fake_state_wait_dump(state, dumps + 1);
	ask(&waiting);
	bed_settle(&bed);
	pthread_t t;
	ck_assert_int_eq(pthread_create(&t, NULL, release_later, NULL), 0);
	shard_core_close(bed.core);
	pthread_join(t, NULL);
	ops_until(&bed.mb, &out.is_done);
	ops_until(&bed.mb, &waiting.is_done);
	ck_assert_int_eq(out.op.err, ERR_OK);
	ck_assert_int_eq(waiting.op.err, ERR_STOPPING);
	ck_assert_int_eq(export_now(), ERR_STOPPING);
	restart();
	check_rows(SHARDS);
	/* A pass for one is under way. */
	write_rows();
	fake_state_hold(state);
	ask(&out);
	bed_settle(&bed);
	fake_state_release(state);
	close_core();
	ops_until(&bed.mb, &out.is_done);
	ck_assert(out.op.err == ERR_OK || out.op.err == ERR_STOPPING);
	open_core();
	check_rows(SHARDS);
}
END_TEST

START_TEST(none_are_made_without_a_place)
{
	close_core();
	bed.options.exports = NULL;
	bed_open(&bed);
	write_rows();
	ck_assert_int_eq(export_now(), ERR_INVALID);
	bed_close(&bed);
	bed.options.exports = &exports;
	open_core();
	check_rows(SHARDS);
}
END_TEST

/* ---- recovery -------------------------------------------------------------------- */

/* Closes, and the logs of all shards begin behind these. */
static void close_and_cut(const uint64_t at[SHARDS])
{
	close_core();
	for (uint32_t i = 0; i < SHARDS; i++) {
		fake_volume_cut_log(bed.volumes[i % VOLUMES], i, at[i] + 1);
	}
}

static void expect_refused(const char *words)
{
	struct err_detail d = {""};
	struct shard_core *core = NULL;
	ck_assert_int_eq(exports_open(dir, bed.options.store_uuid, SHARDS, &exports, &d), ERR_OK);
	ck_assert_int_eq(shard_core_new(&bed.options, &core, &d), ERR_CORRUPT);
	ck_assert_msg(strstr(d.text, words) != NULL, "%s", d.text);
	exports_fini(&exports);
}

static void check_all(void)
{
	check_rows(SHARDS);
	struct store_partition *p = bed_find(&bed, "h", 1);
	ck_assert_ptr_nonnull(p);
	store_partition_drop(&p);
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	restart();
	check_rows(SHARDS);
}

START_TEST(a_damaged_state_comes_from_the_newest_export)
{
	uint64_t older[SHARDS];
	uint64_t newer[SHARDS];
	for (uint32_t round = 0; round < 2 * SHARDS; round++) {
		struct store_partition *p = bed_find(&bed, "h", 0);
		p = p != NULL ? p : bed_create(&bed, "h", 2);
		store_partition_drop(&p);
		make_two(older, newer);
		close_and_cut(newer);
		if (round < SHARDS) {
			fake_state_damage(state, round);
		} else {
			/* Put aside: an empty one is in its place. */
			fake_state_free(&state);
			state = fake_state_new();
			bed.options.state = state;
		}
		open_core();
		check_all();
	}
}
END_TEST

START_TEST(or_from_the_older_one)
{
	uint64_t older[SHARDS];
	uint64_t newer[SHARDS];
	struct store_partition *p = bed_create(&bed, "h", 2);
	store_partition_drop(&p);
	make_two(older, newer);
	close_and_cut(older);
	flip_export(2);
	fake_state_damage(state, 2);
	open_core();
	check_all();
	/* Not when the log begins too late for it. */
	make_two(older, newer);
	uint64_t newest = exports.v[0].number;
	close_and_cut(newer);
	flip_export(newest);
	fake_state_damage(state, 2);
	expect_refused("no export that reaches");
	/* What is refused is as it was. */
	flip_export(newest);
	open_core();
	check_all();
}
END_TEST

START_TEST(or_from_the_log_when_that_is_whole)
{
	uint64_t older[SHARDS];
	uint64_t newer[SHARDS];
	struct store_partition *p = bed_create(&bed, "h", 2);
	store_partition_drop(&p);
	make_two(older, newer);
	close_core();
	flip_export(1);
	flip_export(2);
	fake_state_damage(state, 0);
	open_core();
	check_all();
	/* And without any export when one shard's log is not. */
	close_core();
	char command[128];
	snprintf(command, sizeof command, "rm '%s'/export/*", dir);
	ck_assert_int_eq(system(command), 0);
	fake_volume_cut_log(bed.volumes[1], 1, 2);
	fake_state_damage(state, 0);
	expect_refused("shard 1's log, which begins at index 2");
	fake_volume_cut_log(bed.volumes[1], 1, 1);
	open_core();
	check_all();
}
END_TEST

START_TEST(a_state_too_old_for_the_log_gives_way_to_an_export)
{
	uint64_t older[SHARDS];
	uint64_t newer[SHARDS];
	struct store_partition *p = bed_create(&bed, "h", 2);
	store_partition_drop(&p);
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	struct state *old = fake_state_copy(state);
	make_two(older, newer);
	close_core();
	/* Of one shard only. */
	fake_volume_cut_log(bed.volumes[1], 1, newer[1] + 1);
	fake_state_free(&state);
	state = fake_state_copy(old);
	open_core();
	check_all();
	close_core();
	fake_state_free(&state);
	state = fake_state_copy(old);
	bed.options.state = state;
	char command[128];
	snprintf(command, sizeof command, "rm '%s'/export/*", dir);
	ck_assert_int_eq(system(command), 0);
	expect_refused("shard 1, its log begins at");
	fake_volume_cut_log(bed.volumes[1], 1, 1);
	open_core();
	check_all();
	fake_state_free(&old);
}
END_TEST

START_TEST(a_log_that_lost_its_end_is_refused)
{
	struct fake_counts counts;
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	close_core();
	fake_volume_counts(bed.volume, &counts);
	/* Another log, shorter, under the same state and exports. */
	struct volume *real = bed.online[0];
	struct volume *fresh = fake_volume_new(SHARDS);
	bed.online[0] = fresh;
	expect_refused("its log ends at 0");
	fake_state_free(&state);
	state = fake_state_new();
	bed.options.state = state;
	expect_refused("export 1 is at index");
	ck_assert_uint_eq(fake_state_commits(state), 0);
	bed.online[0] = real;
	fake_volume_free(&fresh);
	open_core();
	check_rows(SHARDS);
}
END_TEST

START_TEST(what_the_state_has_of_a_volume_that_is_off_stays)
{
	write_rows();
	ck_assert_int_eq(export_now(), ERR_OK);
	uint64_t index = applied(1);
	for (int damaged = 0; damaged < 2; damaged++) {
		close_core();
		bed.online[1] = NULL;
		if (damaged) {
			fake_state_damage(state, 0);
		}
		open_core();
		check_rows(SHARDS - 1);
		write_row(0);
		write_row(2);
		ck_assert_int_eq(export_now(), ERR_OK);
		ck_assert_uint_eq(exports.v[0].shards[1].applied_index, index);
		ck_assert_uint_eq(exports.v[0].shards[2].applied_index, applied(2));
		ck_assert_uint_eq(fake_state_index(state, 1), index);
		/* Its own index does not make exports of an idle store. */
		close_core();
		bed.online[1] = bed.volumes[1];
		open_core();
		check_rows(SHARDS);
	}
}
END_TEST

Suite *exports_suite(void)
{
	Suite *s = suite_create("exports");
	TCase *t = tcase_create("exports");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one_is_made_when_something_moved);
	tcase_add_test(t, one_asked_for_has_all_that_was_applied);
	tcase_add_test(t, those_who_ask_during_one_get_the_next);
	tcase_add_test(t, a_long_one_is_followed_by_ten_times_as_much_rest);
	tcase_add_test(t, a_state_that_cannot_be_written_fails_the_export);
	tcase_add_test(t, a_damaged_state_is_not_exported);
	tcase_add_test(t, short_memory_fails_an_export);
	tcase_add_test(t, closing_answers_who_waits);
	tcase_add_test(t, none_are_made_without_a_place);
	tcase_add_test(t, a_damaged_state_comes_from_the_newest_export);
	tcase_add_test(t, or_from_the_older_one);
	tcase_add_test(t, or_from_the_log_when_that_is_whole);
	tcase_add_test(t, a_state_too_old_for_the_log_gives_way_to_an_export);
	tcase_add_test(t, a_log_that_lost_its_end_is_refused);
	tcase_add_test(t, what_the_state_has_of_a_volume_that_is_off_stays);
	suite_add_tcase(s, t);
	return s;
}
