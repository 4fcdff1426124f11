/* Hubs that are compacted: keys are needed, and batches have fewer records than
 * offsets. */

#include <string.h>

#include "gateway/wire/compact.h"
#include "gateway/wire/records.h"
#include "test/unit/kafka_front/data_help.h"
#include "test/unit/kafka_front/faults.h"

static void compact_hub(void)
{
	struct catalog_command c = {.op = CATALOG_HUB_UPDATE,
				    .hub = "events",
				    .has_cleanup = true,
				    .cleanup = CATALOG_COMPACT};
	ck_assert_int_eq(fix_command(&bed.fix, &c), ERR_OK);
}

/* n records of which `keyless` (-1: none) has no key. */
static struct span keyed_batch(int32_t n, int32_t keyless)
{
	struct str s = {.max = 1 << 20};
	for (int32_t i = 0; i < n; i++) {
		uint8_t record[] = {0, 0, 0, (uint8_t)(i * 2), 2, 'k', 2, 'v', 0};
		uint8_t without[] = {0, 0, 0, (uint8_t)(i * 2), 1, 2, 'v', 0};
		record[0] = (sizeof record - 1) * 2;
		without[0] = (sizeof without - 1) * 2;
		str_addn(&s, i == keyless ? without : record,
			 i == keyless ? sizeof without : sizeof record);
	}
	struct span head = fix_batch(&bed.arena, "x", n, 1000, -1, -1, -1);
	uint8_t *p = kafka_arena_alloc(&bed.arena, BATCH_HEAD + s.len);
	memcpy(p, head.p, BATCH_HEAD);
	memcpy(p + BATCH_HEAD, s.p, s.len);
	put_u32(p + 8, (uint32_t)(BATCH_HEAD + s.len - 12));
	batch_seal(p, BATCH_HEAD + s.len, 1000);
	struct span out = span_of(p, BATCH_HEAD + s.len);
	str_fini(&s);
	return out;
}

START_TEST(records_need_keys)
{
	struct kafka_produce_response_partition *a =
		bed_produce("events", 0, keyed_batch(5, 3));
	ck_assert_int_eq(a->error_code, 0);
	compact_hub();
	for (int codec = 0; codec <= RECORDS_ZSTD; codec++) {
		a = bed_produce("events", 0, bed_pack(keyed_batch(5, 3), codec));
		ck_assert_int_eq(a->error_code, KAFKA_INVALID_RECORD);
		ck_assert_int_eq(a->base_offset, -1);
		ck_assert_int_eq(a->n_record_errors, 1);
		ck_assert_int_eq(a->record_errors[0].batch_index, 3);
		ck_assert(!a->record_errors[0].batch_index_error_message.is_null);
		ck_assert(span_eq_str(a->error_message.s, "Record 3 of 5 has no key, which compaction of "
							  "the hub needs."));
		a = bed_produce("events", 0, bed_pack(keyed_batch(5, -1), codec));
		ck_assert_int_eq(a->error_code, 0);
		ck_assert_int_eq(a->n_record_errors, 0);
	}
	/* Other hubs take what they took. */
	ck_assert_int_eq(bed_produce("other", 0, keyed_batch(5, 0))->error_code, 0);
}
END_TEST

/* ---- reading -------------------------------------------------------------------------- */

/* What compaction leaves of the batches of 10 at 0 and 20, as bits; of those at 10..19
 * only the one at 14, of the one at 40 nothing. */
static const uint8_t left[][2] = {{0x0c, 0x02}, {0}, {0x03, 0x00}};
enum { GONE = 40 };

static bool is_gone(int64_t seq)
{
	return seq == GONE || (seq >= 10 && seq < 20 && seq != 14);
}

static void compact(struct store_batches *b)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		struct store_batch *one = &b->v[i];
		struct str made = {.max = 1 << 20};
		if (is_gone(one->base_seq)) {
			buf_drop(&one->buf);
			continue;
		}
		if (one->base_seq == 0 || one->base_seq == 20) {
			const uint8_t *keep = left[one->base_seq / 10];
			ck_assert_int_eq(wire_compactor.rewrite(one->batch, one->encoding, keep, &made), ERR_OK);
			buf_drop(&one->buf);
			one->buf = buf_new(made.len);
			memcpy(one->buf->data, made.p, made.len);
			one->buf->len = (uint32_t)made.len;
			one->batch = span_of(one->buf->data, made.len);
			str_fini(&made);
		}
		b->v[n++] = *one;
	}
	b->n = n;
}

