#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gateway/wire/compact.h"
#include "gateway/wire/event.h"
#include "gateway/wire/to_kafka.h"
#include "test/unit/wire/golden.h"
#include "test/unit/wire/help.h"
#include "test/unit/wire/suites.h"

enum { CODECS = RECORDS_ZSTD + 1, MANY = 2000, ROUNDS = 20 };

/* What a walk told. */
struct told {
	bool has_key[MANY];
	bool is_tombstone[MANY];
	int32_t delta[MANY];
	char key[MANY][16];
	uint32_t n;
	uint32_t fail_at;	/* 0: never */
};

static enum err take(void *arg, const struct store_compact_record *r)
{
	struct told *t = arg;
	ck_assert_uint_lt(t->n, MANY);
	t->has_key[t->n] = r->has_key;
	t->is_tombstone[t->n] = r->is_tombstone;
	t->delta[t->n] = r->offset_delta;
	if (span_to_cstr(r->key, t->key[t->n], sizeof t->key[0]) != ERR_OK) {
		snprintf(t->key[t->n], sizeof t->key[0], "?");
	}
	t->n++;
	return t->fail_at != 0 && t->n == t->fail_at ? ERR_STOPPING : ERR_OK;
}

static enum err walk(struct span batch, const char *key, enum batch_encoding encoding,
		     struct told *t)
{
	*t = (struct told){.n = 0, .fail_at = t->fail_at};
	return wire_compactor.walk(batch, span_str(key), encoding, take, t);
}

/* ---- Kafka's batches ---------------------------------------------------------- */

/* Keys k0..k9, every fifth record a tombstone, every seventh without key. */
static struct span kafka_batch(enum records_codec codec, int32_t n)
{
	static const uint8_t headers[] = {4, 'h', '1', 6, 'o', 'n', 'e'};
	struct str s = {.max = 64 << 20};
	for (int32_t i = 0; i < n; i++) {
		char key[16];
		char value[64];
		snprintf(key, sizeof key, "k%d", (int)(i % 10));
		snprintf(value, sizeof value, "value %d of many that are alike", (int)i);
		struct raw_record r = {
			.ms_delta = i * 3 - 20,
			.delta = i,
			.key = i % 7 == 6 ? NULL : key,
			.value = i % 5 == 4 ? (struct span){NULL, 0} : span_str(value),
			.header_count = i % 2,
			.headers = span_of(headers, i % 2 != 0 ? sizeof headers : 0),
		};
		put_record(&s, &r);
	}
	struct span batch = make_batch(codec, span_in(&s), n);
	str_fini(&s);
	/* A producer's numbers, and a place in the log. */
	put_u64(bytes_of(batch), 4711);
	put_u64(bytes_of(batch) + 43, 77);
	put_u16(bytes_of(batch) + 51, 3);
	put_u32(bytes_of(batch) + 53, 100);
	put_u64(bytes_of(batch) + 35, (uint64_t)(1000 + (n - 1) * 3 - 20));
	reseal(batch);
	return batch;
}

START_TEST(kafka_records_are_told)
{
	struct told *t = MEM_NEW(struct told);
	struct span batch = kafka_batch((enum records_codec)_i, 100);
	ck_assert_int_eq(walk(batch, "", BATCH_KAFKA, t), ERR_OK);
	ck_assert_uint_eq(t->n, 100);
	for (uint32_t i = 0; i < t->n; i++) {
		char key[16] = "";
		if (i % 7 != 6) {
			snprintf(key, sizeof key, "k%u", i % 10);
		}
		ck_assert_int_eq(t->delta[i], i);
		ck_assert(t->has_key[i] == (i % 7 != 6));
		ck_assert_str_eq(t->key[i], key);
		ck_assert(t->is_tombstone[i] == (t->has_key[i] && i % 5 == 4));
	}
	batch_free(batch);
	mem_free(t);
}
END_TEST

