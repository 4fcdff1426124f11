#ifndef STORE_VOLUME_VOLUME_H
#define STORE_VOLUME_VOLUME_H

/* A volume: one directory on one disk with one writer.
 *
 *   segments/NNNNNNNNNN.mdb   LMDB file (no subdirectory): log number -> record
 *   segments/NNNNNNNNNN.idx   written when the segment is sealed
 *   segments/cNNNNNNNNNN.*    the same for a cleaned segment: what the cleaner kept
 *                             of others, numbered on its own
 *   MANIFEST, MANIFEST.copy   which segments there are (manifest.h)
 *
 * Log numbers are dense over the whole volume, keys are big-endian u64 put with
 * MDB_APPEND. A record is (big-endian):
 *
 *   0 u32 CRC-32C over bytes 4 .. head length
 *   4 u8  kind: 1 entry, 2 hard state, 3 truncation, 4 segment head, and in
 *         cleaned segments 5 batches, 6 covers
 *   5 u8  format version, 1
 *   6 u16 flags, 0
 *   8 u32 head length: this head, the command descriptors and their keys
 *  12 u32 shard (segment head: 0)
 *  16 u64 term
 *  24 u64 raft index (dense per shard, from 1)
 *  32 u64 log number
 *  40 u32 total length of the record
 *  44 u32 number of commands
 *  48     descriptors, each 60 bytes followed by its key:
 *         u8 kind, u8 encoding, u16 key length, u32 hub id, u32 partition,
 *         u32 count, u64 base sequence number, i64 append time (ms),
 *         i64 max record timestamp (ms), u32 position of the payload in the
 *         record, u32 its length, u32 its CRC, u64 reserved 0
 *  then the payloads, one after another
 *
 * A batch's payload CRC is the one inside the RecordBatch (bytes 21..end); the
 * 21 bytes before are checked field by field against the descriptor. Any other
 * payload's CRC is over all of it. So head CRC and payload CRC cover each byte.
 *
 * One writer thread takes everything queued, writes it in one transaction and
 * syncs once. A write or sync error ends the process with one line. Two reader
 * threads answer reads; their LMDB transactions never outlive a copy. */

#include <stdbool.h>

#include "store/types.h"

struct volume;

enum volume_kind {
	VOLUME_BATCH = 1,		/* events of a partition */
	VOLUME_CATALOG = 2,		/* a catalogue command */
	VOLUME_CONFIGURATION = 3,	/* raft membership; index 1 of every shard */
	VOLUME_BARRIER = 4,		/* empty, marks a new term */
	VOLUME_ROWS = 5,		/* changed rows of the shard's state */
};

struct volume_command {
	enum volume_kind kind;
	enum batch_encoding encoding;	/* batches only, else 0 */
	struct store_part part;		/* batches only, else 0 */
	uint32_t count;
	int64_t base_seq;
	int64_t append_ms;
	int64_t max_timestamp_ms;
	struct span payload;
	struct span key;
};

/* One log entry to be written. The caller keeps the struct, its commands and
 * what they point to unchanged until `done` runs (posted to reply_to, in order
 * of submission, after the sync). */
struct volume_entry {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	uint32_t shard;
	uint64_t term;
	uint64_t index;
	const struct volume_command *commands;
	uint32_t n_commands;
	uint64_t log_no;	/* result */
};

/* A shard's durable raft state. */
struct volume_hard_state {
	uint32_t shard;
	uint64_t term;
	uint64_t vote;		/* node id, 0 = none */
	uint64_t log_start;	/* first raft index still kept */
	uint64_t start_term;	/* of index log_start - 1; 0: there was none */
};

/* As volume_entry, for a hard state: durable when `done` runs. */
struct volume_hard_state_op {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct volume_hard_state state;
};

