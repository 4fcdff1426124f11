#ifndef STORE_SHARD_SHARD_H
#define STORE_SHARD_SHARD_H

/* The shard core: one thread that owns every shard's queue, decides sequence
 * numbers and append times, proposes entries to the volume, applies what became
 * durable, and keeps the catalogue, the partitions' positions and the cache of
 * recent batches.
 *
 * The operations are those of store/store.h; store_partition_*,
 * store_read_recent and store_unwatch, which name no store, are implemented in
 * this folder.
 *
 * A volume that cannot be used: whatever concerns its shards is answered
 * ERR_OFFLINE (append, read, read_recent, seek, trim, writes of rows; a watch at
 * once), positions of its partitions are zero and say is_offline, scans give none of
 * their rows, and what the state holds of those shards stays as it is.
 * Hubs may be made, changed and deleted; its partitions follow when it is back.
 *
 * Room: appends and new rows that go to a volume without any get ERR_QUOTA, those to
 * others do not. Trims and deletions pass.
 *
 * Retention: a partition is trimmed within retention_check_ms of being due; one of
 * which nothing is due is not looked at. To the entry; of entries that the cleaner made
 * of several by time to the batch, up to SHARD_RETENTION_RETRY_MS late, by size as a
 * whole. A wall clock that is suddenly ahead deletes nothing for its age until
 * clock_doubt_ms are over. `bytes` of a store_position is the payload of the retained
 * entries. Between a trim (or an open)
 * and the count that follows it, about retention_check_ms later, it also has what was
 * trimmed of the segment in which the start lies; what compaction drops is taken off
 * when the partition is next counted. It is never less than there is. */

#include "store/store.h"

struct volume;
struct state;
struct shard_core;

/* Free bytes of the file system that holds `dir`; false: not known. */
typedef bool shard_free_space_fn(const char *dir, uint64_t *out);

struct shard_options {
	/* Open, not started; kept until shard_core_close returned. Shard i lives on
	 * volumes[i % n_volumes]; NULL: that one cannot be used. The first one can. */
	struct volume *const *volumes;
	const char *const *dirs;	/* of each, whose free space is watched; kept */
	uint32_t n_volumes;
	struct state *state;		/* kept until shard_core_close returned; NULL: the log alone */
	struct exports *exports;	/* as opened; the core's until it is closed; NULL: none are made */
	uint8_t store_uuid[16];
	int64_t export_interval_ms;	/* 0: one minute */
	uint32_t shards;
	uint64_t node_id;
	size_t cache_bytes;		/* 0: SHARD_CACHE_DEFAULT */
	uint64_t disk_reserve_bytes;
	uint64_t max_disk_bytes;		/* per volume, of volume_disk_bytes; 0: no bound */
	int64_t retention_check_ms;		/* 0: 1 s */
	int64_t clock_doubt_ms;			/* 0: the wall clock is always believed */
	shard_free_space_fn *free_space;	/* NULL: statvfs */
	int64_t producer_expiry_ms;		/* 0: one day */
};

