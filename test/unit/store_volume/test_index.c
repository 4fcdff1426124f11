#include "suites.h"

#include "base/mem.h"
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
			ck_assert_int_eq(table_add_part(&t, seg, 0, &r), ERR_OK);
		}
		ck_assert_int_eq(table_add_raft(&t, seg, 1, seg * 10 + 1, seg * 10 + 10, 1), ERR_OK);
	}
	struct table_part *p = table_find(&t, (struct store_part){999, 1});
	ck_assert_uint_eq(p->n, 50);
	ck_assert_int_eq(p->range.next_seq, 5000);
	ck_assert_uint_eq(p->range.bytes, 350);
	struct index_query q = {.key = 1234};
	ck_assert_uint_eq(p->extents[table_extent_of(p, &q, q.key)].segment, 12);
	ck_assert_uint_eq(table_extent_of(p, &q, -5), 0);
	ck_assert_uint_eq(table_extent_of(p, &q, 1 << 30), 50);
	q = (struct index_query){.by = INDEX_BY_APPEND_TIME, .key = 1020};
	ck_assert_uint_eq(p->extents[table_extent_of(p, &q, 0)].segment, 20);
	q.key = 2000;
	ck_assert_uint_eq(table_extent_of(p, &q, 0), 50);
	ck_assert_ptr_null(table_find(&t, (struct store_part){1000, 1}));
	ck_assert_int_eq(table_add_raft(&t, 50, 1, 500, 501, 1), ERR_CORRUPT);
	size_t before;
	ck_assert(!table_raft_gap(&t, 1, &before));
	ck_assert_uint_eq(t.shards[1].info.first_index, 1);
	ck_assert_uint_eq(t.shards[1].info.last_index, 500);
	table_fini(&t);
}
END_TEST

struct live {
	int64_t bytes[8];
	int extents[8];
};

static void on_live(void *arg, uint32_t segment, int64_t bytes, int extents)
{
	struct live *l = arg;
	l->bytes[segment] += bytes;
	l->extents[segment] += extents;
}

/* Segments 0..3 hold 0-99, 100-199, ... of one partition, greatest timestamps 10, 40, 30,
 * 20, 1000 bytes each. */
static void make_table(struct table *t, struct live *l)
{
	static const int64_t greatest[] = {10, 40, 30, 20};
	*l = (struct live){0};
	ck_assert_int_eq(table_init(t, 2), ERR_OK);
	t->live = on_live;
	t->arg = l;
	for (uint32_t i = 0; i < 4; i++) {
		struct volume_range r = {
			.part = {1, 1},
			.first_seq = i * 100,
			.next_seq = i * 100 + 100,
			.last_append_ms = 1000 + i,
			.max_timestamp_ms = greatest[i],
			.bytes = 1000,
		};
		ck_assert_int_eq(table_add_part(t, i, 1, &r), ERR_OK);
	}
}

static void expect_live(const struct live *l, uint32_t segment, int64_t bytes, int extents)
{
	ck_assert_int_eq(l->bytes[segment], bytes);
	ck_assert_int_eq(l->extents[segment], extents);
}

START_TEST(covers_take_the_place_of_extents)
{
	struct table t;
	struct live l;
	make_table(&t, &l);
	struct record_cover c = {.part = {1, 1}, .shard = 1, .first_seq = 100, .end_seq = 300,
				 .flags = COVER_COMPACTED, .last_append_ms = 1002,
				 .max_timestamp_ms = 15};
	struct table_part *p = table_find(&t, c.part);
	ck_assert_int_eq(p->range.max_timestamp_ms, 40);
	ck_assert_int_eq(table_paint(&t, 5, &c, 500), ERR_OK);
	ck_assert_uint_eq(p->n, 3);
	ck_assert_uint_eq(p->extents[1].segment, 5);
	ck_assert(p->extents[1].is_compacted);
	ck_assert_int_eq(p->range.max_timestamp_ms, 20);
	ck_assert_uint_eq(p->range.bytes, 2500);
	expect_live(&l, 0, 1000, 1);
	expect_live(&l, 1, 0, 0);
	expect_live(&l, 2, 0, 0);
	expect_live(&l, 5, 500, 1);
	/* Across the border of what there is: refused, nothing changes. */
	c.first_seq = 150;
	ck_assert_int_eq(table_paint(&t, 6, &c, 1), ERR_CORRUPT);
	c.first_seq = 100;
	c.end_seq = 250;
	ck_assert_int_eq(table_paint(&t, 6, &c, 1), ERR_CORRUPT);
	expect_live(&l, 6, 0, 0);
	/* Where nothing is: before, after, and of a partition never heard of. */
	c.first_seq = 500;
	c.end_seq = 600;
	ck_assert_int_eq(table_paint(&t, 6, &c, 7), ERR_OK);
	ck_assert_int_eq(p->range.next_seq, 600);
	c.part.partition = 9;
	ck_assert_int_eq(table_paint(&t, 6, &c, 7), ERR_OK);
	ck_assert_int_eq(table_find(&t, c.part)->range.first_seq, 500);
	expect_live(&l, 6, 14, 2);
	/* All of it by one that is empty: searches pass over it. */
	c = (struct record_cover){.part = {1, 1}, .end_seq = 600, .max_timestamp_ms = INT64_MIN,
				  .last_append_ms = 1003};
	ck_assert_int_eq(table_paint(&t, 7, &c, 0), ERR_OK);
	ck_assert_uint_eq(p->n, 1);
	expect_live(&l, 7, 0, 1);
	struct index_query q = {.by = INDEX_BY_SEQ};
	ck_assert_uint_eq(table_extent_of(p, &q, 0), 1);
	table_fini(&t);
}
END_TEST

