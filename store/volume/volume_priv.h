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
#include "store/volume/table.h"

enum segment_state { SEGMENT_ACTIVE, SEGMENT_CLOSED, SEGMENT_SEALED };

struct segment {
	struct msg msg;			/* posted to the sealer */
	struct volume *volume;
	uint32_t at;			/* place in volume->segments */
	uint64_t number;
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
	char *dir;			/* .../segments */
	uint64_t map_bytes;

	struct lock lock;		/* rank 30: segments, indexes, tables, the list */
	struct cond opened;		/* is_opening became false */
	struct segment **segments;	/* by number; NULL never */
	size_t n_segments;
	size_t cap_segments;
	struct table table;
	struct segment *newest;		/* open sealed segments by last use */
	struct segment *oldest;
	uint32_t n_open;

	/* The writer's own once it runs, volume_open's before. */
	struct segment *active;
	uint64_t next_log_no;
	uint64_t used_bytes;
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
	uint32_t threads;		/* started, in the order writer, sealer, readers */
	atomic_bool is_stopping;
	struct msg writer_stop;
	struct msg sealer_stop;
};

enum { VOLUME_MAGIC = 0x564f4c31 };

/* ---- segment.c --------------------------------------------------------- */

struct segment *segment_new(struct volume *v, uint64_t number);	/* NULL: no memory */
void segment_free(struct segment **s);	/* closes what is open */
/* At the end of the table, which then owns it. ERR_NOMEM: still the caller's. */
enum err segment_add(struct volume *v, struct segment *s) MUST_CHECK;
enum { SEGMENT_PATH = 4096 };
void segment_path(const struct volume *v, uint64_t number, const char *suffix,
		  char out[SEGMENT_PATH]);
/* Makes env and, for a sealed one, idx_fd usable until segment_drop; opens and
 * verifies when needed. ERR_CORRUPT when the file is damaged. Blocks. */
enum err segment_hold(struct segment *s, struct err_detail *d) MUST_CHECK;
void segment_drop(struct segment *s);
/* The sealed segment counts as open and most recently used. */
void segment_list_locked(struct segment *s);
/* Closes the least recently used beyond the bound. Not under the lock. */
void segment_evict(struct volume *v);
/* Logs a damaged record, once for each. */
void segment_tell_damage(struct segment *s, uint64_t log_no, const char *what);
/* Writes the .idx from `ix`, opens and checks it. `head` comes with the size and
 * checksum of the .mdb. */
enum err segment_write_idx(struct segment *s, const struct index *ix, struct idx_head *head,
			   int *fd, struct err_detail *d) MUST_CHECK;
/* The .idx of a held sealed segment proved damaged: makes it anew from the .mdb. */
enum err segment_repair_idx(struct segment *s, enum env_slot slot, struct err_detail *d) MUST_CHECK;

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
	struct index *index;		/* being filled */
	bool has_head;
	struct record_segment head;
	uint64_t first_log_no;
	uint64_t next_log_no;
};
walk_fn walk_index_record;

/* ---- reader.c, seek.c ---------------------------------------------------- */

/* Rows of one segment, which stays held until reader_rows_done. */
enum { READER_ROWS = 32 };
struct reader_rows {
	struct segment *segment;
	struct index_row v[READER_ROWS];
	size_t n;
};
/* The next rows of the partition from the first that matches, from extent
 * *extent on (SIZE_MAX: chosen by the query). ERR_EOF: there are none. */
enum err reader_rows_find(struct reader *rd, struct store_part part, const struct index_query *q,
			  size_t *extent, struct reader_rows *rows) MUST_CHECK;
void reader_rows_done(struct reader_rows *rows);
/* An entry's record; its memory is good until env_read_end. */
enum err reader_record(struct segment *s, MDB_txn *txn, uint64_t log_no,
		       struct record *r) MUST_CHECK;
enum err reader_seek(struct reader *rd, struct volume_seek *op) MUST_CHECK;

/* ---- recover.c ----------------------------------------------------------- */

enum err volume_recover(struct volume *v, struct err_detail *d) MUST_CHECK;

/* ---- threads ------------------------------------------------------------- */

void *writer_main(void *volume);
void *sealer_main(void *volume);
void *reader_main(void *reader);
void sealer_post(struct segment *s);
void sealer_post_stop(struct volume *v);
void writer_post_stop(struct volume *v);
void read_queue_init(struct read_queue *q);
void read_queue_fini(struct read_queue *q);
void read_queue_stop(struct read_queue *q);

#endif
