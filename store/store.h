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

/* Batches of a producer whose repetition is recognised: what clients may have
 * in flight (max.in.flight.requests.per.connection). */
enum { STORE_PRODUCER_BATCHES = 5 };

struct store_options {
	const char *dir;		/* data directory; made when missing, mode 0700 */
	const char *const *more_dirs;	/* further ones, for volumes on other disks */
	uint32_t n_more_dirs;		/* at most LIMIT_VOLUMES - 1; as at founding */
	uint32_t shards;		/* used when the directory is founded */
	uint64_t node_id;
	uint64_t segment_max_bytes;	/* 0: default */
	size_t cache_bytes;		/* recent-entry cache, 0: 64 MiB */
	uint64_t disk_reserve_bytes;	/* appends get ERR_QUOTA below this much free space */
	int64_t producer_expiry_ms;	/* producers silent for so long are forgotten; 0: one day */
	uint64_t max_disk_bytes;	/* per volume: appends get ERR_QUOTA beyond; 0: no bound */
	int64_t retention_check_ms;	/* how late retention takes effect at most; 0: 1 s */
	int64_t clock_doubt_ms;		/* a wall clock that is suddenly ahead deletes nothing for so
					 * long: it may be set back; 0: it does at once */
	const struct store_compactor *compactor;	/* kept; NULL: hubs are not compacted */
	int64_t tombstone_ms;		/* compaction keeps tombstones for this; 0: one day */
	uint64_t compaction_memory;	/* for the newest keys of a pass; 0: 64 MiB */
	uint64_t clean_rate;		/* bytes per second the cleaner copies at most; 0: 128 MiB */
	int64_t clean_pause_ms;		/* between two looks at what there is to clean; 0: 5 s */
	int64_t scrub_period_ms;	/* everything is read and checked once in it; 0: never */
	int64_t export_interval_ms;	/* between two exports of the state; 0: one minute */
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

const char *store_dir(const struct store *s);	/* the first one */
/* All of them, in the order of their volumes. */
uint32_t store_volumes(const struct store *s);
const char *store_volume_dir(const struct store *s, uint32_t volume);
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
	int64_t max_timestamp_ms;	/* greatest record timestamp; INT64_MIN when empty */
	uint64_t bytes;
	bool deleted;			/* its hub is gone */
	bool is_offline;		/* its volume cannot be used: the numbers are not known, 0 */
};
void store_partition_position(struct store_partition *p, struct store_position *out);

/* ---- append ------------------------------------------------------------ */

/* An unsealed RecordBatch for one partition. On completion err is ERR_OK (the
 * batch is durable on a majority: base_seq, append_ms are set), ERR_NOT_FOUND
 * (hub deleted), ERR_QUOTA, ERR_OFFLINE (its volume cannot be used, as for all that
 * follows here), ERR_STOPPING, ERR_NOMEM. Appends of one caller to
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
	bool is_repeated;
};
void store_append(struct store *s, struct store_append *op);

/* ---- read --------------------------------------------------------------- */

/* From the recent-entry cache, at once: ERR_OK (out filled; n = 0 when `from` is
 * the high watermark), ERR_AGAIN (not in the cache: use store_read),
 * ERR_NOT_FOUND (hub deleted), ERR_RANGE (from beyond the high watermark),
 * ERR_OFFLINE. `from` below the first retained reads from there. */
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

/* What a seek looks for. */
enum store_seek_by {
	/* The first event with append time > after_ms (>= when inclusive), else the
	 * high watermark. */
	STORE_SEEK_APPEND_TIME,
	/* The base of the first batch with a record of timestamp >= after_ms (for
	 * AMQP events: their append time), else the high watermark; which record it
	 * is, the caller finds by reading that batch. */
	STORE_SEEK_TIMESTAMP,
	/* The base of the first batch that holds the greatest timestamp; the high
	 * watermark when the partition is empty. */
	STORE_SEEK_MAX_TIMESTAMP,
};
struct store_seek {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_partition *partition;
	enum store_seek_by by;
	int64_t after_ms;
	bool inclusive;		/* APPEND_TIME only */
	enum err err;
	int64_t seq;
	void *inner;		/* private */
};
void store_seek(struct store *s, struct store_seek *op);

/* Wake on new data: `done` runs once when the high watermark is past `seq`, the
 * hub is deleted (ERR_NOT_FOUND) or the store stops (ERR_STOPPING). At once when
 * that holds already, or with ERR_OFFLINE. */
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

