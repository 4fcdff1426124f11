#include <stdlib.h>

#include "suites.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/volume/record.h"

static struct buf *make_batch(int64_t base, int64_t ms, const char *value)
{
	struct batch_builder b;
	struct span part = span_str(value);
	struct buf *out;
	batch_builder_init(&b, part.n, 1 << 20);
	batch_builder_add(&b, &part, 1);
	batch_builder_add(&b, &part, 1);
	ck_assert_int_eq(batch_builder_finish(&b, &out), ERR_OK);
	batch_seal(out->data, out->len, ms);
	batch_place(out->data, base);
	return out;
}

struct sample {
	struct buf *a;
	struct buf *b;
	struct volume_command commands[3];
	struct volume_entry entry;
	uint8_t *bytes;
	size_t n;
};

static void sample_init(struct sample *s)
{
	*s = (struct sample){.a = make_batch(10, 5, "first"), .b = make_batch(0, 5, "second")};
	s->commands[0] = (struct volume_command){
		.kind = VOLUME_BATCH,
		.encoding = BATCH_AMQP,
		.part = {3, 1},
		.count = 2,
		.base_seq = 10,
		.append_ms = 5,
		.max_timestamp_ms = 5,
		.payload = span_of(s->a->data, s->a->len),
		.key = span_str("k1"),
	};
	s->commands[1] = (struct volume_command){.kind = VOLUME_CATALOG,
						 .payload = span_str("catalogue")};
	s->commands[2] = s->commands[0];
	s->commands[2].part.partition = 2;
	s->commands[2].base_seq = 0;
	s->commands[2].payload = span_of(s->b->data, s->b->len);
	s->commands[2].key = span_of(NULL, 0);
	s->entry = (struct volume_entry){
		.shard = 4,
		.term = 9,
		.index = 77,
		.commands = s->commands,
		.n_commands = 3,
	};
	s->n = (size_t)volume_entry_size(s->commands, 3);
	s->bytes = mem_alloc(s->n);
	record_write_entry(&s->entry, 1234, s->bytes, s->n);
}

static void sample_fini(struct sample *s)
{
	buf_drop(&s->a);
	buf_drop(&s->b);
	mem_free(s->bytes);
}

START_TEST(entry_reads_back_as_written)
{
	struct sample s;
	sample_init(&s);
	struct record r;
	ck_assert_int_eq(record_read(span_of(s.bytes, s.n), &r), ERR_OK);
	ck_assert_int_eq(r.kind, RECORD_ENTRY);
	ck_assert_uint_eq(r.shard, 4);
	ck_assert_uint_eq(r.term, 9);
	ck_assert_uint_eq(r.index, 77);
	ck_assert_uint_eq(r.log_no, 1234);
	struct record_iter it;
	struct record_command c;
	record_commands(&r, &it);
	for (int i = 0; i < 3; i++) {
		const struct volume_command *want = &s.commands[i];
		ck_assert_int_eq(record_next(&it, &c), ERR_OK);
		ck_assert_int_eq(record_payload_check(&c), ERR_OK);
		ck_assert_int_eq(c.command.kind, want->kind);
		ck_assert_uint_eq(store_part_key(c.command.part), store_part_key(want->part));
		ck_assert_uint_eq(c.command.count, want->count);
		ck_assert_int_eq(c.command.base_seq, want->base_seq);
		ck_assert(span_eq(c.command.payload, want->payload));
		ck_assert(span_eq(c.command.key, want->key));
	}
	ck_assert_int_eq(record_next(&it, &c), ERR_EOF);
	ck_assert_int_eq(record_check(&r), ERR_OK);
	sample_fini(&s);
}
END_TEST

