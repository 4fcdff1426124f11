/* Produce: batches are checked, copied once out of the frame and appended, all
 * partitions of a request at the same time. The answer is made when the last of
 * them has come back. */

#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "gateway/core/cleanup.h"
#include "gateway/kafka/conn.h"
#include "gateway/kafka/data.h"
#include "gateway/wire/records.h"

/* What is said of requests that stood in socket buffers for too long. */
#define LATE_TEXT \
	"The request was terminated because the entity is being throttled. Error code : 50002. " \
	"Requests of this connection have waited for so long that its client would give them up."

enum {
	ACKS_NONE = 0,
	ACKS_ONE = 1,
	ACKS_ALL = -1,
	ZSTD_SINCE = 7, /* version of Produce that may carry it */
	/* In the head of a batch (base/batch.h). */
	AT_CRC = 17,
	AT_ATTRIBUTES = 21,
	AT_MAX_TIME = 35,
	/* How long batches are checked (which unpacks them) before others of the loop
	 * have their turn; one batch takes as long as it takes. */
	TURN_NS = 10 * 1000 * 1000,
};

struct produce {
	struct kafka_produce_response response;
	struct msg again; /* goes on with the next topic and partition */
	struct kafka_request *r;
	struct produce_part *parts; /* that follow */
	uint32_t at_topic;
	uint32_t at_part;
	struct kafka_topic topic; /* of at_topic */
	enum kafka_code topic_code; /* why its partitions are refused */
	const char *why;
	uint32_t n_out; /* appends that have not come back */
	bool is_starting;
	bool must_close; /* acks 0 cannot be told otherwise */
	/* Of its appends: what the largest cost, and one that was held up, or the last. */
	struct throttle_cost largest;
	uint32_t hub_id;
	int32_t partition;
	bool was_held;
	bool is_late; /* refused as a whole */
	int64_t again_ns; /* when refused ones may come again, the first of them; 0: none */
};

struct produce_part {
	struct core_append append;
	struct kafka_request *r;
	struct kafka_produce_response_partition *answer;
	struct span topic; /* for the log */
	uint32_t hub_id;
	bool was_held; /* for want of capacity */
};

/* ---- the answer ---------------------------------------------------------------- */

/* What producers make of an error of the store: 56 and 19 they try again. */
static enum kafka_code code_of(enum err e)
{
	enum kafka_code code = kafka_code_of(e);
	if (code == KAFKA_UNKNOWN_SERVER_ERROR) {
		return KAFKA_STORAGE_ERROR;
	}
	return code == KAFKA_INVALID_REQUEST ? KAFKA_INVALID_RECORD : code;
}

/* `detail` is copied; without memory the code stands alone. */
static void refuse(struct produce_part *part, int code, const char *detail)
{
	struct kafka_request *r = part->r;
	struct kafka_produce_response_partition *answer = part->answer;
	answer->error_code = (int16_t)code;
	answer->base_offset = -1;
	if (detail[0] != '\0') {
		struct span text = kafka_arena_copy(&r->arena, span_str(detail));
		if (text.p != NULL) {
			answer->error_message = (struct kafka_string){.s = text};
		}
	}
	log_limited(LOG_INFO, "KAFKA-BATCH-REFUSED",
		    "conn=%llu hub=%s partition=%d code=%d reason=%s",
		    (unsigned long long)r->conn->id, log_quote_span(part->topic).text,
		    answer->index, code, log_quote(detail));
}

/* A refusal that the producer hears of by the end of its connection when it wants no
 * answers: it asks for metadata then. */
static void fail(struct produce_part *part, int code, const char *detail)
{
	struct produce *p = part->r->state;
	p->must_close = true;
	refuse(part, code, detail);
}

/* The limits refused it, or memory is short: the same batch may come again, and a new
 * connection would not help. */
static void refuse_busy(struct produce_part *part)
{
	struct produce *p = part->r->state;
	const struct throttle_decision *d = &part->append.decision;
	char text[ERR_DETAIL_MAX];
	core_busy_text(d, text, sizeof text);
	if (d->verdict == THROTTLE_REFUSE) {
		int64_t again_ns = clock_mono_ns() + (int64_t)d->wait_ms * KAFKA_NS_PER_MS;
		p->again_ns = p->again_ns == 0 || again_ns < p->again_ns ? again_ns : p->again_ns;
	}
	refuse(part, KAFKA_NOT_ENOUGH_REPLICAS, text);
}