START_TEST(start_and_end_let_extents_go)
{
	struct table t;
	struct live l;
	uint64_t dead;
	struct store_part part = {1, 1};
	make_table(&t, &l);
	struct table_part *p = table_find(&t, part);
	ck_assert_int_eq(table_set_start(&t, part, 199, &dead), ERR_OK);
	ck_assert_uint_eq(dead, 1000);
	ck_assert_int_eq(p->range.first_seq, 199);
	ck_assert_int_eq(p->range.max_timestamp_ms, 40);
	ck_assert_int_eq(table_set_start(&t, part, 200, &dead), ERR_OK);
	ck_assert_uint_eq(dead, 1000);
	ck_assert_int_eq(p->range.max_timestamp_ms, 30);
	ck_assert_int_eq(table_set_start(&t, part, 100, &dead), ERR_OK);
	ck_assert_int_eq(p->range.first_seq, 200);
	/* A cover that is dead by now is not added. */
	struct record_cover c = {.part = part, .first_seq = 100, .end_seq = 200};
	ck_assert_int_eq(table_paint(&t, 5, &c, 500), ERR_OK);
	expect_live(&l, 5, 0, 0);
	ck_assert_uint_eq(p->n, 2);
	ck_assert_int_eq(table_set_gone(&t, part, &dead), ERR_OK);
	ck_assert_uint_eq(dead, 2000);
	c.end_seq = 400;
	c.first_seq = 200;
	ck_assert_int_eq(table_paint(&t, 5, &c, 500), ERR_OK);
	struct volume_range r = {.part = part, .first_seq = 400, .next_seq = 410,
				 .last_append_ms = 2000, .bytes = 3};
	ck_assert_int_eq(table_add_part(&t, 6, 1, &r), ERR_OK);
	ck_assert_uint_eq(p->n, 0);
	ck_assert_int_eq(p->range.next_seq, 410);
	for (uint32_t i = 0; i < 8; i++) {
		expect_live(&l, i, 0, 0);
	}
	table_fini(&t);
}
END_TEST

START_TEST(room_is_kept_for_a_cover)
{
	struct table t;
	struct live l;
	make_table(&t, &l);
	struct store_part part = {1, 1};
	struct table_part *p = table_find(&t, part);
	ck_assert_int_eq(table_reserve(&t, part), ERR_OK);
	for (uint32_t i = 4; i < 5 + p->cap; i++) {
		struct volume_range r = {.part = part, .first_seq = i * 100 + 500,
					 .next_seq = i * 100 + 600, .last_append_ms = 5000};
		ck_assert_int_eq(table_add_part(&t, i % 8, 1, &r), ERR_OK);
		ck_assert_uint_lt(p->n, p->cap);
		if (i > 20) {
			break;
		}
	}
	struct record_cover c = {.part = part, .first_seq = 450, .end_seq = 500};
	mem_fault_at(1);
	ck_assert_int_eq(table_paint(&t, 5, &c, 500), ERR_OK);
	ck_assert(!mem_fault_fired());
	mem_fault_at(0);
	table_fini(&t);
}
END_TEST

START_TEST(gaps_in_the_log_are_told)
{
	struct table t;
	size_t before;
	ck_assert_int_eq(table_init(&t, 1), ERR_OK);
	struct volume_shard_info *info = &t.shards[0].info;
	info->hard.log_start = 1;
	ck_assert(!table_raft_gap(&t, 0, &before));
	ck_assert_uint_eq(info->last_index, 0);
	ck_assert_int_eq(table_add_raft(&t, 0, 0, 5, 10, 1), ERR_OK);
	ck_assert(table_raft_gap(&t, 0, &before));
	ck_assert_uint_eq(before, 0);
	info->hard.log_start = 5;
	ck_assert(!table_raft_gap(&t, 0, &before));
	ck_assert_int_eq(table_add_raft(&t, 1, 0, 21, 30, 2), ERR_OK);
	ck_assert(table_raft_gap(&t, 0, &before));
	ck_assert_uint_eq(before, 1);
	info->hard.log_start = 21;
	ck_assert(!table_raft_gap(&t, 0, &before));
	ck_assert_uint_eq(info->first_index, 21);
	ck_assert_uint_eq(info->last_index, 30);
	/* The log may begin later than all that is there. */
	info->hard.log_start = 31;
	info->hard.start_term = 2;
	ck_assert(!table_raft_gap(&t, 0, &before));
	ck_assert_uint_eq(info->last_index, 30);
	table_remove_raft(&t, 1);
	ck_assert_uint_eq(info->first_index, 0);
	ck_assert_uint_eq(info->last_index, 30);
	ck_assert_uint_eq(info->last_term, 2);
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
	tcase_add_test(t, covers_take_the_place_of_extents);
	tcase_add_test(t, start_and_end_let_extents_go);
	tcase_add_test(t, room_is_kept_for_a_cover);
	tcase_add_test(t, gaps_in_the_log_are_told);
	suite_add_tcase(s, t);
	return s;
}
