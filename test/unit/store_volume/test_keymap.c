#include <stdio.h>

#include "suites.h"

#include "base/mem.h"
#include "store/volume/keymap.h"

static struct keymap_hash hash_of(uint64_t key)
{
	static const uint8_t secret[KEYMAP_SECRET] = {7};
	uint8_t bytes[8];
	struct keymap_hash h;
	put_u64(bytes, key);
	keymap_hash(secret, span_of(bytes, sizeof bytes), &h);
	return h;
}

/* The first vectors of the reference implementation: key 00..0f, input 00, 01, ... */
START_TEST(hash_is_that_of_the_reference)
{
	static const struct {
		size_t n;
		uint64_t a;
		uint64_t b;
	} vectors[] = {
		{0, 0xe6a825ba047f81a3, 0x930255c71472f66d},
		{1, 0x44af996bd8c187da, 0x45fc229b11597634},
	};
	uint8_t secret[KEYMAP_SECRET];
	uint8_t in[16];
	for (uint8_t i = 0; i < 16; i++) {
		secret[i] = i;
		in[i] = i;
	}
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		struct keymap_hash h;
		keymap_hash(secret, span_of(in, vectors[i].n), &h);
		ck_assert_uint_eq(h.a, vectors[i].a);
		ck_assert_uint_eq(h.b, vectors[i].b);
	}
	/* Of any length, with the length in it. */
	uint8_t zeros[40] = {0};
	for (size_t n = 0; n < sizeof zeros; n++) {
		struct keymap_hash h;
		struct keymap_hash longer;
		keymap_hash(secret, span_of(zeros, n), &h);
		keymap_hash(secret, span_of(zeros, n + 1 < sizeof zeros ? n + 1 : 0), &longer);
		ck_assert(h.a != longer.a || h.b != longer.b);
	}
}
END_TEST

START_TEST(newest_of_each_key_is_kept)
{
	struct keymap m;
	keymap_init(&m, 1 << 20);
	for (uint64_t i = 0; i < 10000; i++) {
		struct keymap_hash h = hash_of(i);
		ck_assert_int_eq(keymap_get(&m, &h), -1);
		ck_assert_int_eq(keymap_put(&m, &h, (int64_t)i), ERR_OK);
	}
	for (uint64_t i = 0; i < 10000; i++) {
		struct keymap_hash h = hash_of(i);
		ck_assert_int_eq(keymap_get(&m, &h), (int64_t)i);
		ck_assert_int_eq(keymap_put(&m, &h, (int64_t)i + (i % 2 == 0 ? 5 : -1)), ERR_OK);
		ck_assert_int_eq(keymap_get(&m, &h), (int64_t)i + (i % 2 == 0 ? 5 : 0));
	}
	ck_assert_uint_eq(m.n, 10000);
	keymap_clear(&m);
	struct keymap_hash h = hash_of(1);
	ck_assert_int_eq(keymap_get(&m, &h), -1);
	keymap_fini(&m);
}
END_TEST

START_TEST(memory_is_bounded)
{
	for (uint64_t memory = 0; memory < 100000; memory = memory * 2 + 100) {
		struct keymap m;
		keymap_init(&m, memory);
		uint64_t n = 0;
		enum err e = ERR_OK;
		while (e == ERR_OK) {
			struct keymap_hash h = hash_of(n++);
			e = keymap_put(&m, &h, 3);
		}
		ck_assert_int_eq(e, ERR_LIMIT);
		ck_assert_uint_gt(m.n, 0);
		ck_assert(memory < 200 || m.n_slots * sizeof *m.slots <= memory);
		ck_assert(memory < 1000 || m.n * sizeof *m.slots >= memory / 2);
		/* Those that are there can still rise. */
		struct keymap_hash h = hash_of(0);
		ck_assert_int_eq(keymap_put(&m, &h, 9), ERR_OK);
		ck_assert_int_eq(keymap_get(&m, &h), 9);
		keymap_fini(&m);
	}
}
END_TEST

START_TEST(lack_of_memory_leaves_it_as_it_was)
{
	struct keymap m;
	keymap_init(&m, 1 << 20);
	struct keymap_hash h = hash_of(0);
	mem_fault_at(1);
	ck_assert_int_eq(keymap_put(&m, &h, 1), ERR_NOMEM);
	ck_assert_int_eq(keymap_get(&m, &h), -1);
	uint64_t n = 0;
	enum err e = ERR_OK;
	mem_fault_at(3);
	while (e == ERR_OK) {
		h = hash_of(n++);
		e = keymap_put(&m, &h, (int64_t)n);
	}
	mem_fault_at(0);
	ck_assert_int_eq(e, ERR_NOMEM);
	for (uint64_t i = 0; i + 1 < n; i++) {
		h = hash_of(i);
		ck_assert_int_eq(keymap_get(&m, &h), (int64_t)i + 1);
	}
	keymap_fini(&m);
}
END_TEST

Suite *keymap_suite(void)
{
	Suite *s = suite_create("keymap");
	TCase *t = tcase_create("keymap");
	tcase_add_test(t, hash_is_that_of_the_reference);
	tcase_add_test(t, newest_of_each_key_is_kept);
	tcase_add_test(t, memory_is_bounded);
	tcase_add_test(t, lack_of_memory_leaves_it_as_it_was);
	suite_add_tcase(s, t);
	return s;
}
