/* ListOffsets and OffsetForLeaderEpoch. The ends of a partition are known; an
 * offset by time is looked up: the store finds the batch, and within it the
 * records tell. A few lookups of a request are under way at the same time. */

#include <stdlib.h>

#include "gateway/kafka/data.h"
#include "gateway/wire/records.h"

enum {
	AT_LATEST = -1,
	AT_EARLIEST = -2,
	AT_MAX_TIMESTAMP = -3,
	MAX_TIMESTAMP_SINCE = 7, /* version of ListOffsets */
	LOOKUPS = 8,		 /* of one request at a time */
	LOOKUP_BYTES = 1,	 /* of a read: one batch */
	/* Batches that one lookup reads on where the one found holds no such record
	 * (it went between finding and reading, or others came after the end). */
	LOOKUP_BATCHES = 256,
	RIGHTS = AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE,
};

struct list_part {
	struct list_part *next; /* waits to be looked up */
	const struct kafka_list_offsets_request_partition *ask;
	struct kafka_list_offsets_response_partition *answer;
	struct span topic; /* for the log */
	uint64_t key;	   /* hub and partition; 0: not known */
	struct store_partition *partition;
};

struct lookup {
	struct kafka_request *r;
	struct list_part *part; /* NULL: free */
	int64_t at;		/* to be read */
	int64_t first;		/* records before it do not count: the log's start */
	int64_t end;		/* the high watermark when the read began */
	uint32_t n_read;
	struct store_seek seek;
	struct store_read read;
};

struct list {
	struct kafka_list_offsets_response response;
	struct list_part *parts;
	uint32_t n_parts;
	struct list_part *waiting;
	uint32_t n_waiting;
	uint32_t n_out; /* lookups under way */
	bool is_starting;
};

static void fini(struct kafka_request *r)
{
	struct list *l = r->state;
	for (uint32_t i = 0; i < l->n_parts; i++) {
		store_partition_drop(&l->parts[i].partition);
	}
}

/* ---- results --------------------------------------------------------------------- */

static void set_offset(struct list_part *part, int64_t offset, int64_t timestamp)
{
	part->answer->offset = offset;
	part->answer->timestamp = timestamp;
	part->answer->leader_epoch = KAFKA_LEADER_EPOCH;
}

static void set_error(struct list_part *part, enum kafka_code code)
{
	part->answer->error_code = (int16_t)code;
}

/* ---- looking up --------------------------------------------------------------------- */

static void start_waiting(struct kafka_request *r, struct lookup *free_one);

/* The lookup's partition has its answer; its place is another's. */
static void lookup_end(struct lookup *k, enum err e)
{
	struct kafka_request *r = k->r;
	struct list *l = r->state;
	if (e == ERR_CORRUPT || e == ERR_DECODE) {
		e = ERR_CORRUPT;
		log_limited(LOG_ERROR, "KAFKA-STORED-BATCH-DAMAGED",
			    "conn=%llu hub=%s partition=%d sequence=%lld",
			    (unsigned long long)r->conn->id, log_quote_span(k->part->topic).text,
			    k->part->ask->partition_index, (long long)k->at);
	}
	if (e != ERR_OK) {
		set_error(k->part, kafka_data_code(e));
	}
	k->part = NULL;
	l->n_out--;
	start_waiting(r, k);
}

/* The record of a Kafka batch that is looked for: the first at or after a time, or
 * the first with the greatest. ERR_EOF: there is none. */
static enum err find_record(struct lookup *k, const struct store_batch *b, int64_t *offset,
			    int64_t *timestamp)
{
	struct budget *memory = core_inflight(k->r->conn->front->core);
	int64_t wanted = k->part->ask->timestamp;
	struct records_iter *it = NULL;
	struct batch_record rec;
	bool has = false;
	enum err e = records_iter_new(b->batch, RECORDS_INFLATED_MAX, memory, &it);
	while (e == ERR_OK && (e = records_iter_next(it, &rec)) == ERR_OK) {
		bool is_it = wanted == AT_MAX_TIMESTAMP ? !has || rec.timestamp > *timestamp
							: rec.timestamp >= wanted;
		is_it = is_it && b->base_seq + rec.offset_delta >= k->first;
		if (is_it) {
			has = true;
			*offset = b->base_seq + rec.offset_delta;
			*timestamp = rec.timestamp;
		}
		if (is_it && wanted != AT_MAX_TIMESTAMP) {
			break;
		}
	}
	records_iter_free(&it);
	return has && e == ERR_EOF ? ERR_OK : e;
}

