#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bed.h"
#include "suites.h"

#include "base/mem.h"
#include "store/volume/state.h"
#include "store/volume/state_pages.h"

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
		/* None is there: what is there is first read in a child, which would fail. */
		unlink(path);
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

/* ---- dump ------------------------------------------------------------------------ */

static enum err on_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	str_printf(arg, "[%u %llu %llu] ", shard, (unsigned long long)index,
		   (unsigned long long)term);
	return ERR_OK;
}

static enum err on_text(void *arg, uint8_t kind, struct span key, struct span content)
{
	str_printf(arg, "%u:%.*s=%.*s ", kind, (int)key.n, (const char *)key.p, (int)content.n,
		   (const char *)content.p);
	return ERR_OK;
}

static struct str dump(void)
{
	struct str text = {0};
	struct err_detail d = {""};
	enum err e = state_dump(state, 1000, on_shard, on_text, &text, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	str_add(&text, ".");
	ck_assert(!text.bad);
	return text;
}

static void expect_dump(const char *want)
{
	struct str got = dump();
	ck_assert_str_eq(got.p, want);
	str_fini(&got);
}

START_TEST(a_dump_has_all_shards_in_order)
{
	struct err_detail d;
	expect_dump(".");
	state_begin(state);
	for (uint32_t shard = 300; shard >= 100; shard -= 100) {
		state_shard(state, shard);
		put(2, "b", "2");
		put(1, "", "");
		state_applied(state, shard + 1, 7);
	}
	state_shard(state, 0);
	state_applied(state, 9, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	const char *want = "[0 9 1] [100 101 7] 1:= 2:b=2 [200 201 7] 1:= 2:b=2 "
			   "[300 301 7] 1:= 2:b=2 .";
	expect_dump(want);
	/* What is being written is not in it, nor what was given up. */
	state_begin(state);
	state_clear_all(state);
	state_shard(state, 5);
	put(1, "new", "");
	state_applied(state, 1, 1);
	expect_dump(want);
	state_abort(state);
	expect_dump(want);
	state_begin(state);
	state_clear_all(state);
	state_shard(state, 5);
	put(1, "new", "");
	state_applied(state, 1, 1);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	expect_dump("[5 1 1] 1:new= .");
	/* More shards than the caller knows, and rows of one without an index. */
	struct str text = {0};
	ck_assert_int_eq(state_dump(state, 5, on_shard, on_text, &text, &d), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(d.text, "data.mdb"));
	state_begin(state);
	state_shard(state, 6);
	put(1, "stray", "");
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	ck_assert_int_eq(state_dump(state, 10, on_shard, on_text, &text, &d), ERR_CORRUPT);
	str_fini(&text);
}
END_TEST

static enum err refuse_shard(void *arg, uint32_t shard, uint64_t index, uint64_t term)
{
	(void)arg;
	(void)index;
	(void)term;
	return shard == 1 ? ERR_FULL : ERR_OK;
}

START_TEST(a_callers_error_ends_the_dump)
{
	struct err_detail d = {"the caller's"};
	struct seen seen = {.end = ERR_LIMIT};
	state_begin(state);
	for (uint32_t shard = 0; shard < 2; shard++) {
		state_shard(state, shard);
		put(1, "a", "1");
		state_applied(state, 1, 1);
	}
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	ck_assert_int_eq(state_dump(state, 2, refuse_shard, on_row, &seen, &d), ERR_LIMIT);
	seen.end = ERR_OK;
	ck_assert_int_eq(state_dump(state, 2, refuse_shard, on_row, &seen, &d), ERR_FULL);
	ck_assert_str_eq(d.text, "the caller's");
	str_fini(&seen.text);
}
END_TEST

/* ---- pages ----------------------------------------------------------------------- */

/* A full check takes a child process, which is slow under the sanitizers. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { ROUNDS = 60, FULL_CHECKS = 40, META_STEP = 7, BITS_STEP = 5 };
#else
enum { ROUNDS = 300, FULL_CHECKS = 250, META_STEP = 1, BITS_STEP = 1 };
#endif

static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* Rows of all sizes come, change and go; some take pages of their own. */
static void change(uint32_t keys, uint32_t rows, uint32_t size_max)
{
	static char content[40000];
	struct err_detail d;
	memset(content, 'c', sizeof content);
	state_begin(state);
	for (uint32_t shard = 0; shard < 3; shard++) {
		state_shard(state, shard);
		if (next_random(40) == 0) {
			state_clear(state);
		}
		for (uint32_t i = 0; i < rows; i++) {
			char key[64];
			snprintf(key, sizeof key, "%0*u", 1 + (int)next_random(12),
				 next_random(keys));
			if (next_random(3) == 0) {
				state_delete(state, 17, span_str(key));
				continue;
			}
			uint32_t n = next_random(size_max);
			n = next_random(8) == 0 ? n : n % 200;
			snprintf(content, sizeof content, "%u", next_random(1000000));
			content[strlen(content)] = 'c';
			state_put(state, 17, span_str(key), span_of(content, n));
		}
		state_applied(state, 1 + next_random(1000), 1);
	}
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
}

START_TEST(a_sound_state_is_never_condemned)
{
	static const uint32_t keys[] = {3, 50, 2000};
	seed = 17;
	for (int i = 0; i < 3; i++) {
		for (int round = 0; round < ROUNDS; round++) {
			change(keys[i], 1 + next_random(60), i == 2 ? 40000 : 3000);
			ck_assert_msg(state_pages_are_sound(path), "keys %u, round %d", keys[i],
				      round);
		}
		state_begin(state);
		state_clear_all(state);
		struct err_detail d;
		ck_assert_int_eq(state_commit(state, &d), ERR_OK);
		ck_assert(state_pages_are_sound(path));
		struct str text = dump();
		ck_assert_str_eq(text.p, ".");
		str_fini(&text);
		state_close(&state);
		open_state(true);
	}
}
END_TEST

/* A copy of the file in memory, written back before each flip. */
static uint8_t *image;
static size_t image_n;

static void image_take(void)
{
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	image_n = (size_t)bed_size(path);
	image = mem_alloc(image_n);
	ck_assert_ptr_nonnull(image);
	ck_assert_uint_eq(fread(image, 1, image_n, f), image_n);
	fclose(f);
}

static void image_give(void)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(image, 1, image_n, f), image_n);
	fclose(f);
}

