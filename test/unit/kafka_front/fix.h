#ifndef TEST_UNIT_KAFKA_FRONT_FIX_H
#define TEST_UNIT_KAFKA_FRONT_FIX_H

/* A Kafka front over a real store in a temporary directory, with the hubs
 * "events" (4 partitions), "other" (2) and "a/b" (2), the policies root (all
 * rights), "sender" and "listener" of "events". Connections have no stream:
 * requests are begun with kafka_request_begin, and an answer is read from where
 * it waits to be sent. The test's thread is the loop. */

#include <check.h>

#include "gateway/kafka/conn.h"

/* How long a Produce waits for capacity, and a connection is muted, at most. */
enum { FIX_DELAY_MS = 3000 };

struct kafka_fix {
	char dir[64];
	struct store *store;
	struct core *core;
	struct groups *groups;
	struct kafka_front *front;
	struct kafka_listener *listener;
	struct mailbox loop;
	struct core_sender *amqp;	/* of fix_append_amqp */
	bool is_stopped;
};

/* Management calls a second of fronts that are opened from now on; 0: not limited. */
extern uint32_t fix_management_rate;
void fix_open(struct kafka_fix *f);
/* The same with so much of a recent-entry cache. */
void fix_open_cache(struct kafka_fix *f, size_t cache_bytes);
/* Groups and store answer what is outstanding and stop; fix_close does it too. */
void fix_stop(struct kafka_fix *f);
void fix_close(struct kafka_fix *f);
enum err fix_command(struct kafka_fix *f, const struct catalog_command *cmd);
void fix_make_hub(struct kafka_fix *f, const char *name, uint32_t partitions);
/* Returns when the limit holds; somebody has sent to or read from the hub before. */
void fix_limit(struct kafka_fix *f, const struct catalog_limit *limit);
uint32_t fix_hub_id(struct kafka_fix *f, const char *name);
/* One AMQP event with a data section of `text` into a partition of "events". */
int64_t fix_append_amqp(struct kafka_fix *f, uint32_t partition, const char *text);

/* A connection that has authenticated with `rights` on `scope` ("" = namespace). */
struct kafka_conn *fix_conn(struct kafka_fix *f, const char *scope, unsigned rights);
/* Its connection goes away: requests are cancelled; freed when all came back. */
void fix_conn_close(struct kafka_fix *f, struct kafka_conn **c);

/* Begins a request of `version` with `body` (the API's request struct). The
 * request is the connection's last. */
struct kafka_request *fix_begin(struct kafka_conn *c, int16_t key, int16_t version,
				const void *body);
/* The same, and from the frame on the allocation `fault` fails (mem_fault_at),
 * which stays set. NULL: there was no memory for the request itself. */
struct kafka_request *fix_begin_fault(struct kafka_conn *c, int16_t key, int16_t version,
				      const void *body, long fault);
/* Runs what comes to the loop until `r` was answered; fails after 10 s. */
void fix_wait(struct kafka_fix *f, const struct kafka_request *r);
/* Runs messages for so long. */
void fix_run_ms(struct kafka_fix *f, int ms);
/* The decoded answer of an answered request; it lives in `arena`, its spans in
 * memory of the arena too. The request is taken off its connection (and freed). */
void *fix_answer(struct kafka_request *r, struct kafka_arena *arena);
/* All in one. */
void *fix_call(struct kafka_fix *f, struct kafka_conn *c, int16_t key, int16_t version,
	       const void *body, struct kafka_arena *arena);

/* An uncompressed batch of `n` records with values "<text><i>" as a producer
 * sends it; pid < 0: not idempotent. */
struct span fix_batch(struct kafka_arena *arena, const char *text, int32_t n, int64_t timestamp,
		      int64_t pid, int16_t epoch, int32_t first_sequence);

Suite *conn_suite(void);

#endif