START_TEST(every_flipped_bit_is_found)
{
	struct sample s;
	sample_init(&s);
	for (size_t i = 0; i < s.n * 8; i++) {
		struct record r;
		s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		enum err e = record_read(span_of(s.bytes, s.n), &r);
		if (e == ERR_OK) {
			e = record_check(&r);
		}
		ck_assert_msg(e != ERR_OK, "bit %zu", i);
		s.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	sample_fini(&s);
}
END_TEST

START_TEST(every_cut_is_found)
{
	struct sample s;
	sample_init(&s);
	for (size_t n = 0; n < s.n; n++) {
		uint8_t *copy = mem_dup(s.bytes, n);
		struct record r;
		ck_assert_int_ne(record_read(span_of(copy, n), &r), ERR_OK);
		mem_free(copy);
	}
	sample_fini(&s);
}
END_TEST

/* Heads with a right CRC but contents that contradict themselves. */
START_TEST(impossible_descriptors_are_refused)
{
	struct sample s;
	sample_init(&s);
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{RECORD_HEAD + 0, 9},	/* kind */
		{RECORD_HEAD + 1, 7},	/* encoding */
		{RECORD_HEAD + 3, 200},	/* key length */
		{RECORD_HEAD + 15, 0},	/* count */
		{RECORD_HEAD + 16, 0x80},	/* base sequence number below 0 */
		{RECORD_HEAD + 43, 1},	/* position */
		{RECORD_HEAD + 44, 0xff},	/* length */
		{RECORD_HEAD + 59, 1},	/* reserved */
		{47, 2},		/* number of commands */
		{47, 4},
		{6, 1},			/* flags */
		{4, 0},			/* kind of record */
		{4, 5},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint8_t *copy = mem_dup(s.bytes, s.n);
		copy[bad[i].at] = bad[i].value;
		uint32_t head_len = get_u32(copy + 8);
		put_u32(copy, crc32c(0, copy + 4, head_len - 4));
		struct record r;
		enum err e = record_read(span_of(copy, s.n), &r);
		if (e == ERR_OK) {
			e = record_check(&r);
		}
		ck_assert_msg(e == ERR_CORRUPT, "case %zu: %s", i, err_text(e));
		mem_free(copy);
	}
	sample_fini(&s);
}
END_TEST

START_TEST(later_version_is_told_apart)
{
	struct sample s;
	sample_init(&s);
	s.bytes[5] = RECORD_VERSION + 1;
	put_u32(s.bytes, crc32c(0, s.bytes + 4, get_u32(s.bytes + 8) - 4));
	struct record r;
	ck_assert_int_eq(record_read(span_of(s.bytes, s.n), &r), ERR_VERSION);
	sample_fini(&s);
}
END_TEST

START_TEST(batch_head_must_match_descriptor)
{
	struct sample s;
	sample_init(&s);
	struct record r;
	/* The CRC inside a batch begins at byte 21: these are checked one by one. */
	size_t batch_at = get_u32(s.bytes + 8);
	for (size_t i = 0; i < 21; i++) {
		s.bytes[batch_at + i] ^= 1;
		ck_assert_int_eq(record_read(span_of(s.bytes, s.n), &r), ERR_OK);
		ck_assert_int_eq(record_check(&r), ERR_CORRUPT);
		s.bytes[batch_at + i] ^= 1;
	}
	sample_fini(&s);
}
END_TEST

START_TEST(other_kinds_read_back)
{
	uint8_t bytes[128];
	struct record r;
	struct volume_hard_state h = {
		.shard = 3,
		.term = 8,
		.vote = 2,
		.log_start = 44,
		.start_term = 7,
	};
	struct volume_hard_state h2;
	record_write_hard_state(&h, 5, bytes);
	ck_assert_int_eq(record_read(span_of(bytes, RECORD_HARD_STATE_SIZE), &r), ERR_OK);
	ck_assert_int_eq(record_hard_state_read(&r, &h2), ERR_OK);
	ck_assert_uint_eq(h2.shard, 3);
	ck_assert_uint_eq(h2.term, 8);
	ck_assert_uint_eq(h2.vote, 2);
	ck_assert_uint_eq(h2.log_start, 44);
	ck_assert_uint_eq(h2.start_term, 7);

	struct record_segment seg = {.number = 12, .shards = 6};
	struct record_segment seg2;
	memset(seg.store_uuid, 1, 16);
	memset(seg.segment_uuid, 2, 16);
	record_write_segment(&seg, 6, bytes);
	ck_assert_int_eq(record_read(span_of(bytes, RECORD_SEGMENT_HEAD_SIZE), &r), ERR_OK);
	ck_assert_int_eq(record_segment_read(&r, &seg2), ERR_OK);
	ck_assert_uint_eq(seg2.number, 12);
	ck_assert_uint_eq(seg2.shards, 6);
	ck_assert(!seg2.is_cleaned);
	seg.is_cleaned = true;
	record_write_segment(&seg, 6, bytes);
	ck_assert_int_eq(record_read(span_of(bytes, RECORD_SEGMENT_HEAD_SIZE), &r), ERR_OK);
	ck_assert_int_eq(record_segment_read(&r, &seg2), ERR_OK);
	ck_assert(seg2.is_cleaned);
	ck_assert_mem_eq(seg2.segment_uuid, seg.segment_uuid, 16);

	record_write_truncation(2, 99, 7, bytes);
	ck_assert_int_eq(record_read(span_of(bytes, RECORD_HEAD), &r), ERR_OK);
	ck_assert_int_eq(r.kind, RECORD_TRUNCATION);
	ck_assert_uint_eq(r.index, 99);
	ck_assert_uint_eq(r.log_no, 7);
}
END_TEST

