#ifndef STORE_VOLUME_VOLUME_PRIV_H
#define STORE_VOLUME_VOLUME_PRIV_H

/* The folder's own view of a volume.
 *
 * A segment is ACTIVE (the writer appends), then CLOSED (full, waits for its
 * .idx), then SEALED. Active and closed ones keep their LMDB file open and their
 * index in memory; of the sealed ones a bounded number is open, least recently
 * used ones are closed when nobody holds them. */

#include <stdatomic.h>

#include "store/volume/env.h"
#include "store/volume/manifest.h"
#include "store/volume/table.h"

enum segment_state { SEGMENT_ACTIVE, SEGMENT_CLOSED, SEGMENT_SEALED };

struct segment {
	struct msg msg;			/* posted to the sealer */
	struct volume *volume;
	uint32_t at;			/* place in volume->segments */
	uint64_t number;
	bool is_cleaned;		/* cNNNNNNNNNN: numbers of their own */
	uint8_t uuid[IDX_UUID];
	uint64_t first_log_no;
	uint64_t next_log_no;
	/* Guarded by the volume's lock once threads run. */
	enum segment_state state;
	struct env *env;		/* NULL: not open */
	int idx_fd;			/* -1: none */
	uint32_t holds;			/* who uses env and idx_fd now */
	bool is_opening;
	bool is_verified;		/* the whole-file checksum was right */
	bool is_damaged;		/* it was not: nothing of the .mdb is used */
	uint64_t damage_told;		/* log number + 1 of the last damaged record logged */
	struct index *index;		/* NULL once sealed */
	struct idx_head idx;		/* valid once sealed */
	struct segment *newer;		/* least-recently-used list of open sealed ones */
	struct segment *older;
	bool in_list;
	uint64_t file_bytes;		/* .mdb and .idx; about, until it is sealed */
	uint64_t live_bytes;		/* payload of the table's extents in it */
	/* The table's extents of partitions in it. One may be without live bytes: a cover
	 * of which nothing is left still hides what older segments hold of its range, so a
	 * segment may be removed only when it has none. */
	uint32_t n_extents;
	bool is_going;			/* of a segment_replace under way */
	bool is_removed;		/* no extent names it; freed when nobody holds it */
	bool is_new;			/* cleaned, being written: not in the table yet */
	bool is_posted;			/* its message is with the sealer: it must not go */
	/* The cleaner's own. */
	uint64_t payload_1;		/* 1 + payload of a cleaned one when new; 0: not known */
	bool is_kept;			/* damage was found in it: it is left alone */
};


enum { VOLUME_READERS = 2 };

/* Requests that either reader may take, one at a time. */
struct read_queue {
	struct lock lock;		/* rank 90 */
	struct cond cond;
	struct msg *head;
	struct msg *tail;
	bool is_stopping;
};

struct reader {
	struct volume *volume;
	enum env_slot slot;
	pthread_t thread;
};

struct volume {
	uint32_t magic;
	struct volume_options options;
	char *root;			/* the volume's directory */
	char *dir;			/* .../segments */
	uint64_t map_bytes;

	struct lock lock;		/* rank 30: segments, indexes, tables, the list */
	struct cond opened;		/* is_opening became false */
	struct segment **segments;	/* NULL: a place that is free again */
	size_t n_segments;
	size_t cap_segments;
	size_t n_free;
	struct table table;
	struct segment *newest;		/* open sealed segments by last use */
	struct segment *oldest;
	uint32_t n_open;
	uint64_t *floors;		/* per shard: volume_set_floor */
	uint64_t disk_bytes;		/* file_bytes of all segments */
	uint32_t pins;
	bool is_replacing;		/* segment_replace is between its two halves */
	struct cond replaced;		/* is_replacing became false */
	/* The cleaner and the scrubber wait here; broadcast when volume_stop wants them to
	 * end and by cleaner_wake. */
	struct cond wake;
	bool has_work;			/* cleaner_wake was called; the cleaner clears it */
	uint64_t clean_rounds;		/* of the cleaner, ended */
	bool has_stopped;		/* guarded, as is_stopping: they are to end */

	/* What is on the disk: volume_open's, then the cleaner's. manifest.next_cleaned is
	 * the number of the next cleaned segment. */
	struct manifest manifest;
	/* Log segments from this number on are newer than any segment that is lost without a
	 * trace; 0: none is. Set at open. */
	uint64_t known_from;

	/* The writer's own once it runs, volume_open's before. */
	struct segment *active;
	uint64_t next_log_no;
	uint64_t used_bytes;
	uint64_t next_number;		/* of the next log segment */
	bool active_is_fresh;		/* holds its head only: takes a group of any size */
	uint64_t *next_index;		/* per shard: raft index of the next entry, 0 = any */
	struct msg *pending;		/* taken from the mailbox, not yet written */
	struct msg *pending_last;

