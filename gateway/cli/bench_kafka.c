/* Kafka in the load generator: produce requests of one batch, encoded once, to
 * the partitions in turn. */

#include <string.h>

#include "base/batch.h"
#include "base/clock.h"
#include "base/mem.h"
#include "gateway/cli/bench_priv.h"
#include "gateway/cli/kafka_client.h"
#include "gateway/wire/records.h"

enum {
	PRODUCE_VERSION = 9,
	ACKS_ALL = -1,
	PRODUCE_TIMEOUT_MS = 30000,
	EAGER_BYTES = 16 << 10,	/* after sends of this size answers are read at once */
	HEAD_MAX = 512,		/* of a produce request before its batch */
	REFUSED_WAIT_MS = 100,	/* a refusal that names no time */
	OUT_OF_ORDER = 45,	/* OUT_OF_ORDER_SEQUENCE_NUMBER */
	/* Places in a batch, base/batch.h. */
	AT_LENGTH = 8,
	LENGTH_EXCLUDES = 12,
	AT_ATTRIBUTES = 21,
	AT_BASE_TIME = 27,
	AT_PRODUCER = 43,
	AT_PRODUCER_EPOCH = 51,
	AT_SEQUENCE = 53,
};
_Static_assert(LIMIT_HUB_NAME + 100 <= HEAD_MAX, "a request's head fits");

struct producer {
	struct bench_worker *w;
	struct kafka_client *client;
	struct buf *batch;
	struct str frame;	/* head, batch, tail */
	uint8_t *heads;		/* by partition, head_size each; without correlation id */
	size_t head_size;
	uint32_t *sequence;	/* by partition, with --idempotent */
	int32_t partitions;
	int64_t producer_id;
	int16_t producer_epoch;
	bool is_broken;		/* a batch was refused: the sequence begins anew */
	int64_t *sent_ns;	/* ring of what is in flight, oldest at `first` */
	uint64_t first;
	uint64_t in_flight;
	uint64_t sends;
};

/* ---- encoding ------------------------------------------------------------------------ */

/* Letters that pack to about half, for compressed batches. */
static void fill_mixed(uint8_t *p, size_t n, uint64_t *seed)
{
	for (size_t i = 0; i < n; i++) {
		*seed ^= *seed << 13;
		*seed ^= *seed >> 7;
		*seed ^= *seed << 17;
		p[i] = (uint8_t)('a' + (*seed >> 33) % 16);
	}
}

/* Replaces the records by their packed form. */
static enum err pack(struct buf **batch, enum records_codec codec, struct err_detail *d)
{
	struct str packed = {.max = 2 * BENCH_KAFKA_BATCH_MAX};
	struct buf *from = *batch;
	enum err e = deflate_all(codec, span_of(from->data + BATCH_HEAD, from->len - BATCH_HEAD),
				 &packed);
	struct buf *to = e == ERR_OK ? buf_new(BATCH_HEAD + packed.len) : NULL;
	if (to == NULL) {
		str_fini(&packed);
		return err_set(d, e != ERR_OK ? e : ERR_NOMEM, "the batch cannot be compressed");
	}
	memcpy(to->data, from->data, BATCH_HEAD);
	memcpy(to->data + BATCH_HEAD, packed.p, packed.len);
	to->len = (uint32_t)(BATCH_HEAD + packed.len);
	put_u32(to->data + AT_LENGTH, to->len - LENGTH_EXCLUDES);
	put_u16(to->data + AT_ATTRIBUTES, (uint16_t)codec);
	str_fini(&packed);
	buf_drop(batch);
	*batch = to;
	return ERR_OK;
}

