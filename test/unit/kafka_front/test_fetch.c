/* Fetch: what is read, how much of it, and what is refused. */

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/wire/records.h"
#include "gateway/kafka/fetch.h"
#include "test/unit/kafka_front/data_help.h"

/* The values of an answer's records, with those before `offset` left out, as
 * "a0,a1,". */
static const char *values_of(const struct kafka_records *r, int64_t offset)
{
	static char text[4096];
	text[0] = '\0';
	struct span left = r->s;
	while (left.n > 0) {
		struct batch_head head;
		struct batch_record rec;
		struct records_iter *it = NULL;
		ck_assert_int_eq(batch_head_read(left, &head), ERR_OK);
		ck_assert_int_eq(records_iter_new(span_of(left.p, head.total), 1 << 20, NULL, &it),
				 ERR_OK);
		while (records_iter_next(it, &rec) == ERR_OK) {
			size_t n = strlen(text);
			if (head.base_offset + rec.offset_delta >= offset) {
				snprintf(text + n, sizeof text - n, "%.*s,", (int)rec.value.n,
					 (const char *)rec.value.p);
			}
		}
		records_iter_free(&it);
		left = span_of(left.p + head.total, left.n - head.total);
	}
	return text;
}

static void read_all_forms(void)
{
	ck_assert_int_eq(bed_put("events", 0, "k", 2, 1000), 0);
	ck_assert_int_eq(fix_append_amqp(&bed.fix, 0, "amqp"), 2);
	struct span packed = bed_pack(fix_batch(&bed.arena, "z", 3, 9, -1, -1, -1), RECORDS_ZSTD);
	ck_assert_int_eq(bed_produce("events", 0, packed)->base_offset, 3);
	struct kafka_fetch_response *a = bed_fetch(&(struct bed_fetch){.n = 1});
	struct kafka_fetch_response_partition *p = bed_part(a, 0);
	ck_assert_int_eq(p->error_code, 0);
	ck_assert_int_eq(p->high_watermark, 6);
	ck_assert_int_eq(p->log_start_offset, 0);
	ck_assert_int_eq(p->preferred_read_replica, -1);
	ck_assert_int_eq(p->n_aborted_transactions, -1);
	ck_assert_uint_eq(bed_batches(&p->records), 3);
	ck_assert_str_eq(values_of(&p->records, 0), "k0,k1,amqp,z0,z1,z2,");
	/* From the middle: whole batches. */
	a = bed_fetch(&(struct bed_fetch){.n = 1, .offsets = {4}, .isolation = 1});
	p = bed_part(a, 0);
	ck_assert_uint_eq(bed_batches(&p->records), 1);
	ck_assert_str_eq(values_of(&p->records, 4), "z1,z2,");
	ck_assert_int_eq(p->n_aborted_transactions, 0);
	a = bed_fetch(&(struct bed_fetch){.n = 1, .offsets = {6}});
	ck_assert_int_eq(bed_part(a, 0)->error_code, 0);
	ck_assert_uint_eq(bed_part(a, 0)->records.s.n, 0);
}

START_TEST(batches_of_all_forms)
{
	read_all_forms();
}
END_TEST

START_TEST(batches_of_all_forms_from_disk)
{
	bed_close();
	bed_open_uncached();
	read_all_forms();
}
END_TEST

START_TEST(what_was_produced_comes_as_it_was)
{
	struct span sent = fix_batch(&bed.arena, "v", 7, 1234, -1, -1, -1);
	ck_assert_int_eq(bed_produce("events", 0, sent)->error_code, 0);
	ck_assert_int_eq(bed_produce("events", 0, sent)->error_code, 0);
	struct kafka_fetch_response *a = bed_fetch(&(struct bed_fetch){.n = 1, .offsets = {7}});
	struct span got = bed_part(a, 0)->records.s;
	ck_assert_uint_eq(got.n, sent.n);
	ck_assert_uint_eq(get_u64(got.p), 7);
	ck_assert_mem_eq(got.p + 16, sent.p + 16, sent.n - 16);
}
END_TEST

START_TEST(every_version_is_served)
{
	(void)bed_put("events", 0, "k", 2, 1000);
	for (int16_t v = 4; v <= 12; v++) {
		struct kafka_fetch_response *a =
			bed_fetch(&(struct bed_fetch){.n = 1, .version = v});
		ck_assert_str_eq(values_of(&bed_part(a, 0)->records, 0), "k0,k1,");
	}
}
END_TEST

static int16_t code_of(const struct bed_fetch *q)
{
	struct kafka_fetch_response *a = bed_fetch(q);
	return bed_part(a, 0)->error_code;
}