/* Which record it was; clients then tell it from the others of the batch. Without
 * memory the code stands alone. */
static void blame(struct produce_part *part, int32_t record)
{
	struct kafka_produce_response_record_error *v =
		kafka_arena_alloc(&part->r->arena, sizeof *v);
	if (v != NULL) {
		v->batch_index = record;
		v->batch_index_error_message = part->answer->error_message;
		part->answer->record_errors = v;
		part->answer->n_record_errors = 1;
	}
}

/* It may be older than the client's patience: it is to be sent again. */
static void refuse_late(struct produce *p, struct produce_part *part,
			const struct kafka_records *records)
{
	metric_inc(METRIC_REQUESTS_THROTTLED);
	p->largest.bytes = p->largest.bytes > records->s.n ? p->largest.bytes : records->s.n;
	p->hub_id = p->topic.hub_id;
	p->partition = part->answer->index;
	p->was_held = true;
	refuse(part, KAFKA_NOT_ENOUGH_REPLICAS, LATE_TEXT);
}

/* Counts what an append costs, for the time that the next request had better wait. */
static void note(struct produce *p, const struct produce_part *part)
{
	uint64_t bytes = part->append.bytes;
	uint64_t events = part->append.op.events;
	p->largest.bytes = p->largest.bytes > bytes ? p->largest.bytes : bytes;
	p->largest.events = p->largest.events > events ? p->largest.events : events;
	if (part->was_held || !p->was_held) {
		p->hub_id = part->hub_id;
		p->partition = part->answer->index;
	}
	p->was_held |= part->was_held;
}

/* By the largest append, not by all: the capacity that the others wait for is not lost
 * while the connection is muted only as long as none of them would have to wait. */
static int32_t mute(struct kafka_request *r)
{
	struct produce *p = r->state;
	if (p->largest.bytes == 0) {
		return 0;
	}
	int32_t again_ms =
		p->again_ns != 0 ? kafka_mute(r->conn, p->again_ns - clock_mono_ns()) : 0;
	struct kafka_account a = {
		.hub_id = p->hub_id, .partition = p->partition, .cost = p->largest};
	int32_t ms = kafka_mute_before(r->conn, &a, p->was_held || p->again_ns != 0,
				       r->conn->front->options.throttle_max_ms);
	return ms > again_ms ? ms : again_ms;
}

static void finish(struct kafka_request *r)
{
	struct produce *p = r->state;
	const struct kafka_produce_request *req = r->body;
	if (p->is_starting || p->n_out != 0) {
		return;
	}
	p->response.throttle_time_ms = mute(r);
	if (req->acks == ACKS_NONE) {
		kafka_answer_nothing(r, p->must_close);
	} else {
		kafka_answer(r, &p->response);
	}
}

static void on_appended(struct msg *m)
{
	struct produce_part *part = KAFKA_OWNER(struct produce_part, m, append.op.msg);
	struct kafka_request *r = part->r;
	struct produce *p = r->state;
	struct store_position at;
	store_partition_position(part->append.op.partition, &at);
	part->answer->log_start_offset =
		at.deleted || at.is_offline ? -1 : at.first_seq;
	enum err e = core_append_done(&part->append);
	if (e == ERR_OK) {
		part->answer->base_offset = part->append.op.base_seq;
	} else if (e == ERR_BUSY) {
		refuse_busy(part);
	} else {
		fail(part, code_of(e), err_text(e));
	}
	p->n_out--;
	struct kafka_conn *c = r->conn;
	c->n_waiting -= part->was_held;
	finish(r);
	if (part->was_held && c->n_waiting == 0) {
		kafka_conn_resume(c);
	}
	kafka_release(r);
}

/* ---- one partition ---------------------------------------------------------------- */

/* Into a buffer of its own, which the store may keep (the frame's reservation is
 * for both), with the real greatest timestamp in its head, which searches by time
 * rely on. */
static enum err copy(struct span records, const struct batch_head *head, int64_t max_timestamp,
		     struct buf **out)
{
	struct buf *b = buf_new(records.n);
	if (b == NULL) {
		return ERR_NOMEM;
	}
	memcpy(b->data, records.p, records.n);
	b->len = (uint32_t)records.n;
	if (head->max_timestamp != max_timestamp) {
		put_u64(b->data + AT_MAX_TIME, (uint64_t)max_timestamp);
		put_u32(b->data + AT_CRC,
			crc32c(0, b->data + AT_ATTRIBUTES, records.n - AT_ATTRIBUTES));
	}
	*out = b;
	return ERR_OK;
}