/* With a flipped bit that nothing finds, the rows are as they were, and stay so
 * when others are written. The one exception is the number of a commit: that can
 * bring back the commit before, all of it, and the log after that is there. */
static bool check_flip(size_t at, int bit, const char *want, const char *before)
{
	enum { COMMIT_AT = 144, PAGE = 4096 };
	struct err_detail d;
	image_give();
	bed_flip_bit(path, (int64_t)at, bit);
	enum err e = state_open(dir, true, &state, &d);
	if (e != ERR_OK) {
		ck_assert_msg(e == ERR_CORRUPT, "byte %zu bit %d: %s", at, bit, d.text);
		return true;
	}
	struct str got = dump();
	if (strcmp(got.p, before) == 0) {
		ck_assert(at % PAGE / 8 == COMMIT_AT / 8 && at < 2 * PAGE);
		want = before;
	}
	ck_assert_msg(strcmp(got.p, want) == 0, "byte %zu bit %d", at, bit);
	str_fini(&got);
	for (int i = 0; i < 3; i++) {
		state_begin(state);
		state_shard(state, 900);
		for (int k = 0; k < 40; k++) {
			char key[32];
			snprintf(key, sizeof key, "own-%d", k);
			put(1, key, "some content of some length");
		}
		state_applied(state, 1, 1);
		ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	}
	ck_assert(state_pages_are_sound(path));
	state_begin(state);
	state_shard(state, 900);
	state_clear(state);
	ck_assert_int_eq(state_commit(state, &d), ERR_OK);
	expect_dump(want);
	state_close(&state);
	return false;
}