START_TEST(an_error_of_the_function_ends_it)
{
	struct told *t = MEM_NEW(struct told);
	t->fail_at = 3;
	struct span batch = kafka_batch((enum records_codec)_i, 100);
	ck_assert_int_eq(walk(batch, "", BATCH_KAFKA, t), ERR_STOPPING);
	ck_assert_uint_eq(t->n, 3);
	batch_free(batch);
	mem_free(t);
}
END_TEST

START_TEST(batches_of_other_programs_are_rewritten)
{
	static const uint8_t keep[] = {5};	/* the first and the third */
	struct span batch = span_of(goldens[_i].p, goldens[_i].n);
	struct str out = {.max = 1 << 20};
	ck_assert_int_eq(wire_compactor.rewrite(batch, BATCH_KAFKA, keep, &out), ERR_OK);
	struct records_iter *it;
	struct batch_record rec;
	ck_assert_int_eq(batch_check(span_in(&out)), ERR_OK);
	ck_assert_int_eq(records_iter_new(span_in(&out), 1 << 20, NULL, &it), ERR_OK);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_OK);
	ck_assert(span_eq_str(rec.key, "k1"));
	ck_assert(span_eq_str(rec.value, "first value"));
	ck_assert_int_eq(rec.header_count, 2);
	ck_assert(span_eq_str(rec.headers, "\4h1\4v1\4h2\1"));
	ck_assert_int_eq(rec.timestamp, GOLDEN_MS);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_OK);
	ck_assert_int_eq(rec.offset_delta, 2);
	ck_assert_int_eq(rec.timestamp, GOLDEN_MS + 200);
	ck_assert(rec.has_key);
	ck_assert(!rec.has_value);
	ck_assert_int_eq(records_iter_next(it, &rec), ERR_EOF);
	records_iter_free(&it);
	str_fini(&out);
}
END_TEST

/* Every record of `made` is that of `from` with the same delta and is to be kept. */
static void check_same(struct span from, struct span made, const uint8_t *keep)
{
	struct records_iter *a;
	struct records_iter *b;
	struct batch_record x;
	struct batch_record y;
	struct batch_head old;
	struct batch_head now;
	int64_t max_ms = INT64_MIN;
	int32_t n = 0;
	ck_assert_int_eq(batch_check(made), ERR_OK);
	ck_assert_int_eq(batch_head_read(from, &old), ERR_OK);
	ck_assert_int_eq(batch_head_read(made, &now), ERR_OK);
	ck_assert_int_eq(records_iter_new(from, RECORDS_INFLATED_MAX, NULL, &a), ERR_OK);
	ck_assert_int_eq(records_iter_new(made, RECORDS_INFLATED_MAX, NULL, &b), ERR_OK);
	for (int32_t i = 0; records_iter_next(a, &x) == ERR_OK; i++) {
		if ((keep[i / 8] >> (i % 8) & 1) == 0) {
			continue;
		}
		ck_assert_int_eq(records_iter_next(b, &y), ERR_OK);
		ck_assert_int_eq(x.offset_delta, y.offset_delta);
		ck_assert_int_eq(x.timestamp, y.timestamp);
		ck_assert(x.has_key == y.has_key);
		ck_assert(x.has_value == y.has_value);
		ck_assert_int_eq(x.header_count, y.header_count);
		ck_assert(span_eq(x.key, y.key));
		ck_assert(span_eq(x.value, y.value));
		ck_assert(span_eq(x.headers, y.headers));
		max_ms = x.timestamp > max_ms ? x.timestamp : max_ms;
		n++;
	}
	ck_assert_int_eq(records_iter_next(b, &y), ERR_EOF);
	ck_assert_int_eq(now.count, n);
	ck_assert_int_eq(now.last_offset_delta, old.last_offset_delta);
	ck_assert_int_eq(now.base_offset, old.base_offset);
	ck_assert_int_eq(now.base_timestamp, old.base_timestamp);
	ck_assert_int_eq(now.max_timestamp, max_ms);
	ck_assert_int_eq(now.producer_id, old.producer_id);
	ck_assert_int_eq(now.producer_epoch, old.producer_epoch);
	ck_assert_int_eq(now.base_sequence, old.base_sequence);
	ck_assert_uint_eq(now.attributes, old.attributes);
	records_iter_free(&a);
	records_iter_free(&b);
}