/* As directories of format 2 have it. */
START_TEST(old_hard_state_has_no_start_term)
{
	uint8_t bytes[RECORD_HARD_STATE_SIZE];
	struct volume_hard_state h = {.shard = 1, .term = 8, .vote = 2, .log_start = 1};
	record_write_hard_state(&h, 5, bytes);
	put_u32(bytes + 8, RECORD_HARD_STATE_OLD);
	put_u32(bytes + 40, RECORD_HARD_STATE_OLD);
	put_u32(bytes, crc32c(0, bytes + 4, RECORD_HARD_STATE_OLD - 4));
	struct record r;
	ck_assert_int_eq(record_read(span_of(bytes, RECORD_HARD_STATE_OLD), &r), ERR_OK);
	h = (struct volume_hard_state){.start_term = 99};
	ck_assert_int_eq(record_hard_state_read(&r, &h), ERR_OK);
	ck_assert_uint_eq(h.term, 8);
	ck_assert_uint_eq(h.log_start, 1);
	ck_assert_uint_eq(h.start_term, 0);
}
END_TEST

START_TEST(batches_read_back_and_hold_batches_only)
{
	struct sample s;
	sample_init(&s);
	struct volume_command two[2] = {s.commands[0], s.commands[2]};
	size_t n = (size_t)volume_entry_size(two, 2);
	uint8_t *bytes = mem_alloc(n);
	record_write_batches(4, two, 2, 77, bytes, n);
	struct record r;
	ck_assert_int_eq(record_read(span_of(bytes, n), &r), ERR_OK);
	ck_assert_int_eq(r.kind, RECORD_BATCHES);
	ck_assert_uint_eq(r.shard, 4);
	ck_assert_uint_eq(r.log_no, 77);
	ck_assert_int_eq(record_check(&r), ERR_OK);
	bytes[n - 1] ^= 1;
	ck_assert_int_eq(record_check(&r), ERR_CORRUPT);
	/* A raft term, or a command of another kind, is not for this kind of record. */
	bytes[n - 1] ^= 1;
	bytes[23] = 1;
	put_u32(bytes, crc32c(0, bytes + 4, get_u32(bytes + 8) - 4));
	ck_assert_int_eq(record_read(span_of(bytes, n), &r), ERR_CORRUPT);
	mem_free(bytes);
	put_u64(s.bytes + 16, 0);
	put_u64(s.bytes + 24, 0);
	s.bytes[4] = RECORD_BATCHES;
	put_u32(s.bytes, crc32c(0, s.bytes + 4, get_u32(s.bytes + 8) - 4));
	ck_assert_int_eq(record_read(span_of(s.bytes, s.n), &r), ERR_OK);
	ck_assert_int_eq(record_check(&r), ERR_CORRUPT);
	sample_fini(&s);
}
END_TEST

/* The count of a descriptor is of sequence numbers; records may be fewer, never more. */
START_TEST(compacted_batch_holds_fewer_records_than_its_span)
{
	struct sample s;
	sample_init(&s);
	struct volume_command c = s.commands[0];
	size_t n = (size_t)volume_entry_size(&c, 1);
	uint8_t *bytes = mem_alloc(n);
	struct record r;
	c.count = 9;
	record_write_batches(4, &c, 1, 77, bytes, n);
	ck_assert_int_eq(record_read(span_of(bytes, n), &r), ERR_OK);
	ck_assert_int_eq(record_check(&r), ERR_OK);
	c.count = 1;
	record_write_batches(4, &c, 1, 77, bytes, n);
	ck_assert_int_eq(record_read(span_of(bytes, n), &r), ERR_OK);
	ck_assert_int_eq(record_check(&r), ERR_CORRUPT);
	mem_free(bytes);
	sample_fini(&s);
}
END_TEST

static const struct record_cover covers[] = {
	{
		.part = {1, 2},
		.shard = 3,
		.flags = COVER_COMPACTED,
		.first_seq = 10,
		.end_seq = 30,
		.last_append_ms = 5000,
		.max_timestamp_ms = INT64_MIN,
	},
	{.part = {1, 3}, .shard = 0, .first_seq = 0, .end_seq = 1, .last_append_ms = -5},
	{.part = {2, 0}, .shard = 1, .first_seq = 7, .end_seq = INT64_MAX},
};
enum { N_COVERS = sizeof covers / sizeof *covers };

