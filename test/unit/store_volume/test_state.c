#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/mem.h"
#include "store/volume/state.h"

static char dir[64];
static char path[128];
static struct state *state;

static void open_state(bool was_unclean)
{
	struct err_detail d;
	enum err e = state_open(dir, was_unclean, &state, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

static void setup(void)
{
	snprintf(dir, sizeof dir, "/tmp/volume-state-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/state/data.mdb", dir);
	open_state(false);
}

static void teardown(void)
{
	char sub[128];
	state_close(&state);
	unlink(path);
	snprintf(sub, sizeof sub, "%s/state", dir);
	ck_assert_int_eq(rmdir(sub), 0);
	rmdir(dir);
}

struct seen {
	uint64_t index;
	uint64_t term;
	struct str text;
	enum err end;
};

static enum err on_row(void *arg, uint8_t kind, struct span key, struct span content)
{
	struct seen *s = arg;
	str_printf(&s->text, "%u:%.*s=%.*s ", kind, (int)key.n, (const char *)key.p, (int)content.n,
		   (const char *)content.p);
	return s->end;
}

static enum err load(uint32_t shard, struct seen *s)
{
	*s = (struct seen){0};
	return state_load(state, shard, &s->index, &s->term, on_row, s, NULL);
}

static void expect(uint32_t shard, uint64_t index, const char *text)
{
	struct seen s;
	ck_assert_int_eq(load(shard, &s), ERR_OK);
	ck_assert_uint_eq(s.index, index);
	ck_assert_str_eq(s.text.len > 0 ? s.text.p : "", text);
	str_fini(&s.text);
}

static void put(uint8_t kind, const char *key, const char *content)
{
	state_put(state, kind, span_str(key), span_str(content));
}

START_TEST(rows_round_trip_per_shard)
{
	struct err_detail d;
	expect(0, 0, "");
	state_begin(state);
	state_shard(state, 0);
	put(2, "b", "two");
	put(1, "zz", "");
	put(2, "a", "one");
	state_applied(state, 5, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	state_begin(state);
	state_shard(state, 1);
	put(1, "other", "shard");
	put(9, "", "no key");
	state_applied(state, 70, 3);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	for (int i = 0; i < 2; i++) {
		expect(0, 5, "1:zz= 2:a=one 2:b=two ");
		expect(1, 70, "1:other=shard 9:=no key ");
		expect(2, 0, "");
		state_close(&state);
		open_state(true);
	}
	state_begin(state);
	state_shard(state, 0);
	put(2, "a", "changed");
	state_delete(state, 2, span_str("b"));
	state_delete(state, 2, span_str("never there"));
	state_applied(state, 6, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	expect(0, 6, "1:zz= 2:a=changed ");
	state_begin(state);
	state_shard(state, 0);
	state_clear(state);
	put(3, "new", "x");
	state_applied(state, 7, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	expect(0, 7, "3:new=x ");
	expect(1, 70, "1:other=shard 9:=no key ");
}
END_TEST

START_TEST(one_transaction_holds_many_shards_or_nothing)
{
	enum { SHARDS = 256 };
	struct err_detail d;
	for (uint64_t round = 1; round <= 3; round++) {
		bool is_failing = round == 2;
		state_begin(state);
		for (uint32_t i = 0; i < SHARDS; i++) {
			char text[32];
			snprintf(text, sizeof text, "%u-%llu", i, (unsigned long long)round);
			state_shard(state, i);
			if (round == 3 && i % 2 == 0) {
				state_clear(state);
			}
			put(17, "row", text);
			put((uint8_t)(20 + round), "own", "");
			state_applied(state, 100 * round + i, round);
			if (is_failing && i == SHARDS / 2) {
				char key[STATE_KEY_MAX + 1] = "too long";
				state_put(state, 17, span_of(key, sizeof key), span_str(""));
			}
		}
		ck_assert_int_eq(state_commit(state, &d), is_failing ? ERR_TOO_LARGE : ERR_OK);
		uint64_t want = is_failing ? 1 : round;
		for (uint32_t i = 0; i < SHARDS; i++) {
			char text[64];
			bool is_kept = want == 3 && i % 2 != 0;
			snprintf(text, sizeof text, "17:row=%u-%llu %s%llu:own= ", i,
				 (unsigned long long)want, is_kept ? "21:own= " : "",
				 (unsigned long long)(20 + want));
			expect(i, 100 * want + i, text);
		}
		state_close(&state);
		open_state(true);
	}
}
END_TEST

START_TEST(key_length_is_bounded)
{
	struct err_detail d;
	char key[STATE_KEY_MAX + 2];
	memset(key, 'k', sizeof key);
	for (size_t n = STATE_KEY_MAX - 1; n <= STATE_KEY_MAX + 1; n++) {
		state_begin(state);
		state_shard(state, 0);
		state_put(state, 1, span_of(key, n), span_str("v"));
		enum err want = n <= STATE_KEY_MAX ? ERR_OK : ERR_TOO_LARGE;
		state_applied(state, n, 1);
		ck_assert_int_eq(state_commit(state, &d), want);
	}
	/* The failed transaction changed nothing. */
	struct seen s;
	ck_assert_int_eq(load(0, &s), ERR_OK);
	ck_assert_uint_eq(s.index, STATE_KEY_MAX);
	str_fini(&s.text);
}
END_TEST

START_TEST(callers_error_ends_the_load)
{
	struct err_detail d;
	state_begin(state);
	state_shard(state, 0);
	put(1, "a", "1");
	put(1, "b", "2");
	state_applied(state, 1, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	struct seen s = {.end = ERR_LIMIT};
	ck_assert_int_eq(state_load(state, 0, &s.index, &s.term, on_row, &s, &d), ERR_LIMIT);
	ck_assert_str_eq(s.text.p, "1:a=1 ");
	str_fini(&s.text);
}
END_TEST

START_TEST(lack_of_memory_is_sticky)
{
	struct err_detail d;
	state_begin(state);
	state_shard(state, 0);
	mem_fault_at(1);
	put(1, "a", "1");
	mem_fault_at(0);
	put(1, "b", "2");
	state_applied(state, 1, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_NOMEM);
	expect(0, 0, "");
	state_close(&state);
	for (long n = 1;; n++) {
		mem_fault_at(n);
		enum err e = state_open(dir, false, &state, &d);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			break;
		}
	}
}
END_TEST

START_TEST(flipped_value_is_found)
{
	struct err_detail d;
	state_begin(state);
	state_shard(state, 0);
	put(1, "name", "content-of-the-row");
	state_applied(state, 3, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	state_close(&state);
	int64_t at = bed_find(path, "content-of-the-row", 18);
	bed_flip(path, at + 5);
	open_state(false);
	struct seen s;
	ck_assert_int_eq(load(0, &s), ERR_CORRUPT);
	str_fini(&s.text);
	state_close(&state);
	ck_assert_int_eq(state_open(dir, true, &state, &d), ERR_CORRUPT);
	ck_assert(strstr(d.text, "data.mdb") != NULL);
	bed_flip(path, at + 5);
	open_state(true);
	expect(0, 3, "1:name=content-of-the-row ");
}
END_TEST

START_TEST(damaged_pages_do_not_crash)
{
	struct err_detail d;
	state_begin(state);
	state_shard(state, 0);
	for (int i = 0; i < 2000; i++) {
		char key[32];
		snprintf(key, sizeof key, "key-%d", i);
		put(1, key, "some content");
	}
	state_applied(state, 3, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	state_close(&state);
	int64_t size = bed_size(path);
	for (int64_t at = 8192 + 3; at < size; at += 4999) {
		bed_flip(path, at);
		if (state_open(dir, true, &state, &d) == ERR_OK) {
			struct seen s;
			ck_assert_int_eq(load(0, &s), ERR_OK);
			str_fini(&s.text);
			state_close(&state);
		}
		bed_flip(path, at);
	}
	ck_assert_int_eq(truncate(path, size / 2), 0);
	ck_assert_int_eq(state_open(dir, true, &state, &d), ERR_CORRUPT);
}
END_TEST

Suite *state_suite(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, rows_round_trip_per_shard);
	tcase_add_test(t, one_transaction_holds_many_shards_or_nothing);
	tcase_add_test(t, key_length_is_bounded);
	tcase_add_test(t, callers_error_ends_the_load);
	tcase_add_test(t, lack_of_memory_is_sticky);
	tcase_add_test(t, flipped_value_is_found);
	tcase_add_test(t, damaged_pages_do_not_crash);
	suite_add_tcase(s, t);
	return s;
}