/* Rewritten again and again until one record is left. */
START_TEST(any_choice_of_records_is_kept)
{
	srandom((unsigned)_i + 1);
	for (int round = 0; round < ROUNDS; round++) {
		int32_t n = 1 + (int32_t)(random() % (round % 10 == 0 ? MANY : 40));
		struct span first = kafka_batch((enum records_codec)_i, n);
		struct str from = {.max = 16 << 20};
		str_addn(&from, first.p, first.n);
		batch_free(first);
		while (n > 1) {
			uint8_t keep[MANY / 8 + 1] = {0};
			int32_t kept = 0;
			for (int32_t i = 0; i < n; i++) {
				bool is_kept = random() % 3 != 0;
				keep[i / 8] |= (uint8_t)((is_kept ? 1u : 0u) << (i % 8));
				kept += is_kept;
			}
			if (kept == 0) {
				keep[0] = 1;
				kept = 1;
			}
			struct str out = {.max = 16 << 20};
			str_add(&out, "before");
			ck_assert_int_eq(wire_compactor.rewrite(span_in(&from), BATCH_KAFKA, keep, &out),
					 ERR_OK);
			check_same(span_in(&from), span_of(out.p + 6, out.len - 6), keep);
			from.len = 0;
			str_addn(&from, out.p + 6, out.len - 6);
			str_fini(&out);
			n = kept;
		}
		str_fini(&from);
	}
}
END_TEST

START_TEST(nothing_kept_is_refused)
{
	static const uint8_t keep[8];
	struct span batch = kafka_batch(RECORDS_GZIP, 20);
	struct str out = {.max = 1 << 20};
	str_add(&out, "before");
	ck_assert_int_eq(wire_compactor.rewrite(batch, BATCH_KAFKA, keep, &out), ERR_INVALID);
	ck_assert_uint_eq(out.len, 6);
	str_fini(&out);
	batch_free(batch);
}
END_TEST

START_TEST(control_batches_have_no_keys)
{
	struct told *t = MEM_NEW(struct told);
	struct span batch = kafka_batch(RECORDS_NONE, 3);
	put_u16(bytes_of(batch) + 21, RECORDS_CONTROL | RECORDS_TRANSACTIONAL);
	reseal(batch);
	ck_assert_int_eq(walk(batch, "", BATCH_KAFKA, t), ERR_OK);
	ck_assert_uint_eq(t->n, 3);
	ck_assert(!t->has_key[0] && !t->has_key[1] && !t->has_key[2]);
	batch_free(batch);
	mem_free(t);
}
END_TEST

/* ---- events of AMQP ------------------------------------------------------------ */

static const struct {
	const char *bytes;
	size_t n;
	bool is_empty;
} bodies[] = {
	{"", 0, true},					/* none */
	{"\0\x53\x75\xa0\0", 5, true},			/* empty data */
	{"\0\x53\x75\xb0\0\0\0\0", 8, true},
	{"\0\x53\x75\x40", 4, true},			/* data that holds null */
	{"\0\x53\x75\xa0\0\0\x53\x75\xa0\0", 10, true},
	{"\0\x53\x75\xa0\1x", 6, false},
	{"\0\x53\x75\xa0\0\0\x53\x75\xa0\1x", 11, false},
	{"\0\x53\x77\x40", 4, true},			/* a value that is null */
	{"\0\x53\x77\xa1\0", 5, false},			/* an empty text is one */
	{"\0\x53\x76\x45", 4, false},			/* an empty sequence is one */
	{"\0\x53\x74\xc1\1\0\0\x53\x75\xa0\0", 11, true},	/* properties and empty data */
};
enum { BODIES = sizeof bodies / sizeof *bodies };