/* Errors do not wait, whatever the request says. */
START_TEST(bad_partitions_are_refused)
{
	(void)bed_put("events", 0, "k", 2, 1000);
	struct bed_fetch q = {.n = 1, .max_wait_ms = 60000, .min_bytes = 1};
	q.offsets[0] = 3;
	ck_assert_int_eq(code_of(&q), 1);
	q.offsets[0] = -1;
	ck_assert_int_eq(code_of(&q), 1);
	q.offsets[0] = INT64_MAX;
	ck_assert_int_eq(code_of(&q), 1);
	q.offsets[0] = 2;
	q.epoch = 1;
	ck_assert_int_eq(code_of(&q), 75);
	q.epoch = 0;
	q.partitions[0] = 4;
	ck_assert_int_eq(code_of(&q), 3);
	q.partitions[0] = -1;
	ck_assert_int_eq(code_of(&q), 3);
	q.partitions[0] = 0;
	q.topic = "nothing";
	ck_assert_int_eq(code_of(&q), 3);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "other", AUTH_LISTEN);
	ck_assert_int_eq(code_of(&q), 29);
	q.topic = "events";
	ck_assert_int_eq(code_of(&q), 29);
	fix_conn_close(&bed.fix, &bed.conn);
	bed.conn = fix_conn(&bed.fix, "", AUTH_SEND);
	ck_assert_int_eq(code_of(&q), 29);
}
END_TEST

START_TEST(an_error_beside_data)
{
	(void)bed_put("events", 1, "k", 2, 1000);
	struct kafka_fetch_response *a = bed_fetch(&(struct bed_fetch){
		.n = 3, .partitions = {0, 1, 77}, .max_wait_ms = 60000, .min_bytes = 1 << 20});
	ck_assert_int_eq(bed_part(a, 0)->error_code, 0);
	ck_assert_str_eq(values_of(&bed_part(a, 1)->records, 0), "k0,k1,");
	ck_assert_int_eq(bed_part(a, 2)->error_code, 3);
	ck_assert_int_eq(bed_part(a, 2)->high_watermark, -1);
}
END_TEST

START_TEST(sessions_are_declined)
{
	struct bed_fetch q = {.n = 1, .session_id = 5, .session_epoch = 3};
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_int_eq(a->error_code, 70);
	ck_assert_int_eq(a->n_responses, 0);
	q.session_epoch = 0;
	ck_assert_int_eq(code_of(&q), 0);
	q.session_epoch = -1;
	ck_assert_int_eq(code_of(&q), 0);
}
END_TEST

/* The producer chose the codec, so its readers know it, whatever their version
 * (Kafka refuses only where the topic's own setting is zstd). */
START_TEST(zstd_goes_to_every_version)
{
	(void)bed_put("events", 0, "k", 1, 1000);
	struct span packed = bed_pack(fix_batch(&bed.arena, "z", 3, 9, -1, -1, -1), RECORDS_ZSTD);
	ck_assert_int_eq(bed_produce("events", 0, packed)->error_code, 0);
	struct bed_fetch q = {.n = 1, .version = 4, .min_bytes = 1};
	q.offsets[0] = 1;
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_int_eq(bed_part(a, 0)->error_code, 0);
	ck_assert_uint_eq(bed_part(a, 0)->records.s.n, packed.n);
}
END_TEST

/* Turns one byte of every `text` in the data directory's segments. */
static int damage(const char *text)
{
	char pattern[128];
	int turned = 0;
	glob_t g;
	snprintf(pattern, sizeof pattern, "%s/*/*.mdb", bed.fix.dir);
	if (glob(pattern, 0, NULL, &g) != 0) {
		snprintf(pattern, sizeof pattern, "%s/*/*/*.mdb", bed.fix.dir);
		ck_assert_int_eq(glob(pattern, 0, NULL, &g), 0);
	}
	for (size_t i = 0; i < g.gl_pathc; i++) {
		static uint8_t b[4 << 20];
		int fd = open(g.gl_pathv[i], O_RDWR);
		ssize_t n = pread(fd, b, sizeof b, 0);
		for (const uint8_t *p = b; n > 0; p++) {
			p = memmem(p, (size_t)(b + n - p), text, strlen(text));
			if (p == NULL) {
				break;
			}
			ck_assert_int_eq(pwrite(fd, "!", 1, p - b), 1);
			turned++;
		}
		close(fd);
	}
	globfree(&g);
	return turned;
}

/* A damaged batch is the trouble of its own partition; what stands before it can
 * be had. */
