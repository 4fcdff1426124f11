#include "suites.h"

#include "store/volume/table.h"

static struct volume_command batch(uint32_t hub, uint32_t part, int64_t base, uint32_t count,
				   int64_t ms)
{
	static uint8_t payload[100];
	return (struct volume_command){
		.kind = VOLUME_BATCH,
		.encoding = BATCH_AMQP,
		.part = {hub, part},
		.count = count,
		.base_seq = base,
		.append_ms = ms,
		.max_timestamp_ms = ms,
		.payload = span_of(payload, sizeof payload),
	};
}

static enum err add(struct index *ix, uint64_t log_no, uint32_t part, int64_t base, int64_t ms)
{
	struct volume_command c = batch(1, part, base, 10, ms);
	return index_add_batch(ix, part % 2, log_no, &c);
}

START_TEST(batches_of_one_entry_share_a_row)
{
	struct index *ix = index_new(2);
	ck_assert_int_eq(add(ix, 5, 0, 0, 100), ERR_OK);
	ck_assert_int_eq(add(ix, 5, 0, 10, 100), ERR_OK);
	ck_assert_int_eq(add(ix, 6, 0, 20, 101), ERR_OK);
	struct index_part *p = index_part_find(ix, (struct store_part){1, 0});
	ck_assert_uint_eq(p->n, 2);
	ck_assert_int_eq(p->rows[0].next_seq, 20);
	ck_assert_uint_eq(p->rows[0].bytes, 200);
	index_free(&ix);
}
END_TEST

START_TEST(rows_are_found_by_seq_and_time)
{
	struct index *ix = index_new(2);
	for (int i = 0; i < 100; i++) {
		/* Gaps in sequence numbers: 0-9, 20-29, ... */
		ck_assert_int_eq(add(ix, (uint64_t)i + 1, 0, i * 20, 1000 + i), ERR_OK);
	}
	struct store_part part = {1, 0};
	struct index_row rows[4];
	struct index_query q = {.key = 25};
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 4), 4);
	ck_assert_int_eq(rows[0].base_seq, 20);
	q.key = 30;	/* in the gap */
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 4), 4);
	ck_assert_int_eq(rows[0].base_seq, 40);
	q.key = 99 * 20;
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 4), 1);
	q.key = 99 * 20 + 10;
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 4), 0);
	q = (struct index_query){.by = INDEX_BY_APPEND_TIME, .key = 1050};
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 1), 1);
	ck_assert_uint_eq(rows[0].log_no, 51);
	q.key = 1100;
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 1), 0);
	part.partition = 1;
	ck_assert_uint_eq(index_rows(ix, part, &q, rows, 1), 0);
	index_free(&ix);
}
END_TEST

START_TEST(what_goes_backwards_is_refused)
{
	struct index *ix = index_new(2);
	ck_assert_int_eq(add(ix, 1, 0, 10, 100), ERR_OK);
	ck_assert_int_eq(add(ix, 2, 0, 19, 100), ERR_CORRUPT);
	ck_assert_int_eq(add(ix, 2, 0, 20, 99), ERR_CORRUPT);
	struct index_raft row = {.index = 5, .log_no = 1};
	ck_assert_int_eq(index_add_raft(ix, 0, &row), ERR_OK);
	ck_assert_int_eq(index_add_raft(ix, 0, &row), ERR_CORRUPT);
	row.index = 7;
	ck_assert_int_eq(index_add_raft(ix, 0, &row), ERR_CORRUPT);
	row.index = 6;
	ck_assert_int_eq(index_add_raft(ix, 0, &row), ERR_OK);
	row.index = 0;
	ck_assert_int_eq(index_add_raft(ix, 1, &row), ERR_CORRUPT);
	index_free(&ix);
}
END_TEST

START_TEST(truncation_drops_one_shards_tail)
{
	struct index *ix = index_new(2);
	for (uint64_t i = 0; i < 10; i++) {
		/* Entries of shard 0 have odd log numbers, of shard 1 even ones. */
		struct index_raft row = {.index = i + 1, .log_no = 2 * i + 1};
		ck_assert_int_eq(index_add_raft(ix, 0, &row), ERR_OK);
		ck_assert_int_eq(add(ix, row.log_no, 0, (int64_t)i * 10, 100), ERR_OK);
		row.log_no++;
		ck_assert_int_eq(index_add_raft(ix, 1, &row), ERR_OK);
		ck_assert_int_eq(add(ix, row.log_no, 1, (int64_t)i * 10, 100), ERR_OK);
	}
	index_truncate(ix, 0, 6);
	ck_assert_uint_eq(ix->shards[0].n, 5);
	ck_assert_uint_eq(ix->shards[1].n, 10);
	ck_assert_uint_eq(index_part_find(ix, (struct store_part){1, 0})->n, 5);
	ck_assert_uint_eq(index_part_find(ix, (struct store_part){1, 1})->n, 10);
	index_truncate(ix, 0, 1);
	ck_assert_ptr_null(index_part_find(ix, (struct store_part){1, 0}));
	index_free(&ix);
}
END_TEST

START_TEST(table_follows_segments)
{
	struct table t;
	ck_assert_int_eq(table_init(&t, 2), ERR_OK);
	for (uint32_t seg = 0; seg < 50; seg++) {
		for (uint32_t p = 0; p < 1000; p++) {
			struct volume_range r = {
				.part = {p, 1},
				.first_seq = seg * 100,
				.next_seq = seg * 100 + 100,
				.last_append_ms = 1000 + seg,
				.max_timestamp_ms = 5,
				.bytes = 7,
			};
			ck_assert_int_eq(table_add_part(&t, seg, &r), ERR_OK);
		}
		ck_assert_int_eq(table_add_raft(&t, seg, 1, seg * 10 + 1, seg * 10 + 10, 1), ERR_OK);
	}
	struct table_part *p = table_find(&t, (struct store_part){999, 1});
	ck_assert_uint_eq(p->n, 50);
	ck_assert_int_eq(p->range.next_seq, 5000);
	ck_assert_uint_eq(p->range.bytes, 350);
	struct index_query q = {.key = 1234};
	ck_assert_uint_eq(p->extents[table_extent_of(p, &q, 0)].segment, 12);
	q.key = -5;
	ck_assert_uint_eq(table_extent_of(p, &q, 0), 0);
	q.key = 1 << 30;
	ck_assert_uint_eq(table_extent_of(p, &q, 0), 49);
	q = (struct index_query){.by = INDEX_BY_APPEND_TIME, .key = 1020};
	ck_assert_uint_eq(p->extents[table_extent_of(p, &q, 0)].segment, 20);
	q.key = 2000;
	ck_assert_uint_eq(table_extent_of(p, &q, 0), 50);
	ck_assert_ptr_null(table_find(&t, (struct store_part){1000, 1}));
	ck_assert_int_eq(table_add_raft(&t, 50, 1, 500, 501, 1), ERR_CORRUPT);
	ck_assert_int_eq(table_add_raft(&t, 50, 1, 502, 502, 1), ERR_CORRUPT);
	ck_assert_uint_eq(t.shards[1].info.last_index, 500);
	table_fini(&t);
}
END_TEST

Suite *index_suite(void)
{
	Suite *s = suite_create("index");
	TCase *t = tcase_create("index");
	tcase_add_test(t, batches_of_one_entry_share_a_row);
	tcase_add_test(t, rows_are_found_by_seq_and_time);
	tcase_add_test(t, what_goes_backwards_is_refused);
	tcase_add_test(t, truncation_drops_one_shards_tail);
	tcase_add_test(t, table_follows_segments);
	suite_add_tcase(s, t);
	return s;
}
