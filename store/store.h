#ifndef STORE_STORE_H
#define STORE_STORE_H

/* The store: partitions of hubs, in shards, on a volume, with the catalogue.
 *
 * Every operation is asynchronous: the caller embeds an operation struct, hands
 * it over, and gets it back by `done`, run as a message of `reply_to` on the
 * caller's own thread. Nothing here says on how many nodes an entry becomes
 * durable, so replication comes in beneath without touching a caller.
 *
 * Threads: one shard core owns every shard (queues, propose, apply, positions,
 * catalogue); the volume's writer, readers and sealer are its own. */

#include "store/catalog/catalog.h"
#include "store/types.h"

struct store;
struct store_partition;

struct store_options {
	const char *dir;		/* data directory; made when missing, mode 0700 */
	uint32_t shards;		/* used when the directory is founded */
	uint64_t node_id;
	uint64_t segment_max_bytes;	/* 0: default */
	size_t cache_bytes;		/* recent-entry cache, 0: 64 MiB */
	uint64_t disk_reserve_bytes;	/* appends get ERR_QUOTA below this much free space */
};

/* Opens or founds a data directory: takes LOCK (ERR_IN_USE), checks VERSION
 * (ERR_VERSION when newer), recovers, starts the threads. Every error comes with
 * one clear line in the detail. */
enum err store_open(const struct store_options *o, struct store **out,
		    struct err_detail *d) MUST_CHECK;
/* Stopping has two steps, so that callers can take their answers in between.
 * store_close: answers everything outstanding (appends that wait are completed,
 * watches are returned with ERR_STOPPING), writes the state, marks the stop
 * clean, joins the threads; operations started later are answered
 * ERR_STOPPING at once. Partitions may still be held, read from the cache and
 * dropped, and watches cancelled. store_free: when nobody holds anything. */
void store_close(struct store *s);
void store_free(struct store **s);

const char *store_dir(const struct store *s);
void store_uuid_text(const struct store *s, char out[37]);
/* The current catalogue; one reference for the caller. Any thread, cheap. */
const struct catalog *store_catalog(struct store *s);

/* ---- partitions: any thread ------------------------------------------- */

/* One reference; NULL when the hub id or partition does not exist. */
struct store_partition *store_partition_find(struct store *s, struct store_part part);
struct store_partition *store_partition_hold(struct store_partition *p);
void store_partition_drop(struct store_partition **p);

struct store_position {
	int64_t first_seq;		/* oldest retained */
	int64_t next_seq;		/* high watermark: readers never see it or past it */
	int64_t last_enqueued_ms;	/* append time of next_seq - 1; 0 when empty */
	uint64_t bytes;
	bool deleted;			/* its hub is gone */
};
void store_partition_position(struct store_partition *p, struct store_position *out);

/* ---- append ------------------------------------------------------------ */

/* An unsealed RecordBatch for one partition. On completion err is ERR_OK (the
 * batch is durable on a majority: base_seq, append_ms are set), ERR_NOT_FOUND
 * (hub deleted), ERR_QUOTA, ERR_STOPPING, ERR_NOMEM. Appends of one caller to
 * one partition keep their order. Single events may be merged into one batch
 * with others that wait for the same commit; each is still answered for itself. */
struct store_append {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_partition *partition;	/* a reference, given back by the caller after done */
	enum batch_encoding encoding;
	struct buf *batch;	/* takes the reference at store_append; NULL afterwards */
	uint32_t batch_len;
	uint32_t key_len;	/* partition key bytes at batch->data + batch_len */
	uint32_t events;
	bool may_merge;		/* uncompressed, no producer id, encoding AMQP */
	/* result */
	enum err err;
	int64_t base_seq;
	int64_t append_ms;
};
void store_append(struct store *s, struct store_append *op);

/* ---- read --------------------------------------------------------------- */

/* From the recent-entry cache, at once: ERR_OK (out filled; n = 0 when `from` is
 * the high watermark), ERR_AGAIN (not in the cache: use store_read),
 * ERR_NOT_FOUND (hub deleted), ERR_RANGE (from beyond the high watermark). */
enum err store_read_recent(struct store_partition *p, int64_t from, uint32_t max_bytes,
			   struct store_batches *out) MUST_CHECK;

/* From disk by a reader thread. `from` below the first retained reads from
 * there. err as volume_read, or ERR_NOT_FOUND. */
struct store_read {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_partition *partition;	/* a reference the caller keeps until done */
	int64_t from;
	uint32_t max_bytes;
	enum err err;
	struct store_batches out;
	void *inner;		/* private */
};
void store_read(struct store *s, struct store_read *op);

/* First event with append time > after_ms (>= when inclusive), else the high
 * watermark. */
struct store_seek {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_partition *partition;
	int64_t after_ms;
	bool inclusive;
	enum err err;
	int64_t seq;
	void *inner;		/* private */
};
void store_seek(struct store *s, struct store_seek *op);

/* Wake on new data: `done` runs once when the high watermark is past `seq`, the
 * hub is deleted (ERR_NOT_FOUND) or the store stops (ERR_STOPPING). At once when
 * that holds already. */
struct store_watch {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_partition *partition;	/* kept until done or cancelled */
	int64_t seq;
	enum err err;
	struct store_watch *next, **link;	/* private */
	bool posted;				/* private */
};
void store_watch(struct store *s, struct store_watch *w);
/* True: cancelled, done will not run. False: done is on its way. */
bool store_unwatch(struct store_watch *w);

/* ---- catalogue changes --------------------------------------------------- */

/* Checked, made durable, applied; the new catalogue is visible when done runs.
 * err as catalog_check says, with a detail. */
struct store_command {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct catalog_command command;	/* now_ms is set by the shard's leader */
	enum err err;
	struct err_detail detail;
	void *inner;		/* private */
};
void store_command(struct store *s, struct store_command *op);

#endif