START_TEST(a_damaged_batch)
{
	bed_close();
	bed_open_uncached();
	(void)bed_put("events", 0, "fine", 1, 1);
	(void)bed_put("events", 0, "broken", 1, 1);
	(void)bed_put("events", 1, "whole", 1, 1);
	ck_assert_int_gt(damage("broken"), 0);
	struct bed_fetch q = {
		.n = 2, .partitions = {0, 1}, .max_wait_ms = 60000, .min_bytes = 1 << 20};
	log_setup(LOG_ERROR + 1, false);
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_int_eq(bed_part(a, 0)->error_code, 0);
	ck_assert_str_eq(values_of(&bed_part(a, 0)->records, 0), "fine0,");
	ck_assert_str_eq(values_of(&bed_part(a, 1)->records, 0), "whole0,");
	q.offsets[0] = 1;
	a = bed_fetch(&q);
	ck_assert_int_eq(bed_part(a, 0)->error_code, KAFKA_STORAGE_ERROR);
	ck_assert_uint_eq(bed_part(a, 0)->records.s.n, 0);
	ck_assert_str_eq(values_of(&bed_part(a, 1)->records, 0), "whole0,");
}
END_TEST

/* ---- limits ----------------------------------------------------------------------- */

static size_t put_batches(int32_t partition, int n)
{
	size_t size = 0;
	for (int i = 0; i < n; i++) {
		struct span b = fix_batch(&bed.arena, "value", 20, 1, -1, -1, -1);
		ck_assert_int_eq(bed_produce("events", partition, b)->error_code, 0);
		size = b.n;
	}
	return size;
}

static void limits(void)
{
	int32_t size = (int32_t)put_batches(0, 70);
	(void)put_batches(1, 3);
	struct bed_fetch q = {.n = 2, .partitions = {0, 1}, .max_wait_ms = 60000, .min_bytes = 1};
	struct kafka_fetch_response *a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 70);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 3);
	q.max_bytes = 1; /* the first batch always comes */
	a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 1);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 0);
	q.max_bytes = 3 * size;
	a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 3);
	q.max_bytes = 4 * size - 1;
	a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 3);
	ck_assert_int_eq(bed_part(a, 1)->high_watermark, 60);
	q.max_bytes = 0;
	q.partition_max_bytes = 2 * size;
	a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 2);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 2);
	q.partition_max_bytes = 1; /* only the first that has something */
	q.partitions[0] = 2;
	a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 0);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 1);
	q.max_bytes = -5;
	q.partition_max_bytes = -5;
	a = bed_fetch(&q);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 1);
	bed.fix.front->options.max_fetch_bytes = (uint64_t)size;
	a = bed_fetch(&(struct bed_fetch){
		.n = 2, .partitions = {1, 0}, .min_bytes = 1 << 30, .max_wait_ms = 60000});
	ck_assert_uint_eq(bed_batches(&bed_part(a, 0)->records), 1);
	ck_assert_uint_eq(bed_batches(&bed_part(a, 1)->records), 0);
}

START_TEST(limits_of_an_answer)
{
	limits();
}
END_TEST

START_TEST(limits_of_an_answer_from_disk)
{
	bed_close();
	bed_open_uncached();
	limits();
}
END_TEST

/* Answers that are not sent yet count against what a connection may hold. */
START_TEST(answers_that_wait_to_be_sent)
{
	size_t size = put_batches(0, 4);
	bed.fix.front->options.max_fetch_bytes = 2 * size;
	struct bed_fetch q = {.n = 1, .min_bytes = 1, .max_wait_ms = 60000};
	struct kafka_request *first = bed_fetch_begin(&q);
	ck_assert(first->is_answered);
	ck_assert_uint_eq(bed.conn->fetch_held, 2 * size);
	struct kafka_request *second = bed_fetch_begin(&q);
	ck_assert(second->is_answered);
	ck_assert_uint_eq(bed_batches(&bed_part(fix_answer(first, &bed.arena), 0)->records), 2);
	ck_assert_uint_eq(bed_batches(&bed_part(fix_answer(second, &bed.arena), 0)->records), 0);
	ck_assert_uint_eq(bed.conn->fetch_held, 0);
	ck_assert_uint_eq(bed_batches(&bed_part(bed_fetch(&q), 0)->records), 2);
}
END_TEST