/* The offsets of all records in a fetch from `from`, in order. */
static int32_t offsets_from(int64_t from, int64_t out[64])
{
	struct bed_fetch q = {.partitions = {1}, .offsets = {from}, .n = 1};
	struct kafka_fetch_response_partition *a = bed_part(bed_fetch(&q), 0);
	ck_assert_int_eq(a->error_code, 0);
	struct span s = a->records.s;
	int32_t n = 0;
	while (s.n > 0) {
		struct batch_head head;
		struct records_iter *it;
		struct batch_record rec;
		ck_assert_int_eq(batch_head_read(s, &head), ERR_OK);
		struct span one = span_of(s.p, head.total);
		ck_assert_int_eq(batch_check(one), ERR_OK);
		ck_assert_int_eq(records_iter_new(one, 1 << 20, NULL, &it), ERR_OK);
		enum err e;
		while ((e = records_iter_next(it, &rec)) == ERR_OK) {
			out[n++] = head.base_offset + rec.offset_delta;
		}
		ck_assert_int_eq(e, ERR_EOF);
		records_iter_free(&it);
		s = span_of(s.p + head.total, s.n - head.total);
	}
	return n;
}

/* Offsets 0..9 a batch of Kafka, of which 2, 3, 9 are left; 10..19 events of AMQP, of
 * which 14; 20..29 a packed one with 20, 21; 30..39 a whole one, 40..49 one that is gone, and
 * 50. */
static void store_all(void)
{
	ck_assert_int_eq(bed_produce("events", 1, keyed_batch(10, -1))->error_code, 0);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(fix_append_amqp(&bed.fix, 1, "e"), 10 + i);
	}
	ck_assert_int_eq(bed_produce("events", 1, bed_pack(keyed_batch(10, -1), RECORDS_GZIP))->error_code, 0);
	ck_assert_int_eq(bed_put("events", 1, "v", 10, 5000), 30);
	ck_assert_int_eq(bed_put("events", 1, "v", 10, 6000), GONE);
	ck_assert_int_eq(bed_put("events", 1, "v", 1, 7000), 50);
	bed_read_hook = compact;
}

static void close_bed(void)
{
	bed_read_hook = NULL;
	bed_close();
}

START_TEST(fetched_records_have_their_offsets)
{
	static const int64_t first[] = {2, 3, 9};
	int64_t got[64];
	store_all();
	int32_t n = offsets_from(0, got);
	ck_assert_int_eq(memcmp(got, first, sizeof first), 0);
	for (int32_t i = 1; i < n; i++) {
		ck_assert_int_gt(got[i], got[i - 1]);
		ck_assert(got[i] < 40 || got[i] >= 50);
	}
	ck_assert_int_eq(got[n - 1], 50);
	/* A fetch from a gap goes on behind it; the batch that holds it comes whole. */
	ck_assert_int_eq(offsets_from(25, got), 13);
	ck_assert_int_eq(got[0], 20);
	ck_assert_int_eq(got[1], 21);
	ck_assert_int_eq(offsets_from(40, got), 1);
	ck_assert_int_eq(offsets_from(49, got), 1);
	ck_assert_int_eq(got[0], 50);
}
END_TEST

START_TEST(offsets_by_time_are_those_of_records)
{
	store_all();
	ck_assert_int_eq(bed_list(7, 1, 0)->offset, 2);
	ck_assert_int_eq(bed_list(7, 1, 1000)->offset, 2);
	ck_assert_int_eq(bed_list(7, 1, -2)->offset, 0);
}
END_TEST

Suite *compacted_suite(void)
{
	Suite *s = suite_create("compacted");
	TCase *t = tcase_create("compacted");
	tcase_add_checked_fixture(t, bed_open, close_bed);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, records_need_keys);
	tcase_add_test(t, fetched_records_have_their_offsets);
	tcase_add_test(t, offsets_by_time_are_those_of_records);
	suite_add_tcase(s, t);
	return s;
}