static enum err make_batch(struct producer *p, struct err_detail *d)
{
	const struct bench *b = p->w->bench;
	struct batch_builder builder;
	uint64_t seed = p->w->index * 2 + 1;
	uint8_t *body = mem_alloc(b->size > 0 ? b->size : 1);
	if (body == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	struct span value = span_of(body, b->size);
	batch_builder_init(&builder, b->batch * (b->size + BATCH_RECORD_MAX),
			   2 * (size_t)BENCH_KAFKA_BATCH_MAX);
	bench_fill(body, b->size);
	for (uint64_t i = 0; i < b->batch; i++) {
		if (b->codec != RECORDS_NONE) {
			fill_mixed(body, b->size, &seed);
		}
		batch_builder_add(&builder, &value, 1);
	}
	enum err e = batch_builder_finish(&builder, &p->batch);
	batch_builder_fini(&builder);
	mem_free(body);
	if (e != ERR_OK) {
		return err_set(d, e, "the batch cannot be encoded");
	}
	if (b->codec != RECORDS_NONE) {
		e = pack(&p->batch, (enum records_codec)b->codec, d);
	}
	if (e == ERR_OK) {
		batch_seal(p->batch->data, p->batch->len, clock_wall_ms());
	}
	return e;
}

static enum err encode(struct producer *p, int32_t partition, struct err_detail *d)
{
	struct kafka_produce_request_partition data = {
		.index = partition, .records.s = span_of(p->batch->data, p->batch->len)};
	struct kafka_produce_request_topic topic = {
		.name = kafka_string_of(span_str(p->w->bench->hub)),
		.partition_data = &data,
		.n_partition_data = 1,
	};
	struct kafka_produce_request request = {
		.transactional_id = kafka_string_null(),
		.acks = ACKS_ALL,
		.timeout_ms = PRODUCE_TIMEOUT_MS,
		.topic_data = &topic,
		.n_topic_data = 1,
	};
	str_fini(&p->frame);
	return kafka_client_frame(KAFKA_API_Produce, PRODUCE_VERSION, &request, &p->frame, d);
}

/* Every partition's request differs only in the head, whose size is the same. */
static enum err make_frames(struct producer *p, struct err_detail *d)
{
	for (int32_t i = 0; i < p->partitions; i++) {
		enum err e = encode(p, i, d);
		if (e != ERR_OK) {
			return e;
		}
		if (p->heads == NULL) {
			const char *at = memmem(p->frame.p, p->frame.len, p->batch->data, p->batch->len);
			p->head_size = at != NULL ? (size_t)(at - p->frame.p) : 0;
			p->heads = mem_calloc((size_t)p->partitions, p->head_size);
		}
		if (p->heads == NULL || p->head_size == 0) {
			return err_set(d, ERR_NOMEM, "out of memory");
		}
		memcpy(p->heads + (size_t)i * p->head_size, p->frame.p, p->head_size);
	}
	return ERR_OK;
}

/* Number and sequence of an idempotent producer. */
static void stamp(struct producer *p, int32_t partition)
{
	uint8_t *batch = (uint8_t *)p->frame.p + p->head_size;
	put_u64(batch + AT_PRODUCER, (uint64_t)p->producer_id);
	put_u16(batch + AT_PRODUCER_EPOCH, (uint16_t)p->producer_epoch);
	put_u32(batch + AT_SEQUENCE, p->sequence[partition]);
	batch_seal(batch, p->batch->len, (int64_t)get_u64(batch + AT_BASE_TIME));
	/* The number after 2^31 - 1 is 0. */
	p->sequence[partition] = (uint32_t)((p->sequence[partition] + p->w->bench->batch) & INT32_MAX);
}

static enum err prepare(struct producer *p, struct err_detail *d)
{
	const struct bench *b = p->w->bench;
	enum err e = kafka_client_open(&b->target, &p->client, d);
	if (e == ERR_OK) {
		e = kafka_client_serves(p->client, KAFKA_API_Produce, PRODUCE_VERSION, d);
	}
	if (e == ERR_OK) {
		e = kafka_client_partitions(p->client, b->hub, &p->partitions, d);
	}
	if (e == ERR_OK && b->idempotent) {
		e = kafka_client_producer(p->client, &p->producer_id, &p->producer_epoch, d);
	}
	if (e == ERR_OK) {
		e = make_batch(p, d);
	}
	if (e == ERR_OK) {
		e = make_frames(p, d);
	}
	if (e == ERR_OK) {
		p->sent_ns = mem_calloc(b->in_flight, sizeof *p->sent_ns);
		p->sequence = mem_calloc((size_t)p->partitions, sizeof *p->sequence);
		if (p->sent_ns == NULL || p->sequence == NULL) {
			e = err_set(d, ERR_NOMEM, "out of memory");
		}
	}
	return e;
}

/* ---- producing ------------------------------------------------------------------------- */

static void take_outcome(struct producer *p, const struct kafka_produce_response *answer)
{
	const struct bench *b = p->w->bench;
	struct err_detail d = {{0}};
	int64_t at = p->sent_ns[p->first];
	p->first = (p->first + 1) % b->in_flight;
	p->in_flight--;
	if (answer->n_responses != 1 || answer->responses->n_partition_responses != 1) {
		bench_error(p->w, b->batch, "Produce: the answer is not for one partition");
		return;
	}
	const struct kafka_produce_response_partition *part = answer->responses->partition_responses;
	bool is_refused = part->error_code == err_info(ERR_BUSY)->kafka_code;
	if (answer->throttle_time_ms > 0 || is_refused) {
		bench_throttled(p->w, answer->throttle_time_ms > 0 ? answer->throttle_time_ms
								   : REFUSED_WAIT_MS);
	}
	if (b->idempotent && (is_refused || (p->is_broken && part->error_code == OUT_OF_ORDER))) {
		/* What follows a refused batch does not fit any more. */
		p->is_broken = true;
		return;
	}
	if (is_refused) {
		return;
	}
	if (kafka_client_check(part->error_code, part->error_message, "Produce", &d) != ERR_OK) {
		bench_error(p->w, b->batch, d.text);
		return;
	}
	bench_acked(p->w, at, clock_mono_ns());
}

/* Takes the answers that are there, waiting for the first at most wait_ms. */
static enum err pump(struct producer *p, int wait_ms, struct err_detail *d)
{
	enum err e = ERR_OK;
	while (e == ERR_OK && p->in_flight > 0) {
		struct kafka_produce_response answer;
		e = kafka_client_read(p->client, wait_ms, KAFKA_API_Produce, PRODUCE_VERSION, &answer,
				      d);
		if (e == ERR_OK) {
			take_outcome(p, &answer);
		}
		wait_ms = 0;
	}
	return e == ERR_AGAIN ? ERR_OK : e;
}

static enum err send_one(struct producer *p, int64_t at_ns, struct err_detail *d)
{
	const struct bench *b = p->w->bench;
	int32_t partition = (int32_t)((p->w->index + p->sends) % (uint64_t)p->partitions);
	memcpy(p->frame.p, p->heads + (size_t)partition * p->head_size, p->head_size);
	if (b->idempotent) {
		stamp(p, partition);
	}
	enum err e = kafka_client_write(p->client, (uint8_t *)p->frame.p, p->frame.len, d);
	if (e == ERR_OK) {
		p->sent_ns[(p->first + p->in_flight) % b->in_flight] = at_ns;
		p->in_flight++;
		p->sends++;
	}
	return e;
}

/* Another producer id, after everything under way was answered. ERR_AGAIN: not yet. */
static enum err begin_anew(struct producer *p, struct err_detail *d)
{
	if (p->in_flight > 0) {
		return ERR_AGAIN;
	}
	p->is_broken = false;
	memset(p->sequence, 0, (size_t)p->partitions * sizeof *p->sequence);
	return kafka_client_producer(p->client, &p->producer_id, &p->producer_epoch, d);
}

/* Sends what is due and allowed; *wait_ns gets how long nothing will be. */
static enum err send_due(struct producer *p, int64_t *wait_ns, struct err_detail *d)
{
	const struct bench *b = p->w->bench;
	enum err e = ERR_OK;
	*wait_ns = INT64_MAX;
	while (e == ERR_OK && p->in_flight < b->in_flight) {
		int64_t now = clock_mono_ns();
		int64_t planned = bench_planned_ns(p->w, p->sends);
		int64_t told = bench_told_ns(p->w, now);
		if (now >= b->end_ns) {
			return ERR_OK;
		}
		if (told > 0) {
			*wait_ns = told;
			return ERR_OK;
		}
		e = p->is_broken ? begin_anew(p, d) : ERR_OK;
		if (e != ERR_OK) {
			return e == ERR_AGAIN ? ERR_OK : e;
		}
		if (planned > now) {
			*wait_ns = planned - now;
			return ERR_OK;
		}
		e = send_one(p, b->rate > 0 ? planned : now, d);
		if (e == ERR_OK && p->frame.len >= EAGER_BYTES) {
			e = pump(p, 0, d);
		}
	}
	return e;
}

static void nap(int64_t ns)
{
	/* Half of a long time, so that its end is met closely. */
	int64_t most = ns / 2 > BENCH_NAP_NS ? ns / 2 : BENCH_NAP_NS;
	bench_nap(ns < most ? ns : most);
}

static enum err produce_all(struct producer *p, struct err_detail *d)
{
	const struct bench *b = p->w->bench;
	enum err e = ERR_OK;
	while (e == ERR_OK && clock_mono_ns() < b->end_ns) {
		int64_t wait_ns;
		e = send_due(p, &wait_ns, d);
		int64_t left = b->end_ns - clock_mono_ns();
		wait_ns = wait_ns < left ? wait_ns : left;
		if (e != ERR_OK) {
			break;
		}
		if (wait_ns < 1000000 || p->in_flight == 0) {
			/* poll(2) counts in milliseconds: nap, then look. */
			nap(wait_ns);
			e = pump(p, 0, d);
		} else {
			e = pump(p, (int)(wait_ns / 1000000), d);
		}
	}
	int64_t until = clock_mono_ms() + BENCH_ANSWER_MS;
	while (e == ERR_OK && p->in_flight > 0) {
		int64_t left = until - clock_mono_ms();
		e = left > 0 ? pump(p, (int)left, d)
			     : err_set(d, ERR_TIMEOUT, "no acknowledgement within %d s",
				       BENCH_ANSWER_MS / 1000);
	}
	return e;
}

static void run_producer(struct bench_worker *w)
{
	struct producer p = {.w = w, .frame.max = 4 * (size_t)BENCH_KAFKA_BATCH_MAX};
	struct err_detail d = {{0}};
	enum err e = prepare(&p, &d);
	w->failed = e != ERR_OK;
	if (w->failed) {
		bench_error(w, 0, d.text);
	}
	if (bench_wait_start(w) && e == ERR_OK) {
		e = produce_all(&p, &d);
		if (e != ERR_OK) {
			w->failed = true;
			bench_error(w, p.in_flight * w->bench->batch, d.text);
		}
	}
	kafka_client_close(&p.client);
	buf_drop(&p.batch);
	str_fini(&p.frame);
	mem_free(p.heads);
	mem_free(p.sequence);
	mem_free(p.sent_ns);
}

void *bench_kafka_run(void *arg)
{
	struct bench_worker *w = arg;
	if (w->bench->mode == BENCH_READ) {
		bench_kafka_read(w);
	} else {
		run_producer(w);
	}
	return NULL;
}
