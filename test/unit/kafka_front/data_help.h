#ifndef TEST_UNIT_KAFKA_FRONT_DATA_HELP_H
#define TEST_UNIT_KAFKA_FRONT_DATA_HELP_H

/* Requests of the data path in one line each. Answers live in `bed.arena`. */

#include "test/unit/kafka_front/fix.h"

struct data_bed {
	struct kafka_fix fix;
	struct kafka_conn *conn;	/* all rights */
	struct kafka_arena arena;
};
extern struct data_bed bed;

void bed_open(void);
/* Whose recent-entry cache holds next to nothing. */
void bed_open_uncached(void);
void bed_close(void);

/* One batch into one partition; the answer about it. */
struct kafka_produce_response_partition *bed_produce(const char *topic, int32_t partition,
						     struct span batch);
/* The same of `n` records with a time; the base offset. */
int64_t bed_put(const char *topic, int32_t partition, const char *text, int32_t n,
		int64_t timestamp);
/* Begins a Produce of one batch. */
struct kafka_request *bed_produce_begin(int16_t version, int16_t acks, const char *topic,
					int32_t partition, struct span batch);
/* A batch with its records packed with `codec` (enum records_codec). */
struct span bed_pack(struct span batch, int codec);

struct bed_fetch {
	const char *topic;	/* NULL: events */
	int32_t partitions[8];	/* n of them, each from offsets[i] */
	int64_t offsets[8];
	int32_t n;
	int16_t version;	/* 0: 12 */
	int32_t max_wait_ms;
	int32_t min_bytes;
	int32_t max_bytes;	/* 0: much */
	int32_t partition_max_bytes;	/* 0: much */
	int8_t isolation;
	int32_t epoch;		/* of the leader, as the client knows it */
	int32_t session_id;
	int32_t session_epoch;
};
struct kafka_request *bed_fetch_begin(const struct bed_fetch *q);
struct kafka_fetch_response *bed_fetch(const struct bed_fetch *q);
/* Of the partition at `i` of the first topic. */
struct kafka_fetch_response_partition *bed_part(struct kafka_fetch_response *a, int32_t i);
/* Batches in a records field; checks each. */
uint32_t bed_batches(const struct kafka_records *r);

struct kafka_list_offsets_response_partition *bed_list(int16_t version, int32_t partition,
						       int64_t timestamp);

/* Sees what a read from the cache gave, and may change it; NULL: none. */
extern void (*bed_read_hook)(struct store_batches *b);

Suite *produce_suite(void);
Suite *fetch_suite(void);
Suite *fetch_wait_suite(void);
Suite *list_offsets_suite(void);
Suite *compacted_suite(void);
Suite *throttle_suite(void);
Suite *mute_suite(void);

#endif