START_TEST(covers_read_back_as_written)
{
	uint8_t bytes[512];
	size_t size = record_covers_size(N_COVERS);
	struct record r;
	uint32_t n;
	record_write_covers(covers, N_COVERS, 2, bytes);
	ck_assert_int_eq(record_read(span_of(bytes, size), &r), ERR_OK);
	ck_assert_int_eq(r.kind, RECORD_COVERS);
	ck_assert_int_eq(record_check(&r), ERR_OK);
	ck_assert_int_eq(record_covers_read(&r, &n), ERR_OK);
	ck_assert_uint_eq(n, N_COVERS);
	for (uint32_t i = 0; i < n; i++) {
		struct record_cover c = {0};
		record_cover_at(&r, i, &c);
		ck_assert_mem_eq(&c, &covers[i], sizeof c);
	}
	for (size_t i = 0; i < size * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		ck_assert_int_ne(record_read(span_of(bytes, size), &r), ERR_OK);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	record_write_covers(covers, 0, 2, bytes);
	ck_assert_int_eq(record_read(span_of(bytes, record_covers_size(0)), &r), ERR_OK);
	ck_assert_int_eq(record_covers_read(&r, &n), ERR_OK);
	ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(impossible_covers_are_refused)
{
	enum { FIRST = RECORD_HEAD + 4, SECOND = FIRST + RECORD_COVER };
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{RECORD_HEAD + 3, 2},	/* number */
		{RECORD_HEAD + 3, 4},
		{RECORD_HEAD, 0xff},
		{FIRST + 7, 3},		/* partition: as the next one's */
		{SECOND + 3, 0},	/* hub: below the one before */
		{FIRST + 10, 1},	/* shard */
		{FIRST + 15, 4},	/* flags */
		{FIRST + 16, 0x80},	/* begins below 0 */
		{FIRST + 23, 30},	/* begins at its end */
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		uint8_t bytes[512];
		size_t size = record_covers_size(N_COVERS);
		struct record r;
		uint32_t n;
		record_write_covers(covers, N_COVERS, 2, bytes);
		bytes[bad[i].at] = bad[i].value;
		put_u32(bytes, crc32c(0, bytes + 4, size - 4));
		ck_assert_int_eq(record_read(span_of(bytes, size), &r), ERR_OK);
		ck_assert_msg(record_covers_read(&r, &n) == ERR_CORRUPT, "case %zu", i);
	}
}
END_TEST

START_TEST(size_is_bounded)
{
	uint8_t *big = mem_calloc(1, LIMIT_ENTRY);
	struct volume_command c = {.kind = VOLUME_CATALOG, .payload = span_of(big, 1)};
	size_t most = LIMIT_ENTRY - RECORD_HEAD - RECORD_DESCRIPTOR;
	c.payload.n = most - 1;
	ck_assert_uint_eq(volume_entry_size(&c, 1), LIMIT_ENTRY - 1);
	c.payload.n = most;
	ck_assert_uint_eq(volume_entry_size(&c, 1), LIMIT_ENTRY);
	c.payload.n = most + 1;
	ck_assert_uint_eq(volume_entry_size(&c, 1), UINT64_MAX);
	c.payload.n = 1;
	c.key = span_of(big, UINT16_MAX);
	ck_assert_uint_eq(volume_entry_size(&c, 1), RECORD_HEAD + RECORD_DESCRIPTOR + 65536);
	c.key.n = UINT16_MAX + 1;
	ck_assert_uint_eq(volume_entry_size(&c, 1), UINT64_MAX);
	ck_assert_uint_eq(volume_entry_size(&c, 0), RECORD_HEAD);
	ck_assert_uint_eq(volume_entry_size(&c, RECORD_COMMANDS_MAX + 1), UINT64_MAX);
	mem_free(big);
}
END_TEST

Suite *record_suite(void)
{
	Suite *s = suite_create("record");
	TCase *t = tcase_create("record");
	tcase_add_test(t, entry_reads_back_as_written);
	tcase_add_test(t, every_flipped_bit_is_found);
	tcase_add_test(t, every_cut_is_found);
	tcase_add_test(t, impossible_descriptors_are_refused);
	tcase_add_test(t, later_version_is_told_apart);
	tcase_add_test(t, batch_head_must_match_descriptor);
	tcase_add_test(t, other_kinds_read_back);
	tcase_add_test(t, old_hard_state_has_no_start_term);
	tcase_add_test(t, batches_read_back_and_hold_batches_only);
	tcase_add_test(t, compacted_batch_holds_fewer_records_than_its_span);
	tcase_add_test(t, covers_read_back_as_written);
	tcase_add_test(t, impossible_covers_are_refused);
	tcase_add_test(t, size_is_bounded);
	suite_add_tcase(s, t);
	return s;
}