	struct mailbox writer_box;
	struct mailbox sealer_box;
	struct read_queue queue;
	struct reader readers[VOLUME_READERS];
	pthread_t writer_thread;
	pthread_t sealer_thread;
	pthread_t cleaner_thread;
	pthread_t scrubber_thread;
	uint32_t threads;		/* which of them run */
	atomic_bool is_stopping;
	struct msg writer_stop;
	struct msg sealer_stop;
};

enum { VOLUME_MAGIC = 0x564f4c31 };

/* ---- segment.c --------------------------------------------------------- */

struct segment *segment_new(struct volume *v, uint64_t number);	/* NULL: no memory */
void segment_free(struct segment **s);	/* closes what is open */
/* To a place of the table, which then owns it. ERR_NOMEM: still the caller's. */
enum err segment_add(struct volume *v, struct segment *s) MUST_CHECK;
enum { SEGMENT_PATH = 4096 };
void segment_path(const struct volume *v, uint64_t number, const char *suffix,
		  char out[SEGMENT_PATH]);
/* The same for a segment of either kind (cNNNNNNNNNN). */
void segment_file(const struct segment *s, const char *suffix, char out[SEGMENT_PATH]);
/* Makes env and, for a sealed one, idx_fd usable until segment_drop; opens and
 * verifies when needed. ERR_CORRUPT when the file is damaged. Blocks. */
enum err segment_hold(struct segment *s, struct err_detail *d) MUST_CHECK;
void segment_drop(struct segment *s);
/* The same in two steps, for who finds the segment under the lock: from the claim on it
 * does not go away. When segment_open fails the claim is given up. */
void segment_claim_locked(struct segment *s);
enum err segment_open(struct segment *s, struct err_detail *d) MUST_CHECK;
/* With the lock held: segment_add, and back. */
enum err segment_add_locked(struct volume *v, struct segment *s) MUST_CHECK;
void segment_take_out_locked(struct segment *s);
void segment_unlist_locked(struct segment *s);
/* A removed one that nobody holds: its files and itself go. Not under the lock. */
void segment_discard(struct segment **s);
uint64_t segment_idx_bytes(const struct idx_head *h);	/* of the whole .idx */
/* Its files are so large now. */
void segment_set_bytes_locked(struct segment *s, uint64_t bytes);
/* "0000000001" or "c0000000001", for log lines. */
struct segment_name {
	char text[24];
};
struct segment_name segment_name(const struct segment *s);
/* The sealed segment counts as open and most recently used. */
void segment_list_locked(struct segment *s);
/* Closes the least recently used beyond the bound. Not under the lock. */
void segment_evict(struct volume *v);
/* Logs a damaged record, once for each. */
void segment_tell_damage(struct segment *s, uint64_t log_no, const char *what);
/* Writes the .idx from `ix` (and of a cleaned segment its covers, else NULL), opens and
 * checks it. `head` comes with the size and checksum of the .mdb. */
enum err segment_write_idx(struct segment *s, const struct index *ix,
			   const struct idx_covers *covers, struct idx_head *head, int *fd,
			   struct err_detail *d) MUST_CHECK;
/* The .idx of a held sealed segment proved damaged: makes it anew from the .mdb. */
enum err segment_repair_idx(struct segment *s, enum env_slot slot, struct err_detail *d) MUST_CHECK;

/* ---- replacing, for the cleaner (replace.c) ------------------------------------ */

/* Puts a finished cleaned segment (its .mdb and .idx synced, s->idx and s->uuid set,
 * is_new) in the place of everything its covers name: one MANIFEST write in which it
 * appears and `gone` (n_gone sealed segments of which afterwards nothing is used)
 * disappear, then the tables change under the lock, then the files of `gone` are
 * unlinked, or when their last reader drops them. `s` NULL: only removes. Takes `s`.
 * After it a gone segment must be without extents (n_extents).
 * The caller has already moved the raft log start past `gone` (volume_raise_log_start)
 * and holds nothing of `gone`. Blocks. ERR_NOMEM, ERR_FULL, and ERR_BUSY when there is a
 * pin: nothing changed, `s` and its files are still the caller's. ERR_IO: the caller ends
 * the process. Cleaner thread only. */
enum err segment_replace(struct volume *v, struct segment *s, const struct record_cover *covers,
			 const uint64_t *bytes, size_t n_covers, struct segment *const *gone,
			 size_t n_gone, struct err_detail *d) MUST_CHECK;
/* Makes durable that the log of the shards begins past these segments; waits for the
 * writer. ERR_BUSY: a shard's floor (volume_set_floor) does not allow it. */
enum err volume_raise_log_start(struct volume *v, struct segment *const *gone, size_t n_gone,
				struct err_detail *d) MUST_CHECK;
/* The term of the shard's last entry in a sealed segment, which must have this index, as
 * its .idx tells. ERR_CORRUPT. */