struct volume_options {
	const char *dir;		/* exists, is locked by the caller */
	uint8_t store_uuid[16];
	uint32_t shards;
	uint64_t node_id;		/* voted for when a shard is founded, term 1 */
	uint64_t segment_max_bytes;	/* 0: 256 MiB */
	uint64_t commit_max_bytes;	/* one transaction, 0: 2 MiB */
	uint32_t open_segments_max;	/* sealed segments mapped at a time, 0: 64 */
	bool was_unclean;		/* first walk the active segment in a child process */
	bool may_lack_manifest;		/* founding, or of a format that had none: it is made */
	const struct store_compactor *compactor;	/* kept; NULL: nothing is compacted */
	int64_t tombstone_ms;		/* 0: one day */
	uint64_t compaction_memory;	/* 0: 64 MiB */
	uint64_t clean_rate;		/* bytes per second copied, 0: 128 MiB */
	int64_t clean_pause_ms;		/* between two looks at what there is to clean, 0: 5 s */
	int64_t scrub_period_ms;	/* 0: no scrubber */
};

/* Opens, recovers, founds when empty. Errors: ERR_CORRUPT (named file), ERR_IO,
 * ERR_FULL, ERR_VERSION (record format newer than this program), ERR_INVALID
 * (other store UUID or shard count). No threads run yet. */
enum err volume_open(const struct volume_options *o, struct volume **out,
		     struct err_detail *d) MUST_CHECK;
/* After open, before start: what the disk holds. */
struct volume_range {
	struct store_part part;
	int64_t first_seq;
	int64_t next_seq;
	int64_t last_append_ms;
	int64_t max_timestamp_ms;
	uint64_t bytes;
};
typedef void volume_range_fn(void *arg, const struct volume_range *r);
void volume_ranges(struct volume *v, volume_range_fn *fn, void *arg);
/* False: a segment is lost without a trace, so the partition may have had more events
 * than its range tells: their sequence numbers must not be given out again. */
bool volume_end_is_known(struct volume *v, struct store_part part);
struct volume_shard_info {
	struct volume_hard_state hard;
	uint64_t first_index;	/* 0: none */
	/* Of the newest entry; log_start - 1 and start_term when the cleaner removed it. */
	uint64_t last_index;
	uint64_t last_term;
};
void volume_shard_info(struct volume *v, uint32_t shard, struct volume_shard_info *out);
/* Calls fn for every command of kind != VOLUME_BATCH of `shard` with raft index
 * > after, in order. An error of fn ends the walk and is returned. ERR_CORRUPT also when
 * entries after it are gone. */
typedef enum err volume_replay_fn(void *arg, uint64_t index, uint64_t term,
				  const struct volume_command *c);
enum err volume_replay(struct volume *v, uint32_t shard, uint64_t after, volume_replay_fn *fn,
		       void *arg, struct err_detail *d) MUST_CHECK;

/* Starts the writer, readers, and in the background the sealer, the cleaner and the
 * scrubber. */
enum err volume_start(struct volume *v, struct err_detail *d) MUST_CHECK;
/* Completes what was posted, seals nothing, joins threads, frees. */
void volume_stop(struct volume **v);

/* ---- any thread ------------------------------------------------------- */

void volume_append(struct volume *v, struct volume_entry *e);
void volume_set_hard_state(struct volume *v, struct volume_hard_state_op *op);

/* Read batches of a partition from the one that holds `from` (or, when that is
 * gone, the next later one), up to max_bytes but at least one batch, all below
 * `limit`. Answered by a reader thread; every batch's checksums are verified.
 * err: ERR_OK (maybe n = 0: nothing in [from, limit)), ERR_CORRUPT, ERR_NOMEM,
 * ERR_IO. A read that has batches already ends before the trouble with ERR_OK. */
struct volume_read {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_part part;
	int64_t from;
	int64_t limit;
	uint32_t max_bytes;
	enum err err;
	struct store_batches out;
};
void volume_read(struct volume *v, struct volume_read *r);