/* Events that came otherwise bear their append time, all of a batch the same: the
 * first that compaction and retention left. */
static enum err find_event(struct lookup *k, const struct store_batch *b, int64_t *offset,
			   int64_t *timestamp)
{
	struct batch_iter it;
	struct batch_record rec;
	int64_t wanted = k->part->ask->timestamp;
	if (wanted != AT_MAX_TIMESTAMP && b->append_ms < wanted) {
		return ERR_EOF;
	}
	enum err e = batch_iter_init(&it, b->batch);
	while (e == ERR_OK && (e = batch_iter_next(&it, &rec)) == ERR_OK) {
		if (b->base_seq + rec.offset_delta >= k->first) {
			*offset = b->base_seq + rec.offset_delta;
			*timestamp = b->append_ms;
			return ERR_OK;
		}
	}
	return e;
}

static enum err find_in(struct lookup *k, const struct store_batch *b, int64_t *offset,
			int64_t *timestamp)
{
	struct store_position at;
	store_partition_position(k->part->partition, &at);
	k->first = at.first_seq;
	return b->encoding == BATCH_KAFKA ? find_record(k, b, offset, timestamp)
					  : find_event(k, b, offset, timestamp);
}

/* What a read gave. ERR_AGAIN: the batch holds no such record, read on. */
static enum err examine(struct lookup *k, struct store_batches *b)
{
	int64_t offset = -1;
	int64_t timestamp = -1;
	enum err e = ERR_CORRUPT; /* a read that leads nowhere */
	if (b->n > 0 && b->v[0].base_seq + b->v[0].count > k->at) {
		e = find_in(k, &b->v[0], &offset, &timestamp);
	} else if (b->n == 0) {
		struct store_position at;
		store_partition_position(k->part->partition, &at);
		if (at.deleted || k->at < at.first_seq) {
			/* Gone since it was found. */
			return at.deleted ? ERR_NOT_FOUND : ERR_OK;
		}
		if (at.next_seq > k->end) {
			return ERR_AGAIN; /* what compaction left lies behind it */
		}
	}
	if (e == ERR_OK) {
		set_offset(k->part, offset, timestamp);
	} else if (e == ERR_EOF) {
		k->at = b->v[0].base_seq + b->v[0].count;
		k->n_read++;
		e = k->n_read < LOOKUP_BATCHES ? ERR_AGAIN : ERR_BUSY;
	}
	store_batches_drop(b);
	return e;
}

static void on_read(struct msg *m);

/* Reads from k->at until the record is found or the end is reached. */
static void read_on(struct lookup *k)
{
	struct kafka_request *r = k->r;
	struct core *core = r->conn->front->core;
	struct store_batches b;
	enum err e;
	do {
		b.n = 0;
		e = core_fetch_recent(core, k->part->partition, k->at, LOOKUP_BYTES, &b);
		if (e == ERR_AGAIN) {
			struct store_position at;
			store_partition_position(k->part->partition, &at);
			k->end = at.next_seq;
			k->read.reply_to = r->conn->mailbox;
			k->read.done = on_read;
			k->read.partition = k->part->partition;
			k->read.from = k->at;
			k->read.max_bytes = LOOKUP_BYTES;
			kafka_hold(r);
			core_fetch(core, &k->read);
			return;
		}
		if (e == ERR_OK && b.n == 0) {
			break; /* the end: no such record */
		}
		if (e == ERR_OK) {
			e = examine(k, &b);
		}
	} while (e == ERR_AGAIN);
	lookup_end(k, e);
}