START_TEST(every_flipped_bit_is_found_or_harmless)
{
	enum { META_USED = 160 };
	size_t found = 0;
	size_t passed = 0;
	seed = 4711;
	struct str before = {0};
	for (int round = 0; round < 30; round++) {
		str_fini(&before);
		before = dump();
		change(60, 15, round % 5 == 0 ? 9000 : 300);
	}
	struct str want = dump();
	state_close(&state);
	image_take();
	/* The pages alone, in this process: nothing in them may end it. */
	for (size_t at = 0; at < image_n; at += BITS_STEP) {
		size_t in_page = at % 4096;
		bool is_close = in_page < 64 || (at < 8192 && in_page < META_USED);
		for (int bit = 0; bit < 8; bit++) {
			if (!is_close && (size_t)bit != at / 4 % 64) {
				continue;
			}
			bed_flip_bit(path, (int64_t)at, bit);
			found += !state_pages_are_sound(path);
			bed_flip_bit(path, (int64_t)at, bit);
		}
	}
	ck_assert_uint_gt(found, 100);
	for (size_t page = 0; page < 2; page++) {
		for (int bit = 0; bit < 8; bit++) {
			(void)check_flip(page * 4096 + 144, bit, want.p, before.p);
		}
	}
	/* All of it, on some: the first pages' fields, heads of pages, the rest by chance. */
	for (size_t page = 0; page < 2; page++) {
		for (size_t at = page; at < META_USED; at += META_STEP) {
			passed += !check_flip(page * 4096 + at, (int)next_random(8), want.p, before.p);
		}
	}
	for (int i = 0; i < FULL_CHECKS; i++) {
		size_t at = next_random((uint32_t)image_n);
		if (i % 4 == 0) {
			at = at / 4096 * 4096 + next_random(40);
		}
		passed += !check_flip(at, (int)next_random(8), want.p, before.p);
	}
	ck_assert_uint_gt(passed, 2);
	image_give();
	open_state(true);
	expect_dump(want.p);
	str_fini(&want);
	str_fini(&before);
	mem_free(image);
}
END_TEST

START_TEST(every_truncation_is_found)
{
	seed = 9;
	for (int round = 0; round < 10; round++) {
		change(100, 30, 9000);
	}
	struct str want = dump();
	state_close(&state);
	image_take();
	size_t whole = image_n;
	for (size_t n = 1; n < whole; n += 1 + n / 50) {
		struct err_detail d;
		image_n = n;
		image_give();
		enum err e = state_open(dir, true, &state, &d);
		if (e == ERR_OK) {
			/* Free pages at the end are missed by nobody. */
			expect_dump(want.p);
			state_close(&state);
		} else {
			ck_assert_int_eq(e, ERR_CORRUPT);
		}
	}
	image_n = whole;
	image_give();
	open_state(true);
	expect_dump(want.p);
	str_fini(&want);
	mem_free(image);
}
END_TEST

Suite *state_suite(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");
	tcase_set_timeout(t, 180);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, rows_round_trip_per_shard);
	tcase_add_test(t, one_transaction_holds_many_shards_or_nothing);
	tcase_add_test(t, key_length_is_bounded);
	tcase_add_test(t, callers_error_ends_the_load);
	tcase_add_test(t, lack_of_memory_is_sticky);
	tcase_add_test(t, flipped_value_is_found);
	tcase_add_test(t, damaged_pages_do_not_crash);
	tcase_add_test(t, a_dump_has_all_shards_in_order);
	tcase_add_test(t, a_callers_error_ends_the_dump);
	tcase_add_test(t, a_sound_state_is_never_condemned);
	tcase_add_test(t, every_flipped_bit_is_found_or_harmless);
	tcase_add_test(t, every_truncation_is_found);
	suite_add_tcase(s, t);
	return s;
}