static enum err append(struct produce_part *part, struct core_sender *to, struct buf **batch,
		       const struct batch_head *head)
{
	struct kafka_request *r = part->r;
	struct produce *p = r->state;
	part->append.op.reply_to = r->conn->mailbox;
	part->append.op.done = on_appended;
	part->append.op.encoding = BATCH_KAFKA;
	part->append.op.batch = *batch;
	part->append.op.batch_len = (*batch)->len;
	part->append.op.events = (uint32_t)head->count;
	part->append.bytes = (*batch)->len;
	part->append.is_patient = true;
	enum err e = core_append_at(to, (uint32_t)part->answer->index, &part->append);
	part->was_held = e == ERR_OK && part->append.is_held;
	note(p, part);
	if (e != ERR_OK) {
		buf_drop(batch);
		return e;
	}
	*batch = NULL;
	p->n_out++;
	r->conn->n_waiting += part->was_held;
	kafka_hold(r);
	return ERR_OK;
}

static void produce_part(struct produce_part *part, const struct kafka_topic *topic,
			 struct core_sender *to, const struct kafka_records *records)
{
	struct kafka_request *r = part->r;
	const struct kafka_options *o = &r->conn->front->options;
	int32_t index = part->answer->index;
	if (index < 0 || (uint32_t)index >= topic->partitions) {
		fail(part, KAFKA_UNKNOWN_TOPIC_OR_PARTITION, "no such partition");
		return;
	}
	if (records->is_null || records->s.n == 0) {
		fail(part, KAFKA_INVALID_RECORD, "records: there are none");
		return;
	}
	struct records_check rules = {
		.max_batch_bytes =
			o->max_batch_bytes < LIMIT_BATCH ? (size_t)o->max_batch_bytes : LIMIT_BATCH,
		.max_inflated_bytes = (size_t)o->max_inflated_bytes,
		.memory = core_inflight(r->conn->front->core),
		.allow_zstd = r->version >= ZSTD_SINCE,
	};
	struct batch_head head;
	struct err_detail d = {""};
	int32_t keyless = -1;
	if (core_cleanup_compacts(topic->cleanup)) {
		rules.needs_keys = true;
		rules.keyless = &keyless;
	}
	int64_t max_timestamp = 0;
	size_t inflated = 0;
	enum records_verdict v =
		records_check(records->s, &rules, &head, &max_timestamp, &inflated, &d);
	if (v != RECORDS_OK) {
		fail(part, (int)v, d.text);
		if (keyless >= 0) {
			blame(part, keyless);
		}
		return;
	}
	struct buf *batch = NULL;
	enum err e = copy(records->s, &head, max_timestamp, &batch);
	if (e == ERR_OK) {
		part->hub_id = topic->hub_id;
		e = append(part, to, &batch, &head);
	}
	if (e == ERR_BUSY) {
		refuse_busy(part);
	} else if (e != ERR_OK) {
		fail(part, code_of(e), err_text(e));
	}
}

/* ---- the request -------------------------------------------------------------------- */

/* What is wrong with the request as a whole. */
static enum kafka_code check_all(const struct kafka_produce_request *req, const char **why)
{
	if (req->acks != ACKS_ALL && req->acks != ACKS_NONE && req->acks != ACKS_ONE) {
		*why = "acks: neither -1 nor 0 nor 1";
		return KAFKA_INVALID_REQUIRED_ACKS;
	}
	if (!req->transactional_id.is_null) {
		*why = "transactional_id: transactions are not offered";
		return KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
	}
	return KAFKA_NONE;
}

static const char *why_not(enum kafka_code code)
{
	return code == KAFKA_TOPIC_AUTHORIZATION_FAILED ? "the right to send is missing"
							: "no such topic";
}

/* The topic of the partitions that follow, or why they are refused. */
static void find_topic(struct produce *p, const struct kafka_produce_request_topic *ask)
{
	const char *why = "";
	enum kafka_code code = check_all(p->r->body, &why);
	if (code == KAFKA_NONE) {
		code = kafka_topic_find(p->r->conn, ask->name.s, AUTH_SEND, &p->topic);
		why = code != KAFKA_NONE ? why_not(code) : "";
	}
	p->topic_code = code;
	p->why = why;
}

/* One partition of the topic. The sender is asked for each time: others may have
 * had their turn in between. */