static struct span amqp_batch(void)
{
	struct batch_builder b;
	struct buf *buf;
	batch_builder_init(&b, 100, LIMIT_BATCH);
	for (size_t i = 0; i < BODIES; i++) {
		struct span part = span_of(bodies[i].bytes, bodies[i].n);
		batch_builder_add(&b, &part, 1);
	}
	ck_assert_int_eq(batch_builder_finish(&b, &buf), ERR_OK);
	batch_place(buf->data, 900);
	batch_seal(buf->data, buf->len, 123456);
	uint8_t *p = mem_dup(buf->data, buf->len);
	struct span s = span_of(p, buf->len);
	buf_drop(&buf);
	return s;
}

START_TEST(events_have_the_partition_key)
{
	struct told *t = MEM_NEW(struct told);
	struct span batch = amqp_batch();
	ck_assert_int_eq(walk(batch, "pk", BATCH_AMQP, t), ERR_OK);
	ck_assert_uint_eq(t->n, BODIES);
	for (uint32_t i = 0; i < BODIES; i++) {
		ck_assert_int_eq(t->delta[i], i);
		ck_assert(t->has_key[i]);
		ck_assert_str_eq(t->key[i], "pk");
		ck_assert_msg(t->is_tombstone[i] == bodies[i].is_empty, "body %u", i);
	}
	ck_assert_int_eq(walk(batch, "", BATCH_AMQP, t), ERR_OK);
	ck_assert(!t->has_key[0]);
	ck_assert(!t->is_tombstone[0]);
	batch_free(batch);
	mem_free(t);
}
END_TEST

/* What is left goes to Kafka readers with the offsets it had. */
START_TEST(rewritten_events_keep_their_offsets)
{
	static const uint8_t keep[] = {0x22, 0x04};	/* 1, 5, 10 */
	static const int32_t left[] = {1, 5, 10};
	struct span batch = amqp_batch();
	struct str out = {.max = 1 << 20};
	struct str made = {.max = 1 << 20};
	struct batch_iter it;
	struct batch_record rec;
	struct batch_head head;
	ck_assert_int_eq(wire_compactor.rewrite(batch, BATCH_AMQP, keep, &out), ERR_OK);
	check_same(batch, span_in(&out), keep);
	ck_assert_int_eq(to_kafka_batch(span_in(&out), span_str("pk"), 123456, &made), ERR_OK);
	ck_assert_int_eq(batch_check(span_in(&made)), ERR_OK);
	ck_assert_int_eq(batch_head_read(span_in(&made), &head), ERR_OK);
	ck_assert_int_eq(head.count, 3);
	ck_assert_int_eq(head.base_offset, 900);
	ck_assert_int_eq(head.last_offset_delta, BODIES - 1);
	ck_assert_int_eq(batch_iter_init(&it, span_in(&made)), ERR_OK);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_OK);
		ck_assert_int_eq(rec.offset_delta, left[i]);
		ck_assert_int_eq(rec.timestamp, 123456);
	}
	ck_assert_int_eq(batch_iter_next(&it, &rec), ERR_EOF);
	str_fini(&out);
	str_fini(&made);
	batch_free(batch);
}
END_TEST

/* ---- damage ---------------------------------------------------------------------- */

START_TEST(damage_is_not_given_a_right_crc)
{
	static const uint8_t keep[] = {1};
	struct span batch = kafka_batch((enum records_codec)_i, 8);
	struct str out = {.max = 1 << 20};
	for (size_t at = 21; at < batch.n; at++) {
		bytes_of(batch)[at] ^= 0x10;
		ck_assert_int_eq(wire_compactor.rewrite(batch, BATCH_KAFKA, keep, &out), ERR_CORRUPT);
		ck_assert_uint_eq(out.len, 0);
		bytes_of(batch)[at] ^= 0x10;
	}
	str_fini(&out);
	batch_free(batch);
}
END_TEST

