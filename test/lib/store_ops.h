#ifndef TEST_LIB_STORE_OPS_H
#define TEST_LIB_STORE_OPS_H

/* Store operations for tests: batches of numbered events, operations that
 * remember whether they were answered, and a mailbox that runs until they were. */

#include <stdbool.h>

#include "store/store.h"

/* A batch of `n` events "first", "first + 1", ... in decimal, each padded to
 * `size` bytes, with an optional key behind it. */
struct buf *ops_batch(int64_t first, uint32_t n, size_t size, const char *key, uint32_t *len);

struct ops_append {
	struct store_append op;	/* first */
	int64_t value;		/* its first event's number */
	uint32_t *answered;	/* counts up; the order of answers */
	uint32_t order;
	bool is_done;
};
/* Makes a mergeable AMQP append; what to change is changed before it is given. */
void ops_append_init(struct ops_append *a, struct store_partition *p, struct mailbox *reply_to,
		     int64_t first, uint32_t n, size_t size, const char *key);
/* Makes it a batch of this idempotent producer, as a Kafka client sends it. */
void ops_append_kafka(struct ops_append *a, int64_t producer_id, int16_t epoch, int32_t sequence);

struct ops_command {
	struct store_command op;	/* first */
	bool is_done;
};
struct ops_watch {
	struct store_watch op;	/* first */
	bool is_done;
	uint32_t runs;
};
struct ops_read {
	struct store_read op;	/* first */
	bool is_done;
};
struct ops_seek {
	struct store_seek op;	/* first */
	bool is_done;
};
msg_fn ops_append_done;
msg_fn ops_command_done;
msg_fn ops_watch_done;
msg_fn ops_read_done;
msg_fn ops_seek_done;

void ops_watch_init(struct ops_watch *w, struct store_partition *p, struct mailbox *reply_to,
		    int64_t seq);

/* Runs messages until *flag; aborts after a minute. */
void ops_until(struct mailbox *mb, const bool *flag);
/* Runs messages until *count >= n. */
void ops_until_count(struct mailbox *mb, const uint32_t *count, uint32_t n);

/* Checks that the batches hold the events numbered by their own sequence plus
 * `shift`, from `from` on without gap; gives the next sequence number. */
int64_t ops_check_batches(const struct store_batches *b, int64_t from, int64_t shift);

struct catalog_command ops_create(const char *hub, uint32_t partitions);

#endif