enum {
	SHARD_CACHE_DEFAULT = 64 << 20,
	/* Entries of one shard being written at a time: while one group is
	 * synced, the next is written, and what arrives meanwhile is the third. */
	SHARD_IN_FLIGHT = 2,
	/* A merged batch: small enough that a reader of few bytes gets few. */
	SHARD_MERGE_MAX = 256 << 10,
	/* Larger events gain nothing by being copied together. */
	SHARD_MERGE_EVENT_MAX = 8 << 10,
	/* Commands of one entry: bounds its descriptors to a quarter of the target. */
	SHARD_ENTRY_COMMANDS = 4096,
	/* Idempotent producers of a partition: about 5 MiB of memory. More, and the
	 * one silent the longest is forgotten. */
	SHARD_PRODUCERS = 10000,
	SHARD_PRODUCER_EXPIRY_MS = 24 * 60 * 60 * 1000,	/* when nothing else is said */
	/* Producers are looked through for those to be forgotten this often within
	 * their time, in steps of so many slots and deletions with a pause between. */
	SHARD_EXPIRY_ROUNDS = 8,
	SHARD_EXPIRY_ROUND_MIN_MS = 50,
	SHARD_EXPIRY_ROUND_MAX_MS = 60 * 1000,
	SHARD_FORGET_SLOTS = 1024,
	SHARD_FORGET_MAX = 256,
	SHARD_FORGET_PAUSE_MS = 10,
	SHARD_DISK_CHECK_MS = 500,
	SHARD_RETENTION_CHECK_MS = 1000,	/* when nothing else is said */
	SHARD_CLOCK_STEP_MS = 60 * 1000,	/* a wall clock further ahead at once is in doubt */
	SHARD_RETENTION_CUTS = 16,	/* asked of the volumes' readers at a time */
	/* Partitions that rested are looked at in portions with a pause between. */
	SHARD_RETENTION_WAKE = 256,
	SHARD_RETENTION_PAUSE_MS = 5,
	SHARD_RETENTION_RETRY_MS = 10 * 1000,	/* after a cut that could not be made */
	SHARD_RETENTION_OVERDUE = 8,	/* a mixed entry overdue by t is seen again in t / 8 */
	SHARD_STATE_CHANGED_MS = 1000,	/* changed rows are written after this */
	SHARD_STATE_IDLE_MS = 30000,	/* the applied index alone after this */
	/* A write that failed is repeated after SHARD_STATE_CHANGED_MS, and after twice as
	 * long each further time, so often. */
	SHARD_STATE_RETRY_DOUBLINGS = 6,
	SHARD_EXPORT_INTERVAL_MS = 60 * 1000,	/* when nothing else is said */
	/* Copied for the state file at a time; a shard that has more goes alone. */
	SHARD_JOB_TARGET = 8 << 20,
};

/* Recovers: catalogue and rows from the state and the log after it, positions from
 * the volume. Errors as volume_replay, or ERR_CORRUPT, ERR_NOMEM. */
enum err shard_core_new(const struct shard_options *o, struct shard_core **out,
			struct err_detail *d) MUST_CHECK;
/* The volume runs: writes entry 1 of every shard that has none, starts the
 * thread. */
enum err shard_core_start(struct shard_core *core, struct err_detail *d) MUST_CHECK;
/* Completes what waits, returns watches, writes the state. From then on the
 * volume and the state are not used any more, and the thread only refuses. */
void shard_core_close(struct shard_core *core);
/* After close (or without start): ends the thread. Nothing may come any more;
 * partitions that others hold stay valid. */
void shard_core_free(struct shard_core **core);

/* ---- any thread, between start and free -------------------------------- */

const struct catalog *shard_core_catalog(struct shard_core *core);
struct store_partition *shard_core_partition(struct shard_core *core, struct store_part part);
void shard_core_append(struct shard_core *core, struct store_append *op);
void shard_core_command(struct shard_core *core, struct store_command *op);
void shard_core_read(struct shard_core *core, struct store_read *op);
void shard_core_seek(struct shard_core *core, struct store_seek *op);
void shard_core_watch(struct store_watch *w);
void shard_core_trim(struct shard_core *core, struct store_trim *op);
/* Brings the state up to date and writes an export, whatever the time: for backups.
 * err: ERR_OK, ERR_FULL, ERR_NOMEM, ERR_STOPPING, ERR_CORRUPT (the state), ERR_INVALID
 * (none are made). */
struct shard_export {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	enum err err;
	struct shard_export *next;	/* private */
	void *inner;			/* private */
};
void shard_core_export(struct shard_core *core, struct shard_export *op);
void shard_core_rows_write(struct shard_core *core, struct store_rows_write *op);
void shard_core_rows_scan(struct shard_core *core, struct store_rows_scan *op);

#endif
