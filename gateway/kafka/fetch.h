#ifndef GATEWAY_KAFKA_FETCH_H
#define GATEWAY_KAFKA_FETCH_H

/* Inside fetch*.c only. A request's partitions stand in `unread` while there may be
 * something to read from them, one after another; those read to the high
 * watermark go to `ended`. When nothing is to be done any more the request is
 * paid for and answered, or parks: whatever is in `ended` is watched, and a watch that
 * fires brings its partition back to `unread`. What was read stays until the answer. */

#include "gateway/kafka/data.h"

enum {
	/* Batches of one answer: bounds the list of them, where batches are small. */
	FETCH_BATCHES = 8192,
	/* Bytes of one answer that are made from events of other protocols: bounds how
	 * long one request keeps its loop. */
	FETCH_MADE_MAX = 8 << 20,
	FETCH_WAIT_MAX_MS = 5 * 60 * 1000,
	/* An answer may have so much whatever others hold. */
	FETCH_LEAST = 256 << 10,
	/* An answer is half of what the connection may be sent in a second: it waits
	 * for so long, and the limit is not left unused for its burst of a second while
	 * the next one is asked for. */
	FETCH_SHARES = 2,
	/* How long an answer waits until it is paid for, and the connection is muted
	 * afterwards: with some clients the heartbeats of a group, of which the session
	 * may be 10 s, come on the same connection. */
	FETCH_PAY_MS = 5000,
	FETCH_MUTE_MS = 3000,
};

enum fetch_state {
	FETCH_DONE,    /* an error, or as much as it may have */
	FETCH_UNREAD,    /* in `unread` */
	FETCH_ENDED,   /* in `ended` */
	FETCH_WATCHED, /* its watch is out */
};

struct fetch_part {
	struct kafka_request *r;
	struct fetch_part *next; /* in unread or ended */
	const struct kafka_fetch_request_partition *ask;
	struct kafka_fetch_response_partition *answer;
	struct span topic;		   /* for the log */
	struct store_partition *partition; /* a reference, until the request ends */
	enum fetch_state state;
	int64_t at;	     /* to be read next */
	uint32_t n_held;     /* batches of it in `held` */
	uint32_t first_held; /* where they stand in the answer; set for it */
	size_t bytes;	     /* of them */
	uint64_t events;     /* in them */
	struct throttle_rate quantum; /* at most that at a time; first batches aside */
	uint32_t hub_id;
	bool is_paid;	     /* may go out */
	struct store_watch watch;
};

/* One batch of the answer. */
struct fetch_held {
	struct span bytes;
	struct buf *buf; /* a stored batch's, one reference; or NULL and */
	struct str made; /* one made for this answer */
	uint32_t part;
};

/* A read by a reader thread. */
struct fetch_read {
	struct store_read op;
	struct kafka_request *r;
	struct fetch_part *part;
	int64_t end_seq; /* the high watermark when it began */
};

struct fetch {
	struct kafka_fetch_response response;
	struct fetch_part *parts;
	uint32_t n_parts;
	struct fetch_part *unread;
	struct fetch_part *unread_last;
	struct fetch_part *ended;
	struct fetch_held *held;
	size_t n_held;
	size_t cap_held;
	size_t bytes; /* of held */
	size_t made_bytes;
	uint64_t events;
	size_t limit; /* for bytes */
	struct throttle_rate quantum; /* the greatest of the partitions that were read */
	size_t min_bytes;
	int64_t deadline_ms;
	bool waits; /* the client lets it */
	uint32_t n_watched;
	struct fetch_read *read; /* allocated for the first one */
	bool is_reading;
	bool is_full;  /* nothing more goes in */
	bool is_ready; /* an error or a limit of a partition: answer at once */
	bool is_due;   /* its time is over */
	bool is_done;  /* answered, or failed */
	/* fetch_pay.c */
	bool is_paying;	 /* nothing is read or watched any more */
	bool had_to_wait;
	uint32_t pay_at; /* the partition to be paid for next */
	struct throttle_cost largest;
};

/* ---- fetch_read.c ---- */
/* Reads what is in `unread`, until it is empty, the answer is full or a reader
 * thread is at it; then goes on to fetch_settle. The caller holds the request. */
void fetch_run(struct kafka_request *r);
void fetch_unread_add(struct fetch *f, struct fetch_part *part);
/* The partition is answered with an error. Not while it is in a list. */
void fetch_part_fail(struct fetch *f, struct fetch_part *part, enum kafka_code code);

/* ---- fetch_pay.c ---- */
/* The answer is complete: it is paid for, then goes out. The caller holds the request. */
void fetch_pay(struct kafka_request *r);
/* Ends the payment: what is paid for goes out, the rest will be asked for again. */
void fetch_pay_end(struct kafka_request *r);

/* ---- fetch_wait.c ---- */
/* Nothing can be read at present: answers or parks. The caller holds the request. */
void fetch_settle(struct kafka_request *r);
/* For struct kafka_request. */
void fetch_tick(struct kafka_request *r, int64_t now_ms);
void fetch_cancel(struct kafka_request *r);

#endif
