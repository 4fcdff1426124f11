/* Fetch: what a request asks for, checked, and the shape of its answer. Sessions
 * (KIP-227) are declined: every answer names all partitions. */

#include "gateway/kafka/fetch.h"

#include "base/clock.h"
#include "base/mem.h"

enum { READ_COMMITTED = 1 };

static void fini(struct kafka_request *r)
{
	struct fetch *f = r->state;
	for (size_t i = 0; i < f->n_held; i++) {
		buf_drop(&f->held[i].buf);
		str_fini(&f->held[i].made);
	}
	mem_free(f->held);
	r->conn->fetch_held -= f->bytes;
	for (uint32_t i = 0; i < f->n_parts; i++) {
		store_partition_drop(&f->parts[i].partition);
	}
}

/* Answers with what is wrong with the request as a whole. */
static void answer_error(struct kafka_request *r, enum kafka_code code)
{
	struct kafka_fetch_response response = {.error_code = (int16_t)code};
	kafka_answer(r, &response);
}

/* Begins one partition: where it stands, or why it cannot be read. */
static void begin_part(struct kafka_request *r, struct fetch_part *part,
		       const struct kafka_topic *topic, enum kafka_code code)
{
	struct fetch *f = r->state;
	struct kafka_fetch_response_partition *answer = part->answer;
	if (code == KAFKA_NONE) {
		code = kafka_partition_find(r->conn, topic, part->ask->partition, &part->partition);
	}
	struct store_position at = {.deleted = true};
	if (code == KAFKA_NONE) {
		code = kafka_partition_position(part->partition, &at);
	}
	if (code == KAFKA_NONE) {
		code = kafka_epoch_check(part->ask->current_leader_epoch);
	}
	if (!at.deleted && !at.is_offline) {
		answer->high_watermark = at.next_seq;
		answer->last_stable_offset = at.next_seq;
		answer->log_start_offset = at.first_seq;
	}
	part->at = part->ask->fetch_offset;
	part->hub_id = code == KAFKA_NONE ? topic->hub_id : 0;
	if (code == KAFKA_NONE && (part->at < at.first_seq || part->at > at.next_seq)) {
		code = KAFKA_OFFSET_OUT_OF_RANGE;
	}
	if (code != KAFKA_NONE) {
		fetch_part_fail(f, part, code);
	} else if (part->at < at.next_seq) {
		fetch_unread_add(f, part);
	} else {
		part->state = FETCH_ENDED;
		part->next = f->ended;
		f->ended = part;
	}
}

static void begin_parts(struct kafka_request *r)
{
	const struct kafka_fetch_request *req = r->body;
	struct fetch *f = r->state;
	struct fetch_part *part = f->parts;
	for (uint32_t t = 0; t < kafka_count(req->n_topics); t++) {
		const struct kafka_fetch_request_topic *ask = &req->topics[t];
		struct kafka_topic topic;
		enum kafka_code code = kafka_topic_find(r->conn, ask->topic.s, AUTH_LISTEN, &topic);
		for (uint32_t i = 0; i < kafka_count(ask->n_partitions); i++) {
			begin_part(r, part++, &topic, code);
		}
	}
}

/* Places for all that was asked for. False: kafka_fail was called. */
static bool make_answer(struct kafka_request *r, struct fetch *f)
{
	const struct kafka_fetch_request *req = r->body;
	uint32_t n_topics = kafka_count(req->n_topics);
	uint32_t n = 0;
	for (uint32_t t = 0; t < n_topics; t++) {
		n += kafka_count(req->topics[t].n_partitions);
	}
	struct kafka_fetch_response_topic *topics = kafka_alloc_array(r, n_topics, sizeof *topics);
	struct kafka_fetch_response_partition *answers =
		topics != NULL ? kafka_alloc_array(r, n, sizeof *answers) : NULL;
	f->parts = answers != NULL ? kafka_alloc_array(r, n, sizeof *f->parts) : NULL;
	if (f->parts == NULL) {
		return false;
	}
	f->n_parts = n;
	f->response.responses = topics;
	f->response.n_responses = (int32_t)n_topics;
	struct fetch_part *part = f->parts;
	for (uint32_t t = 0; t < n_topics; t++) {
		const struct kafka_fetch_request_topic *ask = &req->topics[t];
		topics[t].topic = ask->topic;
		topics[t].partitions = answers;
		topics[t].n_partitions = (int32_t)kafka_count(ask->n_partitions);
		for (uint32_t i = 0; i < kafka_count(ask->n_partitions); i++) {
			answers->partition_index = ask->partitions[i].partition;
			answers->high_watermark = -1;
			answers->last_stable_offset = -1;
			answers->log_start_offset = -1;
			answers->preferred_read_replica = -1;
			answers->n_aborted_transactions =
				req->isolation_level == READ_COMMITTED ? 0 : -1;
			part->r = r;
			part->ask = &ask->partitions[i];
			part->topic = ask->topic.s;
			part->answer = answers++;
			part++;
		}
	}
	return true;
}

static void set_bounds(struct kafka_request *r, struct fetch *f)
{
	const struct kafka_fetch_request *req = r->body;
	uint64_t most = r->conn->front->options.max_fetch_bytes;
	uint64_t asked = req->max_bytes > 0 ? (uint64_t)req->max_bytes : 0;
	f->limit = (size_t)(asked < most ? asked : most);
	size_t least = req->min_bytes > 0 ? (size_t)req->min_bytes : 0;
	f->min_bytes = least < f->limit ? least : f->limit;
	int64_t wait_ms =
		req->max_wait_ms < FETCH_WAIT_MAX_MS ? req->max_wait_ms : FETCH_WAIT_MAX_MS;
	/* Nobody is told of new events after the token expired. */
	int64_t expires_ms = r->conn->expires_ms;
	if (expires_ms != INT64_MAX) {
		int64_t left_ms = expires_ms - clock_wall_ms();
		wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
	}
	f->waits = wait_ms > 0;
	f->deadline_ms = r->started_ns / 1000000 + (wait_ms > 0 ? wait_ms : 0);
}

void kafka_on_fetch(struct kafka_request *r)
{
	const struct kafka_fetch_request *req = r->body;
	if (req->session_id != 0 && req->session_epoch > 0) {
		answer_error(r, KAFKA_FETCH_SESSION_ID_NOT_FOUND);
		return;
	}
	struct fetch *f = kafka_alloc(r, sizeof *f);
	if (f == NULL || !make_answer(r, f)) {
		return;
	}
	set_bounds(r, f);
	r->state = f;
	r->fini = fini;
	r->tick = fetch_tick;
	r->cancel = fetch_cancel;
	kafka_hold(r);
	begin_parts(r);
	fetch_run(r);
	kafka_release(r);
}