static void on_read(struct msg *m)
{
	struct lookup *k = KAFKA_OWNER(struct lookup, m, read.msg);
	struct kafka_request *r = k->r;
	enum err e = k->read.err;
	if (e == ERR_OK) {
		e = examine(k, &k->read.out);
	} else {
		store_batches_drop(&k->read.out);
	}
	if (e != ERR_AGAIN) {
		lookup_end(k, e);
	} else if (r->was_cancelled) {
		lookup_end(k, ERR_STOPPING);
	} else {
		read_on(k);
	}
	kafka_release(r);
}

static void on_seek(struct msg *m)
{
	struct lookup *k = KAFKA_OWNER(struct lookup, m, seek.msg);
	struct kafka_request *r = k->r;
	if (k->seek.err != ERR_OK) {
		lookup_end(k, k->seek.err);
	} else if (r->was_cancelled) {
		lookup_end(k, ERR_STOPPING);
	} else {
		k->at = k->seek.seq;
		read_on(k);
	}
	kafka_release(r);
}

static void answer_if_done(struct kafka_request *r)
{
	struct list *l = r->state;
	if (l->n_out == 0 && !l->is_starting) {
		kafka_answer(r, &l->response);
	}
}

/* Gives a free place to whoever waits; without any, perhaps answers. */
static void start_waiting(struct kafka_request *r, struct lookup *k)
{
	struct list *l = r->state;
	while (r->was_cancelled && l->waiting != NULL) {
		set_error(l->waiting, KAFKA_NOT_LEADER);
		l->waiting = l->waiting->next;
	}
	struct list_part *part = l->waiting;
	if (part == NULL) {
		answer_if_done(r);
		return;
	}
	l->waiting = part->next;
	l->n_out++;
	k->part = part;
	k->n_read = 0;
	int64_t wanted = part->ask->timestamp;
	k->seek = (struct store_seek){
		.reply_to = r->conn->mailbox,
		.done = on_seek,
		.partition = part->partition,
		.by = wanted == AT_MAX_TIMESTAMP ? STORE_SEEK_MAX_TIMESTAMP : STORE_SEEK_TIMESTAMP,
		.after_ms = wanted,
	};
	kafka_hold(r);
	core_fetch_seek(r->conn->front->core, &k->seek);
}

/* ---- the request --------------------------------------------------------------------- */

static bool is_known_time(const struct kafka_request *r, int64_t timestamp)
{
	return timestamp >= AT_EARLIEST ||
	       (timestamp == AT_MAX_TIMESTAMP && r->version >= MAX_TIMESTAMP_SINCE);
}

/* What can be said at once; the rest goes to `waiting`. */
static void begin_part(struct kafka_request *r, struct list_part *part)
{
	struct list *l = r->state;
	struct store_position at;
	int64_t timestamp = part->ask->timestamp;
	enum kafka_code code = kafka_partition_position(part->partition, &at);
	if (code == KAFKA_NONE) {
		code = kafka_epoch_check(part->ask->current_leader_epoch);
	}
	if (code == KAFKA_NONE && !is_known_time(r, timestamp)) {
		code = KAFKA_UNSUPPORTED_VERSION;
	}
	if (code != KAFKA_NONE) {
		set_error(part, code);
	} else if (timestamp == AT_LATEST) {
		set_offset(part, at.next_seq, -1);
	} else if (timestamp == AT_EARLIEST) {
		set_offset(part, at.first_seq, -1);
	} else if (at.next_seq > at.first_seq) {
		part->next = l->waiting;
		l->waiting = part;
		l->n_waiting++;
	}
}