/* Finds a batch below `limit`; its first sequence number in `seq`, else seq =
 * limit. Batches count as below it when all of them is.
 * APPEND_TIME: the first whose append time is greater than after_ms (or >=, when
 * inclusive); TIMESTAMP: the first with a record of timestamp >= after_ms;
 * MAX_TIMESTAMP: the first that holds the greatest timestamp. */
enum volume_seek_by { VOLUME_SEEK_APPEND_TIME, VOLUME_SEEK_TIMESTAMP, VOLUME_SEEK_MAX_TIMESTAMP };
struct volume_seek {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_part part;
	enum volume_seek_by by;
	int64_t after_ms;
	bool inclusive;			/* APPEND_TIME only */
	int64_t limit;
	enum err err;
	int64_t seq;
};
void volume_seek(struct volume *v, struct volume_seek *s);

/* Where a partition is to be cut for what its hub retains: the first sequence
 * number, below `limit` or `limit` itself, of which the rest is no longer older than
 * before_ms (INT64_MIN: no bound) and no more than keep_bytes of payload (UINT64_MAX:
 * no bound), whichever keeps less. To the entry: what one entry holds of a partition
 * is kept or cut as a whole. Answered by a reader thread. err: ERR_OK, ERR_BUSY (what
 * was counted changed time and again: ask later), ERR_NOMEM, ERR_IO. A damaged segment
 * stays until all of it is to go. */
struct volume_cut {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	struct store_part part;
	int64_t limit;
	int64_t before_ms;
	uint64_t keep_bytes;
	enum err err;
	int64_t seq;		/* at least the partition's present start */
	int64_t first_ms;	/* append time of the first event kept; INT64_MAX: none is */
	uint64_t bytes;		/* payload in [seq, limit) */
};
void volume_cut(struct volume *v, struct volume_cut *c);

/* ---- space: any thread, from volume_open on --------------------------------- */

/* The caller has made durable that nothing below first_seq is read any more.
 * Memory only: to be told again after each open. */
void volume_set_start(struct volume *v, struct store_part part, int64_t first_seq);
/* Nothing of the partition is read any more, its hub is gone. As volume_set_start. */
void volume_set_gone(struct volume *v, struct store_part part);
/* Whether the newest event of each key is all that is kept of the partition. Memory
 * only, to be told after each open; default no. */
void volume_set_compact(struct volume *v, struct store_part part, bool is_compacted);
/* The shard's log up to this raft index is not needed for its state any more, which
 * two exports have. Memory only; 0 at open. */
void volume_set_floor(struct volume *v, uint32_t shard, uint64_t index);
/* Bytes of all files below segments/, about. */
uint64_t volume_disk_bytes(struct volume *v);
/* While pins are held no file is removed and no segment replaced. Counted. */
void volume_pin(struct volume *v);
void volume_unpin(struct volume *v);
/* Closes the active segment, unless it holds its head only, and answers when all
 * closed segments are sealed. err: ERR_OK, ERR_STOPPING, or why one cannot be. */
struct volume_roll {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	enum err err;
	uint64_t end;			/* result: log segments from this number on are not of it */
	struct volume_roll *next;	/* private */
};
void volume_roll(struct volume *v, struct volume_roll *r);
/* Calls fn for each sealed segment's files and the MANIFEST: path below the volume's
 * directory, size, CRC-32C of the whole; of an .mdb those that it should have, if it is
 * damaged or lost. Under a pin they stay. `fn` on the caller's thread; an error of fn
 * ends it. Reads the .idx files. */
typedef enum err volume_file_fn(void *arg, const char *path, uint64_t size, uint32_t crc);
enum err volume_files(struct volume *v, volume_file_fn *fn, void *arg,
		      struct err_detail *d) MUST_CHECK;

/* Size of the record a list of commands makes; UINT64_MAX when it cannot. */
uint64_t volume_entry_size(const struct volume_command *commands, uint32_t n);

#endif