enum err segment_last_term(const struct segment *s, uint32_t shard, uint64_t index,
			   uint64_t *term, struct err_detail *d) MUST_CHECK;
/* What is there now, of the next generation. volume_open and segment_replace only. */
enum err manifest_of(struct volume *v, uint64_t base, uint64_t next_cleaned,
		     struct manifest *out) MUST_CHECK;
/* Whether the floors allow that the segment's log goes. */
bool segment_is_below_floor_locked(const struct segment *s);

/* ---- clean.c, compact.c: the cleaner's thread -------------------------------- */

void *cleaner_main(void *volume);
void cleaner_wake(struct volume *v);	/* any thread: there may be something to do */

/* ---- scrub.c ------------------------------------------------------------------- */

void *scrubber_main(void *volume);

/* ---- create.c ------------------------------------------------------------ */

/* Makes the next segment file with its head and every shard's hard state, durable,
 * adds it and makes it the active one. */
enum err segment_create(struct volume *v, struct err_detail *d) MUST_CHECK;
/* What a record of this size takes in a segment, at most. */
uint64_t segment_cost(uint64_t record_bytes);

/* ---- walk.c ------------------------------------------------------------ */

enum { WALK_PAYLOADS = 1 };
/* Reads every record of an open segment file in order. Head checked; with
 * WALK_PAYLOADS payloads too, whose damage is told but does not end the walk. */
typedef enum err walk_fn(void *arg, const struct record *r);
enum err walk_records(struct env *env, enum env_slot slot, unsigned flags, walk_fn *fn, void *arg,
		      struct err_detail *d) MUST_CHECK;
/* Walks the file in a child process first. ERR_CORRUPT: that ended the child.
 * *sound: the child found nothing wrong at all. */
typedef bool walk_child_fn(const char *path);
enum err walk_in_child(const char *path, walk_child_fn *fn, bool *sound,
		       struct err_detail *d) MUST_CHECK;
walk_child_fn walk_segment_is_sound;
/* Builds a segment's index, record by record. Truncations reach into the first
 * `n_earlier` segments too. ERR_INVALID: of another store or shard count. */
struct walk_index {
	struct volume *volume;
	uint32_t n_earlier;
	uint64_t number;		/* the segment's, as its file name says */
	bool is_cleaned;
	struct index *index;		/* being filled */
	bool has_head;
	struct record_segment head;
	uint64_t first_log_no;
	uint64_t next_log_no;
	bool has_covers;		/* of a cleaned segment */
	struct record_cover *covers;	/* own: walk_index_fini */
	uint32_t n_covers;
};
walk_fn walk_index_record;
void walk_index_fini(struct walk_index *w);

/* ---- reader.c, seek.c ---------------------------------------------------- */

/* Rows of one segment, which stays held until reader_rows_done. */
enum { READER_ROWS = 32 };
struct reader_rows {
	struct segment *segment;
	struct index_row v[READER_ROWS];
	size_t n;
};
/* The next rows of the partition that reach past *from, from the first that matches on
 * (by sequence number: any). *from rises to the partition's start, and past extents that
 * have no such row. All lie in one extent, and in its range. ERR_EOF: there are none. */
enum err reader_rows_find(struct reader *rd, struct store_part part, const struct index_query *q,
			  int64_t *from, struct reader_rows *rows) MUST_CHECK;
void reader_rows_done(struct reader_rows *rows);
/* An entry's record; its memory is good until env_read_end. */
enum err reader_record(struct segment *s, MDB_txn *txn, uint64_t log_no,
		       struct record *r) MUST_CHECK;
enum err reader_seek(struct reader *rd, struct volume_seek *op) MUST_CHECK;
enum err reader_cut(struct reader *rd, struct volume_cut *op) MUST_CHECK;	/* cut.c */

/* ---- recover.c ----------------------------------------------------------- */

enum err volume_recover(struct volume *v, struct err_detail *d) MUST_CHECK;

/* ---- threads ------------------------------------------------------------- */

void *writer_main(void *volume);
void *sealer_main(void *volume);
void *reader_main(void *reader);
void sealer_post(struct segment *s);
/* Answered when all that was posted before is sealed, or could not be. */
void sealer_post_roll(struct volume *v, struct volume_roll *r);
/* Writes for each shard the present hard state with this log start, where that is a
 * later one, and waits until it is durable. Not the writer's thread. */
struct log_start {
	uint64_t index;		/* 0: as it is */
	uint64_t term;		/* of index - 1 */
};
void writer_raise(struct volume *v, const struct log_start *starts);
void sealer_post_stop(struct volume *v);
void writer_post_stop(struct volume *v);
void read_queue_init(struct read_queue *q);
void read_queue_fini(struct read_queue *q);
void read_queue_stop(struct read_queue *q);

#endif