/* Moves the oldest retained event of a partition: what lies below before_seq is
 * gone for readers when done runs, its space is given back later. Beyond the high
 * watermark: ERR_RANGE. Below the present start: ERR_OK, nothing changes. Also
 * ERR_NOT_FOUND, ERR_STOPPING, ERR_NOMEM. */
struct store_trim {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_partition *partition;	/* a reference the caller keeps until done */
	int64_t before_seq;
	enum err err;
	int64_t first_seq;	/* result */
	void *inner;		/* private */
};
void store_trim(struct store *s, struct store_trim *op);

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

/* ---- rows ------------------------------------------------------------------ */

/* Small replicated state of whoever coordinates something: rows of a shard,
 * (kind, key) -> content, changed by commands in that shard's log, kept in
 * memory and, about once a second, in the state file. The content is opaque to
 * the store. */
enum store_row_kind {
	STORE_ROW_PRODUCER = 16,	/* the store's own: idempotent producers */
	STORE_ROW_GROUP = 17,		/* gateway/group: a group's last generation */
	STORE_ROW_OFFSET = 18,		/* gateway/group: a committed offset */
	STORE_ROW_START = 19,		/* the store's own: where a partition's log begins */
};
enum {
	STORE_ROW_KEY_MAX = 400,
	STORE_ROWS_MAX = 2 << 20,	/* keys and contents of one write */
	STORE_ROWS_COUNT = 64 << 10,	/* rows of one write: a sixth of an entry in heads */
};
struct store_row {
	uint8_t kind;
	bool is_deleted;	/* content is nothing; deleting what is not there is fine */
	struct span key;
	struct span content;
};

/* Writes rows of one shard, all or none, in the order the operations are posted.
 * When done runs they are durable on a majority. ERR_TOO_LARGE, ERR_INVALID
 * (kind, key), ERR_QUOTA (no room; deletions pass), ERR_OFFLINE, ERR_STOPPING,
 * ERR_NOMEM. */
struct store_rows_write {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	uint32_t shard;
	const struct store_row *rows;	/* they and what they point to: kept until done */
	uint32_t n;
	enum err err;
	void *inner;		/* private */
};
void store_rows_write(struct store *s, struct store_rows_write *op);

/* Calls `row` on the shard core thread for each row of `kind` of every shard (in
 * no order); what it is given is borrowed. An error of `row` ends it. For loading at
 * start, not for serving. */
typedef enum err store_row_fn(void *arg, uint32_t shard, struct span key, struct span content);
struct store_rows_scan {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	uint8_t kind;
	store_row_fn *row;
	void *arg;
	enum err err;
	void *inner;		/* private */
};
void store_rows_scan(struct store *s, struct store_rows_scan *op);

/* ---- backup ----------------------------------------------------------------- */

/* Everything acknowledged before the call is in sealed segments and an export when
 * done runs, and no file of those is removed until store_unpin, or until
 * `ttl_ms` passed since the last store_pin_renew. `files` is then a list, a line each
 * "VOLUME PATH SIZE CRC32C SOURCE" (CRC as 8 hex digits, of the whole file): what
 * stands in the file SOURCE below the data directory of that volume now belongs at
 * PATH below that of a copy. Together they are data directories that can be restored.
 * ERR_EXISTS: another backup is under way. ERR_OFFLINE: a volume is out. ERR_INVALID
 * (ttl_ms), ERR_FULL, ERR_IO, ERR_NOMEM, ERR_STOPPING. */
enum { STORE_PIN_TTL_MAX_MS = 60 * 60 * 1000 };
struct store_pin {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	int64_t ttl_ms;
	enum err err;
	struct err_detail detail;
	uint64_t id;			/* result */
	struct str files;		/* result, the caller's */
	void *inner;			/* private */
};
void store_pin(struct store *s, struct store_pin *op);
enum err store_pin_renew(struct store *s, uint64_t id) MUST_CHECK;	/* ERR_NOT_FOUND: it ran out */
void store_unpin(struct store *s, uint64_t id);

/* The shard that holds the rows of a thing with this name (a group). Never
 * changes for a data directory. */
uint32_t store_shard_of(const struct store *s, struct span name);
/* Its volume cannot be used: what its rows say is not known. Never changes while the
 * store is open. */
bool store_shard_is_out(const struct store *s, uint32_t shard);

#endif