static int by_key(const void *a, const void *b)
{
	const struct list_part *x = *(struct list_part *const *)a;
	const struct list_part *y = *(struct list_part *const *)b;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Partitions that stand in the request more than once are refused, each time.
 * False: kafka_fail was called. */
static bool refuse_duplicates(struct kafka_request *r, struct list *l)
{
	struct list_part **sorted = kafka_alloc_array(r, l->n_parts, sizeof *sorted);
	if (sorted == NULL) {
		return false;
	}
	uint32_t n = 0;
	for (uint32_t i = 0; i < l->n_parts; i++) {
		if (l->parts[i].partition != NULL) {
			sorted[n++] = &l->parts[i];
		}
	}
	qsort(sorted, n, sizeof(void *), by_key);
	for (uint32_t i = 1; i < n; i++) {
		if (sorted[i - 1]->key == sorted[i]->key) {
			set_error(sorted[i - 1], KAFKA_INVALID_REQUEST);
			set_error(sorted[i], KAFKA_INVALID_REQUEST);
		}
	}
	return true;
}

/* The partition, or why it has none. */
static void find_part(struct kafka_request *r, struct list_part *part,
		      const struct kafka_topic *topic, enum kafka_code code)
{
	int32_t index = part->ask->partition_index;
	part->answer->partition_index = index;
	part->answer->timestamp = -1;
	part->answer->offset = -1;
	part->answer->leader_epoch = -1;
	if (code == KAFKA_NONE) {
		code = kafka_partition_find(r->conn, topic, index, &part->partition);
	}
	set_error(part, code);
	if (code == KAFKA_NONE) {
		part->key = store_part_key((struct store_part){topic->hub_id, (uint32_t)index});
	}
}

/* An answer of the request's shape, every partition found or refused. False:
 * kafka_fail was called. */
static bool make_answer(struct kafka_request *r, struct list *l)
{
	const struct kafka_list_offsets_request *req = r->body;
	uint32_t n_topics = kafka_count(req->n_topics);
	uint32_t n = 0;
	for (uint32_t t = 0; t < n_topics; t++) {
		n += kafka_count(req->topics[t].n_partitions);
	}
	struct kafka_list_offsets_response_topic *topics =
		kafka_alloc_array(r, n_topics, sizeof *topics);
	struct kafka_list_offsets_response_partition *answers =
		topics != NULL ? kafka_alloc_array(r, n, sizeof *answers) : NULL;
	l->parts = answers != NULL ? kafka_alloc_array(r, n, sizeof *l->parts) : NULL;
	if (l->parts == NULL) {
		return false;
	}
	l->response.topics = topics;
	l->response.n_topics = (int32_t)n_topics;
	for (uint32_t t = 0; t < n_topics; t++) {
		const struct kafka_list_offsets_request_topic *ask = &req->topics[t];
		struct kafka_topic topic;
		enum kafka_code code = kafka_topic_find(r->conn, ask->name.s, RIGHTS, &topic);
		topics[t].name = ask->name;
		topics[t].partitions = answers;
		topics[t].n_partitions = (int32_t)kafka_count(ask->n_partitions);
		for (uint32_t i = 0; i < kafka_count(ask->n_partitions); i++) {
			struct list_part *part = &l->parts[l->n_parts++];
			part->topic = ask->name.s;
			part->ask = &ask->partitions[i];
			part->answer = answers++;
			find_part(r, part, &topic, code);
		}
	}
	return true;
}

void kafka_on_list_offsets(struct kafka_request *r)
{
	struct list *l = kafka_alloc(r, sizeof *l);
	if (l == NULL) {
		return;
	}
	r->state = l;
	r->fini = fini;
	if (!make_answer(r, l) || !refuse_duplicates(r, l)) {
		return;
	}
	for (uint32_t i = 0; i < l->n_parts; i++) {
		if (l->parts[i].answer->error_code == KAFKA_NONE) {
			begin_part(r, &l->parts[i]);
		}
	}
	uint32_t n = l->n_waiting < LOOKUPS ? l->n_waiting : LOOKUPS;
	struct lookup *lookups = n > 0 ? kafka_alloc_array(r, n, sizeof *lookups) : NULL;
	if (n > 0 && lookups == NULL) {
		return;
	}
	kafka_hold(r);
	l->is_starting = true;
	for (uint32_t i = 0; i < n; i++) {
		lookups[i].r = r;
		start_waiting(r, &lookups[i]);
	}
	l->is_starting = false;
	answer_if_done(r);
	kafka_release(r);
}
