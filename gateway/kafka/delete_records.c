/* DeleteRecords: moves the starts of partitions, a few of a request at a time. */

#include "gateway/kafka/data.h"
#include "gateway/kafka/handlers.h"

enum {
	TRIMS_OUT = 16,		/* of one request at a time */
	TO_THE_END = -1,	/* the offset that stands for the high watermark */
	UNKNOWN = -1,
};

struct trim_part {
	const struct kafka_delete_records_request_partition *ask;
	struct kafka_delete_records_response_partition *answer;
	struct store_partition *partition; /* a reference; NULL: it has its answer */
	struct span topic;		   /* for the log */
};

struct trim_slot {
	struct store_trim op;
	struct kafka_request *r;
	struct trim_part *part;
};

struct delete_records {
	struct kafka_delete_records_response response;
	struct trim_part *parts;
	uint32_t n;
	uint32_t next;
	uint32_t n_out;
	bool is_starting;
	struct trim_slot slots[TRIMS_OUT];
};

static void fini(struct kafka_request *r)
{
	struct delete_records *m = r->state;
	for (uint32_t i = 0; i < m->n; i++) {
		store_partition_drop(&m->parts[i].partition);
	}
}

static void cancel(struct kafka_request *r)
{
	struct delete_records *m = r->state;
	for (; m->next < m->n; m->next++) {
		if (m->parts[m->next].partition != NULL) {
			m->parts[m->next].answer->error_code = KAFKA_REQUEST_TIMED_OUT;
		}
	}
}

static void refuse(struct trim_part *part, enum kafka_code code, const struct kafka_request *r)
{
	part->answer->error_code = (int16_t)code;
	log_limited(LOG_INFO, "KAFKA-DELETE-REFUSED",
		    "conn=%llu hub=%s partition=%d offset=%lld code=%d",
		    (unsigned long long)r->conn->id, log_quote_span(part->topic).text,
		    part->ask->partition_index, (long long)part->ask->offset, (int)code);
}

/* ---- one partition ------------------------------------------------------------------- */

static void on_trimmed(struct msg *msg);

/* Sends the slot's next one, if there is one. */
static void trim_next(struct trim_slot *slot)
{
	struct kafka_request *r = slot->r;
	struct delete_records *m = r->state;
	while (m->next < m->n) {
		struct trim_part *part = &m->parts[m->next++];
		if (part->partition == NULL) {
			continue;
		}
		int64_t before = part->ask->offset;
		if (before == TO_THE_END) {
			struct store_position at;
			store_partition_position(part->partition, &at);
			before = at.next_seq;
		}
		slot->part = part;
		slot->op = (struct store_trim){
			.reply_to = r->conn->mailbox,
			.done = on_trimmed,
			.partition = part->partition,
			.before_seq = before,
		};
		m->n_out++;
		kafka_hold(r);
		core_trim(r->conn->front->core, &slot->op);
		return;
	}
}

static void answer_if_done(struct kafka_request *r)
{
	struct delete_records *m = r->state;
	if (m->n_out == 0 && !m->is_starting) {
		kafka_answer(r, &m->response);
	}
}

static void on_trimmed(struct msg *msg)
{
	struct trim_slot *slot = KAFKA_OWNER(struct trim_slot, msg, op.msg);
	struct kafka_request *r = slot->r;
	struct delete_records *m = r->state;
	if (slot->op.err == ERR_OK) {
		slot->part->answer->low_watermark = slot->op.first_seq;
	} else {
		refuse(slot->part, kafka_data_code(slot->op.err), r);
	}
	m->n_out--;
	trim_next(slot);
	answer_if_done(r);
	kafka_release(r);
}

/* ---- the request ----------------------------------------------------------------------- */

/* The partition, or why its records stay. */
static void begin_part(struct kafka_request *r, struct trim_part *part,
		       const struct kafka_topic *topic, enum kafka_code code)
{
	part->answer->partition_index = part->ask->partition_index;
	part->answer->low_watermark = UNKNOWN;
	if (code == KAFKA_NONE && topic->cleanup == CATALOG_COMPACT) {
		code = KAFKA_POLICY_VIOLATION; /* as Kafka: its events are no queue */
	}
	if (code == KAFKA_NONE) {
		code = kafka_partition_find(r->conn, topic, part->ask->partition_index,
					    &part->partition);
	}
	if (code == KAFKA_NONE && part->ask->offset < TO_THE_END) {
		store_partition_drop(&part->partition);
		code = KAFKA_OFFSET_OUT_OF_RANGE;
	}
	if (code != KAFKA_NONE) {
		refuse(part, code, r);
	}
}

/* Places for all that was asked for. False: kafka_fail was called. */
static bool make_answer(struct kafka_request *r, struct delete_records *m)
{
	const struct kafka_delete_records_request *q = r->body;
	uint32_t n_topics = kafka_count(q->n_topics);
	size_t n = 0;
	for (uint32_t t = 0; t < n_topics; t++) {
		n += kafka_count(q->topics[t].n_partitions);
	}
	struct kafka_delete_records_response_topic *topics =
		kafka_alloc_array(r, n_topics, sizeof *topics);
	struct kafka_delete_records_response_partition *answers =
		topics != NULL ? kafka_alloc_array(r, n, sizeof *answers) : NULL;
	m->parts = answers != NULL ? kafka_alloc_array(r, n, sizeof *m->parts) : NULL;
	if (m->parts == NULL) {
		return false;
	}
	m->response.topics = topics;
	m->response.n_topics = (int32_t)n_topics;
	for (uint32_t t = 0; t < n_topics; t++) {
		const struct kafka_delete_records_request_topic *ask = &q->topics[t];
		struct kafka_topic topic;
		enum kafka_code code = kafka_topic_find(r->conn, ask->name.s, AUTH_MANAGE, &topic);
		topics[t].name = ask->name;
		topics[t].partitions = answers;
		topics[t].n_partitions = (int32_t)kafka_count(ask->n_partitions);
		for (uint32_t i = 0; i < kafka_count(ask->n_partitions); i++) {
			struct trim_part *part = &m->parts[m->n++];
			part->ask = &ask->partitions[i];
			part->answer = answers++;
			part->topic = ask->name.s;
			begin_part(r, part, &topic, code);
		}
	}
	return true;
}

/* Refuses what would be deleted when there were too many management calls. */
static void pace(struct kafka_request *r, struct delete_records *m)
{
	struct kafka_refusal why = {KAFKA_NONE, NULL};
	bool is_asked = false;
	for (uint32_t i = 0; i < m->n; i++) {
		struct trim_part *part = &m->parts[i];
		if (part->partition == NULL) {
			continue;
		}
		if (!is_asked && kafka_may_manage(r, KAFKA_NEVER_KNOWN, &why,
						  &m->response.throttle_time_ms)) {
			return;
		}
		is_asked = true;
		store_partition_drop(&part->partition);
		refuse(part, why.code, r);
	}
}

void kafka_on_delete_records(struct kafka_request *r)
{
	struct delete_records *m = kafka_alloc(r, sizeof *m);
	if (m == NULL) {
		return;
	}
	r->state = m;
	r->fini = fini;
	if (!make_answer(r, m)) {
		return;
	}
	pace(r, m);
	r->cancel = cancel;
	kafka_hold(r);
	m->is_starting = true;
	for (uint32_t i = 0; i < TRIMS_OUT; i++) {
		m->slots[i].r = r;
		trim_next(&m->slots[i]);
	}
	m->is_starting = false;
	answer_if_done(r);
	kafka_release(r);
}