/* Where clients are slow to take theirs, an answer is small. */
START_TEST(answers_of_all_are_bounded)
{
	enum { N = 10 };
	struct budget *answers = &bed.fix.front->answers;
	struct span b = fix_batch(&bed.arena, "v", 5000, 1, -1, -1, -1);
	ck_assert_uint_gt(N * b.n, 2 * FETCH_LEAST);
	for (int i = 0; i < N; i++) {
		ck_assert_int_eq(bed_produce("events", 1, b)->error_code, 0);
	}
	struct bed_fetch q = {.n = 1, .partitions = {1}, .min_bytes = 1};
	ck_assert_uint_eq(bed_batches(&bed_part(bed_fetch(&q), 0)->records), N);
	ck_assert_uint_eq(budget_used(answers), 0);
	size_t max = answers->max;
	answers->max = 1;
	ck_assert_uint_eq(bed_batches(&bed_part(bed_fetch(&q), 0)->records), FETCH_LEAST / b.n);
	answers->max = (FETCH_LEAST + 2 * b.n) / 3 * 4 + 4;
	ck_assert_uint_eq(bed_batches(&bed_part(bed_fetch(&q), 0)->records),
			  (FETCH_LEAST + 2 * b.n) / b.n);
	ck_assert_uint_eq(budget_used(answers), 0);
	answers->max = max;
}
END_TEST

/* Memory for batches that are made is that of unanswered requests. */
START_TEST(made_batches_are_counted)
{
	(void)fix_append_amqp(&bed.fix, 0, "amqp");
	struct kafka_request *r = bed_fetch_begin(&(struct bed_fetch){.n = 1});
	ck_assert(r->is_answered);
	ck_assert_uint_gt(budget_used(core_inflight(bed.fix.core)), 0);
	(void)fix_answer(r, &bed.arena);
	ck_assert_uint_eq(budget_used(core_inflight(bed.fix.core)), 0);
	struct budget *all = core_inflight(bed.fix.core);
	ck_assert(budget_take(all, all->max));
	ck_assert_int_eq(code_of(&(struct bed_fetch){.n = 1}), KAFKA_STORAGE_ERROR);
	budget_give(all, all->max);
	ck_assert_int_eq(code_of(&(struct bed_fetch){.n = 1}), 0);
}
END_TEST

static void fetch_short_of_memory(int32_t max_wait_ms)
{
	(void)fix_append_amqp(&bed.fix, 0, "amqp");
	(void)bed_put("events", 1, "k", 1, 1000);
	struct kafka_fetch_request_partition p[3] = {
		{.partition = 0, .partition_max_bytes = 1000},
		{.partition = 1, .partition_max_bytes = 1000},
		{.partition = 2, .partition_max_bytes = 1000},
	};
	struct kafka_fetch_request_topic t = {
		.topic = kafka_text("events"), .partitions = p, .n_partitions = 3};
	struct kafka_fetch_request q = {.max_bytes = 10000,
					.topics = &t,
					.n_topics = 1,
					.min_bytes = 9000,
					.max_wait_ms = max_wait_ms};
	bool fired = true;
	for (long n = 1; fired; n++) {
		fix_conn_close(&bed.fix, &bed.conn);
		bed.conn = fix_conn(&bed.fix, "", AUTH_LISTEN);
		struct kafka_request *r = fix_begin_fault(bed.conn, KAFKA_API_Fetch, 12, &q, n);
		if (r != NULL) {
			fix_wait(&bed.fix, r);
		}
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_lt(n, 200);
	}
	kafka_request_pop(bed.conn);
	bed.fix.front->options.max_fetch_bytes = 1000;
	ck_assert_int_eq(code_of(&(struct bed_fetch){.n = 1}), 0);
}

START_TEST(memory_is_short)
{
	fetch_short_of_memory(1);
}
END_TEST

START_TEST(memory_is_short_reading_from_disk)
{
	bed_close();
	bed_open_uncached();
	fetch_short_of_memory(30);
}
END_TEST

Suite *fetch_suite(void)
{
	Suite *s = suite_create("fetch");
	TCase *t = tcase_create("fetch");
	tcase_add_checked_fixture(t, bed_open, bed_close);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, batches_of_all_forms);
	tcase_add_test(t, batches_of_all_forms_from_disk);
	tcase_add_test(t, what_was_produced_comes_as_it_was);
	tcase_add_test(t, every_version_is_served);
	tcase_add_test(t, bad_partitions_are_refused);
	tcase_add_test(t, an_error_beside_data);
	tcase_add_test(t, sessions_are_declined);
	tcase_add_test(t, zstd_goes_to_every_version);
	tcase_add_test(t, a_damaged_batch);
	tcase_add_test(t, limits_of_an_answer);
	tcase_add_test(t, limits_of_an_answer_from_disk);
	tcase_add_test(t, answers_that_wait_to_be_sent);
	tcase_add_test(t, answers_of_all_are_bounded);
	tcase_add_test(t, made_batches_are_counted);
	tcase_add_test(t, memory_is_short);
	tcase_add_test(t, memory_is_short_reading_from_disk);
	suite_add_tcase(s, t);
	return s;
}