static void produce_next(struct produce *p, const struct kafka_produce_request_topic *ask)
{
	struct produce_part *part = p->parts++;
	const struct kafka_records *records = &ask->partition_data[p->at_part++].records;
	struct core_sender *to = NULL;
	enum kafka_code code = p->topic_code;
	const char *why = p->why;
	if (code == KAFKA_NONE && p->is_late) {
		refuse_late(p, part, records);
		return;
	}
	if (code == KAFKA_NONE) {
		enum err e = kafka_sender_of(p->r, &p->topic, &to);
		code = e != ERR_OK ? code_of(e) : KAFKA_NONE;
		why = err_text(e);
	}
	if (code != KAFKA_NONE) {
		fail(part, code, why);
	} else {
		produce_part(part, &p->topic, to, records);
	}
}

static void go_on(struct msg *m);

/* False: the rest has to wait for its turn, and this connection's next requests
 * for it. */
static bool produce_some(struct produce *p)
{
	const struct kafka_produce_request *req = p->r->body;
	int64_t until_ns = clock_mono_ns() + TURN_NS;
	for (; p->at_topic < kafka_count(req->n_topic_data); p->at_topic++, p->at_part = 0) {
		const struct kafka_produce_request_topic *ask = &req->topic_data[p->at_topic];
		if (p->at_part == 0) {
			find_topic(p, ask);
		}
		while (p->at_part < kafka_count(ask->n_partition_data)) {
			if (clock_mono_ns() >= until_ns) {
				p->again.run = go_on;
				mailbox_post(p->r->conn->mailbox, &p->again);
				return false;
			}
			produce_next(p, ask);
		}
	}
	return true;
}

/* Without its connection nothing more begins: the store may be closing by then. */
static void go_on(struct msg *m)
{
	struct produce *p = KAFKA_OWNER(struct produce, m, again);
	struct kafka_request *r = p->r;
	struct kafka_conn *c = r->conn;
	if (!r->is_gone && !produce_some(p)) {
		return;
	}
	p->is_starting = false;
	c->is_working = false;
	finish(r);
	kafka_conn_resume(c);
	kafka_release(r);
}

/* An answer of the request's shape, to be filled in. False: kafka_fail was called. */
static bool make_answer(struct kafka_request *r, struct produce *p, struct produce_part **out)
{
	const struct kafka_produce_request *req = r->body;
	uint32_t n_topics = kafka_count(req->n_topic_data);
	size_t n = 0;
	for (uint32_t t = 0; t < n_topics; t++) {
		n += kafka_count(req->topic_data[t].n_partition_data);
	}
	struct kafka_produce_response_topic *topics =
		kafka_alloc_array(r, n_topics, sizeof *topics);
	struct kafka_produce_response_partition *answers =
		topics != NULL ? kafka_alloc_array(r, n, sizeof *answers) : NULL;
	struct produce_part *parts =
		answers != NULL ? kafka_alloc_array(r, n, sizeof *parts) : NULL;
	if (parts == NULL) {
		return false;
	}
	p->response.responses = topics;
	p->response.n_responses = (int32_t)n_topics;
	*out = parts;
	for (uint32_t t = 0; t < n_topics; t++) {
		const struct kafka_produce_request_topic *ask = &req->topic_data[t];
		topics[t].name = ask->name;
		topics[t].partition_responses = answers;
		topics[t].n_partition_responses = (int32_t)kafka_count(ask->n_partition_data);
		for (uint32_t i = 0; i < kafka_count(ask->n_partition_data); i++) {
			answers->index = ask->partition_data[i].index;
			answers->base_offset = -1;
			answers->log_append_time_ms = -1;
			answers->log_start_offset = -1;
			answers->error_message = kafka_string_null();
			*parts++ = (struct produce_part){
				.r = r, .answer = answers++, .topic = ask->name.s};
		}
	}
	return true;
}

void kafka_on_produce(struct kafka_request *r)
{
	struct produce *p = kafka_alloc(r, sizeof *p);
	struct produce_part *parts = NULL;
	if (p == NULL || !make_answer(r, p, &parts)) {
		return;
	}
	r->state = p;
	p->r = r;
	p->parts = parts;
	p->is_starting = true;
	const struct kafka_produce_request *req = r->body;
	if (req->acks == ACKS_NONE) {
		kafka_lag_none(r->conn);
	}
	p->is_late = kafka_lag_is_late(r->conn);
	kafka_hold(r);
	if (!produce_some(p)) {
		r->conn->is_working = true;
		return;
	}
	p->is_starting = false;
	finish(r);
	kafka_release(r);
}