/* Bytes changed and the CRC made right: an answer or ERR_CORRUPT. */
START_TEST(malformed_batches_do_no_harm)
{
	struct told *t = MEM_NEW(struct told);
	uint8_t keep[MANY / 8];
	memset(keep, 0xb5, sizeof keep);
	srandom((unsigned)_i + 100);
	for (int round = 0; round < 300; round++) {
		bool is_amqp = round % 3 == 0;
		struct span batch = is_amqp ? amqp_batch() : kafka_batch((enum records_codec)_i, 30);
		for (long k = 1 + random() % 3; k > 0; k--) {
			size_t at = 21 + (size_t)random() % (batch.n - 21);
			bytes_of(batch)[at] = (uint8_t)random();
		}
		struct span cut = batch;
		if (round % 5 == 0) {
			cut.n = BATCH_HEAD + (size_t)random() % (batch.n - BATCH_HEAD);
			put_u32(bytes_of(cut) + 8, (uint32_t)(cut.n - 12));
		}
		reseal(cut);
		enum batch_encoding encoding = is_amqp ? BATCH_AMQP : BATCH_KAFKA;
		struct str out = {.max = 16 << 20};
		struct batch_head head;
		enum err e = walk(cut, "pk", encoding, t);
		ck_assert(e == ERR_OK || e == ERR_CORRUPT || e == ERR_TOO_LARGE);
		if (batch_head_read(cut, &head) == ERR_OK && head.count <= MANY) {
			e = wire_compactor.rewrite(cut, encoding, keep, &out);
			ck_assert(e == ERR_OK || e == ERR_CORRUPT || e == ERR_INVALID);
			ck_assert(e != ERR_OK || batch_check(span_in(&out)) == ERR_OK);
		}
		str_fini(&out);
		batch_free(batch);
	}
	mem_free(t);
}
END_TEST

START_TEST(offsets_that_do_not_ascend_are_damage)
{
	struct told *t = MEM_NEW(struct told);
	static const int32_t wrong[][3] = {{0, 0, 1}, {0, 2, 1}, {1, 2, 3}, {-1, 0, 1}};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct str s = {.max = 1 << 20};
		for (size_t k = 0; k < 3; k++) {
			put_record(&s, &(struct raw_record){.delta = wrong[i][k], .key = "k"});
		}
		struct span batch = make_batch(RECORDS_NONE, span_in(&s), 3);
		ck_assert_int_eq(walk(batch, "", BATCH_KAFKA, t), ERR_CORRUPT);
		batch_free(batch);
		str_fini(&s);
	}
	mem_free(t);
}
END_TEST

Suite *compact_suite(void)
{
	Suite *s = suite_create("compact");
	TCase *c = tcase_create("compact");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, kafka_records_are_told, 0, CODECS);
	tcase_add_loop_test(c, an_error_of_the_function_ends_it, 0, CODECS);
	tcase_add_loop_test(c, batches_of_other_programs_are_rewritten, 0, (int)n_goldens);
	tcase_add_loop_test(c, any_choice_of_records_is_kept, 0, CODECS);
	tcase_add_test(c, nothing_kept_is_refused);
	tcase_add_test(c, control_batches_have_no_keys);
	tcase_add_test(c, events_have_the_partition_key);
	tcase_add_test(c, rewritten_events_keep_their_offsets);
	tcase_add_loop_test(c, damage_is_not_given_a_right_crc, 0, CODECS);
	tcase_add_loop_test(c, malformed_batches_do_no_harm, 0, CODECS);
	tcase_add_test(c, offsets_that_do_not_ascend_are_damage);
	suite_add_tcase(s, c);
	return s;
}
