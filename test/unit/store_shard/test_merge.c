#include <check.h>

#include "base/mem.h"
#include "store/shard/shard_priv.h"
#include "test/lib/store_ops.h"

Suite *merge_suite(void);

enum { MANY = 9000 };

static struct ops_append ops[MANY];

/* Chains n single events of `size` bytes. */
static struct store_append *chain(uint32_t n, size_t size, const char *key)
{
	for (uint32_t i = 0; i < n; i++) {
		ops_append_init(&ops[i], NULL, NULL, i, 1, size, key);
		if (i > 0) {
			ops[i - 1].op.msg.next = &ops[i].op.msg;
		}
	}
	return &ops[0].op;
}

static void drop(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		buf_drop(&ops[i].op.batch);
	}
}

/* Merges and compares with what the generic builder makes of the same. */
static void assert_merge(uint32_t n, size_t size, const char *key)
{
	struct store_append *first = chain(n, size, key);
	size_t bound;
	uint32_t count = shard_merge_count(first, &bound);
	ck_assert_uint_gt(count, 1);
	struct buf *out = NULL;
	uint32_t len = 0;
	ck_assert_uint_eq(shard_merge(first, count, bound, &out, &len), count);
	ck_assert_uint_le(len, SHARD_MERGE_MAX);
	struct batch_builder b;
	batch_builder_init(&b, bound, LIMIT_BATCH);
	for (uint32_t i = 0; i < count; i++) {
		batch_builder_merge(&b, span_of(ops[i].op.batch->data, ops[i].op.batch_len));
	}
	struct buf *want = NULL;
	ck_assert_int_eq(batch_builder_finish(&b, &want), ERR_OK);
	ck_assert_uint_eq(len, want->len);
	batch_seal(out->data, len, 5);
	batch_seal(want->data, len, 5);
	ck_assert_mem_eq(out->data, want->data, len);
	if (key != NULL) {
		ck_assert_mem_eq(out->data + len, key, strlen(key));
	}
	buf_drop(&out);
	buf_drop(&want);
	drop(n);
}

START_TEST(merged_batch_equals_the_builders)
{
	assert_merge(2, 20, NULL);
	assert_merge(63, 20, "key");
	assert_merge(64, 50, NULL);	/* offset delta takes two bytes from 64 on */
	assert_merge(65, 55, NULL);
	for (size_t size = 48; size < 70; size++) {
		assert_merge(130, size, "k");	/* the record's length grows to two bytes */
	}
	assert_merge(MANY, 2, NULL);	/* and the delta to three */
	assert_merge(40, 8000, NULL);	/* ends at the bound */
}
END_TEST

START_TEST(merge_ends_where_it_must)
{
	size_t bound;
	struct store_append *first = chain(5, 20, "a");
	ck_assert_uint_eq(shard_merge_count(first, &bound), 5);
	ops[3].op.may_merge = false;
	ck_assert_uint_eq(shard_merge_count(first, &bound), 3);
	ops[2].op.encoding = BATCH_KAFKA;
	ck_assert_uint_eq(shard_merge_count(first, &bound), 2);
	ops[1].op.batch->data[ops[1].op.batch_len] = 'b';
	ck_assert_uint_eq(shard_merge_count(first, &bound), 1);
	ops[1].op.key_len = 0;
	ck_assert_uint_eq(shard_merge_count(first, &bound), 1);
	drop(5);
	first = chain(3, SHARD_MERGE_EVENT_MAX, NULL);
	ck_assert_uint_eq(shard_merge_count(first, &bound), 1);
	drop(3);
}
END_TEST

START_TEST(unusual_records_are_left_alone)
{
	struct store_append *first = chain(4, 20, NULL);
	size_t bound;
	uint32_t n = shard_merge_count(first, &bound);
	struct buf *out = NULL;
	uint32_t len = 0;
	ops[2].op.batch->data[BATCH_HEAD + 2] = 4;	/* a timestamp delta */
	ck_assert_uint_eq(shard_merge(first, n, bound, &out, &len), 2);
	buf_drop(&out);
	ops[1].op.batch->data[BATCH_HEAD] ^= 2;	/* a length that does not fit */
	ck_assert_uint_eq(shard_merge(first, n, bound, &out, &len), 0);
	ck_assert_ptr_null(out);
	ops[0].op.batch->data[22] = 1;	/* compressed */
	ck_assert_uint_eq(shard_merge(first, n, bound, &out, &len), 0);
	drop(4);
}
END_TEST

START_TEST(short_memory_merges_nothing)
{
	struct store_append *first = chain(4, 20, NULL);
	size_t bound;
	uint32_t n = shard_merge_count(first, &bound);
	struct buf *out = NULL;
	uint32_t len = 0;
	mem_fault_at(1);
	ck_assert_uint_eq(shard_merge(first, n, bound, &out, &len), 0);
	mem_fault_at(0);
	ck_assert_ptr_null(out);
	drop(4);
}
END_TEST

Suite *merge_suite(void)
{
	Suite *s = suite_create("merge");
	TCase *t = tcase_create("merge");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, merged_batch_equals_the_builders);
	tcase_add_test(t, merge_ends_where_it_must);
	tcase_add_test(t, unusual_records_are_left_alone);
	tcase_add_test(t, short_memory_merges_nothing);
	suite_add_tcase(s, t);
	return s;
}
