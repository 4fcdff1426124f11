/* The reading half of Kafka in the load generator: fetches of one partition from
 * its start to its end, again and again. */

#include "base/batch.h"
#include "base/clock.h"
#include "gateway/cli/bench_priv.h"
#include "gateway/cli/kafka_client.h"

enum {
	FETCH_VERSION = 11,
	LIST_OFFSETS_VERSION = 6,
	LIST_EARLIEST = -2,
	FETCH_BYTES = 8 << 20,
	FETCH_WAIT_MS = 100,
	ERROR_OFFSET_OUT_OF_RANGE = 1,
};

struct reader {
	struct bench_worker *w;
	struct kafka_client *client;
	int32_t partition;
	int64_t offset;		/* next to be read */
	bool is_empty;		/* nothing came since the start */
};

/* Counts the events of whole batches from the offset on, and moves it. */
static void count(struct reader *r, struct span records, uint64_t *events, uint64_t *bytes)
{
	struct batch_head head;
	*events = 0;
	*bytes = 0;
	while (batch_head_read(records, &head) == ERR_OK && head.total <= records.n) {
		int64_t next = head.base_offset + head.last_offset_delta + 1;
		if (next > r->offset) {
			*events += (uint64_t)head.count;
			*bytes += head.total;
			r->offset = next;
		}
		records.p += head.total;
		records.n -= head.total;
	}
}

static enum err fetch(struct reader *r, struct kafka_fetch_response *answer,
		      const struct kafka_fetch_response_partition **out, struct err_detail *d)
{
	struct kafka_fetch_request_partition part = {
		.partition = r->partition,
		.current_leader_epoch = -1,
		.fetch_offset = r->offset,
		.last_fetched_epoch = -1,
		.log_start_offset = -1,
		.partition_max_bytes = FETCH_BYTES,
	};
	struct kafka_fetch_request_topic topic = {
		.topic = kafka_string_of(span_str(r->w->bench->hub)),
		.partitions = &part,
		.n_partitions = 1,
	};
	struct kafka_fetch_request request = {
		.replica_id = -1,
		.max_wait_ms = FETCH_WAIT_MS,
		.min_bytes = 1,
		.max_bytes = FETCH_BYTES,
		.session_epoch = -1,
		.topics = &topic,
		.n_topics = 1,
	};
	enum err e = kafka_client_call(r->client, KAFKA_API_Fetch, FETCH_VERSION, &request, answer, d);
	if (e == ERR_OK) {
		e = kafka_client_check(answer->error_code, kafka_string_null(), "Fetch", d);
	}
	if (e == ERR_OK &&
	    (answer->n_responses != 1 || answer->responses->n_partitions != 1)) {
		e = err_set(d, ERR_PROTOCOL, "Fetch: the answer is not for one partition");
	}
	if (e == ERR_OK) {
		*out = answer->responses->partitions;
	}
	return e;
}

/* One fetch; at the end of the partition the next one is at its start. */
static enum err read_once(struct reader *r, struct err_detail *d)
{
	struct kafka_fetch_response answer;
	const struct kafka_fetch_response_partition *part;
	uint64_t events;
	uint64_t bytes;
	bench_nap(bench_told_ns(r->w, clock_mono_ns()));
	int64_t began = clock_mono_ns();
	enum err e = fetch(r, &answer, &part, d);
	if (e != ERR_OK) {
		return e;
	}
	if (answer.throttle_time_ms > 0) {
		bench_throttled(r->w, answer.throttle_time_ms);
	}
	if (part->error_code == ERROR_OFFSET_OUT_OF_RANGE && part->log_start_offset > r->offset) {
		r->offset = part->log_start_offset;	/* retention has been here */
		return ERR_OK;
	}
	e = kafka_client_check(part->error_code, kafka_string_null(), "Fetch", d);
	if (e != ERR_OK) {
		return e;
	}
	count(r, part->records.is_null ? span_of(NULL, 0) : part->records.s, &events, &bytes);
	if (events > 0) {
		bench_done(r->w, began, clock_mono_ns(), events, bytes);
		r->is_empty = false;
	}
	if (events == 0 || r->offset >= part->high_watermark) {
		if (r->is_empty) {
			return err_set(d, ERR_NOT_FOUND, "partition %d holds no events to read",
				       r->partition);
		}
		r->offset = part->log_start_offset > 0 ? part->log_start_offset : 0;
		r->is_empty = true;
	}
	return ERR_OK;
}

static enum err prepare_reader(struct reader *r, struct err_detail *d)
{
	const struct bench *b = r->w->bench;
	int32_t partitions;
	enum err e = kafka_client_open(&b->target, &r->client, d);
	if (e == ERR_OK) {
		e = kafka_client_serves(r->client, KAFKA_API_Fetch, FETCH_VERSION, d);
	}
	if (e == ERR_OK) {
		e = kafka_client_serves(r->client, KAFKA_API_ListOffsets, LIST_OFFSETS_VERSION, d);
	}
	if (e == ERR_OK) {
		e = kafka_client_partitions(r->client, b->hub, &partitions, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	r->partition = (int32_t)(r->w->index % (uint64_t)partitions);
	struct kafka_list_offsets_request_partition part = {
		.partition_index = r->partition, .current_leader_epoch = -1, .timestamp = LIST_EARLIEST};
	struct kafka_list_offsets_request_topic topic = {
		.name = kafka_string_of(span_str(b->hub)), .partitions = &part, .n_partitions = 1};
	struct kafka_list_offsets_request request = {.replica_id = -1, .topics = &topic, .n_topics = 1};
	struct kafka_list_offsets_response answer;
	e = kafka_client_call(r->client, KAFKA_API_ListOffsets, LIST_OFFSETS_VERSION, &request, &answer,
			      d);
	if (e == ERR_OK && (answer.n_topics != 1 || answer.topics->n_partitions != 1)) {
		e = err_set(d, ERR_PROTOCOL, "ListOffsets: the answer is not for one partition");
	}
	if (e == ERR_OK) {
		e = kafka_client_check(answer.topics->partitions->error_code, kafka_string_null(),
				       "ListOffsets", d);
	}
	if (e == ERR_OK) {
		r->offset = answer.topics->partitions->offset;
	}
	return e;
}

void bench_kafka_read(struct bench_worker *w)
{
	struct reader r = {.w = w, .is_empty = true};
	struct err_detail d = {{0}};
	enum err e = prepare_reader(&r, &d);
	w->failed = e != ERR_OK;
	if (w->failed) {
		bench_error(w, 0, d.text);
	}
	if (bench_wait_start(w) && e == ERR_OK) {
		while (e == ERR_OK && clock_mono_ns() < w->bench->end_ns) {
			e = read_once(&r, &d);
		}
		if (e != ERR_OK) {
			w->failed = true;
			bench_error(w, 0, d.text);
		}
	}
	kafka_client_close(&r.client);
}
