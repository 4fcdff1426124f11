#ifndef STORE_SHARD_SHARD_PRIV_H
#define STORE_SHARD_SHARD_PRIV_H

/* Objects of the shard core. Functions named _core run on the shard core thread
 * only (or before it starts and after it ended); _locked needs the partition's
 * lock. */

#include <assert.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "base/lock.h"
#include "store/shard/shard.h"
#include "store/volume/export.h"
#include "store/volume/state.h"
#include "store/volume/volume.h"

/* A batch in the recent-entry cache. */
struct shard_recent {
	struct buf *buf;	/* one reference; the key follows the batch */
	int64_t base_seq;
	int64_t append_ms;
	uint32_t len;
	uint32_t key_len;
	uint32_t count;
	enum batch_encoding encoding;
};

/* The idempotent producers of a partition as proposed: what the entries in
 * flight will make them. Core thread only. */
struct shard_producer;
struct shard_producers {
	struct shard_producer **slots;	/* n_slots is 0 or a power of two */
	size_t n_slots;
	size_t n;
	uint64_t seed;
	struct shard_producer *oldest;	/* silent the longest */
	struct shard_producer *newest;
};

/* What a partition's hub keeps, and what is known of its oldest event. Core thread
 * only. */
#define SHARD_OLDEST_UNKNOWN INT64_MIN
#define SHARD_OLDEST_NONE INT64_MAX
struct shard_retained {
	int64_t keep_ms;	/* 0: for ever */
	uint64_t keep_bytes;	/* 0: no bound */
	int64_t oldest_ms;	/* append time of the first retained event, or as above */
	uint64_t appended;	/* payload bytes that became durable since the start */
	int64_t stuck_seq;	/* at this end no cut brought it below keep_bytes */
	bool is_rough;		/* position.bytes counts some that are below first_seq */
	bool is_busy;		/* being cut, or at rest after it: not in the heap */
	size_t place;		/* in the heap, from 1; 0: it is not in it */
	int64_t due_ms;		/* its key there */
	struct store_partition *next_resting;
	int64_t rest_ns;	/* at least until then */
};

/* More events than any lost segments held; far from the end of the numbers. */
#define SHARD_LOST_LEAP ((int64_t)1 << 40)

enum { PARTITION_MAGIC = 0x70a27141 };

struct store_partition {
	unsigned magic;
	atomic_uint refs;
	struct store_part part;
	struct shard *shard;

	/* Core thread only. */
	struct store_append *pending_first;	/* arrived, not yet proposed; by msg.next */
	struct store_append *pending_last;
	struct store_partition *next_dirty;	/* in the shard's list while something is pending */
	int64_t proposed_seq;	/* next to give out */
	int64_t proposed_ms;	/* last append time given out */
	bool is_gone;		/* as `deleted`, without the lock */
	uint32_t n_fifo;	/* places in the cache's queue; > 0: it holds a reference */
	uint32_t n_stale;	/* of those, oldest first, whose batch is gone already */
	struct shard_producers producers;
	struct shard_retained retained;
	bool is_compacted;	/* as the volume was told */

	struct lock lock;	/* rank 40, guards what follows; the ring is changed by the core only */
	struct store_position position;
	bool is_stopping;
	struct store_watch *watches;
	struct shard_recent *ring;	/* ring_cap is 0 or a power of two */
	uint32_t ring_cap;
	uint32_t ring_at;
	uint32_t ring_n;
};

/* A row of the shard's state (store_rows_write and the producers) as applied.
 * Core thread only. */
struct shard_row {
	struct shard_row *next;		/* in its slot */
	struct shard_row *next_dirty;	/* differs from the state file */
	bool is_dirty;
	bool is_deleted;		/* stays until the state file knows it */
	uint8_t kind;
	uint16_t key_len;
	uint32_t content_len;
	uint8_t *content;		/* own block; NULL when deleted or empty */
	uint8_t key[];
};
struct shard_rows {
	struct shard_row **slots;	/* any number of them */
	size_t cap;
	size_t n_slots;
	size_t n;
	uint64_t seed;
	struct shard_row *dirty;
};

/* What one VOLUME_ROWS command changes, prepared so that applying it cannot
 * fail. */
struct shard_rows_change;
/* The change took effect, or (e) did not: gives it up. */
typedef void shard_rows_end_fn(struct shard *s, struct shard_rows_change *c, enum err e);
struct shard_rows_change {
	struct shard_rows_change *next;	/* waiting */
	shard_rows_end_fn *end;		/* NULL: the producers of an entry, which keeps it */
	struct store_rows_write *op;	/* of a write */
	struct shard_row *first;	/* in order, by next; go into the table */
	struct shard_row *last;
	uint8_t *payload;		/* own block */
	size_t payload_cap;
	size_t size;			/* of the payload, at most until it is sealed */
};

/* What one command of an entry answers. */
struct shard_item {
	struct store_partition *partition;	/* kept alive by the operations */
	struct buf *buf;			/* one reference */
	struct store_append *first;		/* by msg.next */
	uint32_t events;
	uint32_t key_len;
	struct shard_rows_change *rows;		/* of a VOLUME_ROWS command, instead */
};

struct shard_entry {
	struct volume_entry out;	/* first: found from its message */
	struct shard *shard;
	bool is_used;
	uint64_t size;			/* of the record */
	struct volume_command *commands;
	size_t commands_cap;
	struct shard_item *items;	/* one per command */
	size_t items_cap;
	uint32_t n;
	struct shard_rows_change producers;	/* those it advances and forgets; its last command */
};

/* Room on one volume. It is looked at now and then; between two looks what is
 * taken counts against the room there was, so that a fast writer cannot outrun the
 * look. Core thread only. */
struct shard_disk {
	struct volume *volume;		/* NULL: cannot be used */
	const char *dir;
	bool is_full;
	uint64_t waiting_bytes;		/* of appends and rows that are not answered yet */
	uint64_t room_bytes;		/* above the reserve and below the bound, at the last look */
	uint64_t taken_bytes;		/* taken since then */
};

struct shard {
	struct shard_core *core;
	struct volume *volume;		/* NULL: cannot be used, everything is ERR_OFFLINE */
	struct shard_disk *disk;
	uint32_t number;
	uint64_t term;
	uint64_t proposed_index;
	uint64_t applied_index;
	uint64_t applied_term;
	struct shard_entry entries[SHARD_IN_FLIGHT];
	struct shard_rows rows;
	uint32_t n_in_flight;
	struct store_partition *dirty_first;
	struct store_partition *dirty_last;
	struct shard_rows_change *rows_first;	/* writes that wait, by next */
	struct shard_rows_change *rows_last;
	bool is_rows_turn;		/* before the next batch */
	bool is_sweep_due;		/* the next entry looks for producers to forget */
	size_t sweep_at;		/* slot of `rows` */
	bool is_ready;			/* in the core's list */
	struct shard *next_ready;
	/* What the state file tells of it, or will when the job that is out is
	 * written. */
	uint64_t saved_index;
	bool is_unsaved;	/* nothing usable: its rows are cleared and written anew */
	bool is_in_job;		/* in the one that is out */
	uint64_t exported_index;	/* of the newest export */
};

/* Messages on their way out, one chain per mailbox. */
enum { SHARD_REPLY_CHAINS = 16 };
struct shard_replies {
	struct {
		struct mailbox *to;
		struct msg *first;
		struct msg *last;
	} v[SHARD_REPLY_CHAINS];
	uint32_t n;
};

/* Where the volume said that a partition is to be cut. */
struct shard_cut_result {
	int64_t seq;
	int64_t limit;
	int64_t first_ms;	/* as in struct volume_cut */
	int64_t before_ms;	/* what was asked for */
	uint64_t bytes;
	uint64_t appended;	/* `appended` of the partition when `limit` was its end */
	bool is_counted;	/* bytes and first_ms are those at seq */
};
struct shard_cut {
	struct volume_cut in;	/* first: found from its message */
	struct volume_seek within;	/* in an entry of which a part is to go */
	struct store_partition *partition;	/* one reference; NULL: the place is free */
	uint64_t appended;
	int64_t keep_ms;	/* asked for these */
	uint64_t keep_bytes;
};

/* Partitions by when they are to be cut. Core thread only. */
struct shard_retention {
	struct store_partition **heap;	/* the earliest first; of partitions in the registry */
	size_t cap;			/* at least n_partitions */
	size_t n;
	size_t n_partitions;		/* in the registry */
	struct store_partition *resting;	/* by next_resting; one reference each */
	struct store_partition *waking;	/* likewise, until this look is over */
	struct shard_cut cuts[SHARD_RETENTION_CUTS];
	uint32_t n_out;
	int64_t period_ns;
	int64_t look_ns;		/* when the next look begins */
	int64_t check_ns;		/* when it is to be gone on with, or begun */
	int64_t now_ms;			/* the wall clock as far as it is believed */
	int64_t doubt_ms;		/* 0: it always is */
	int64_t doubt_until_ms;		/* monotonic; 0: it is not in doubt */
	int64_t offset_ms;		/* of the believed one to the monotonic one */
	bool has_offset;
};

/* Queue of partitions in the order in which batches entered the cache. */
struct shard_cache {
	size_t max;
	size_t used;
	struct store_partition **fifo;	/* cap is 0 or a power of two */
	size_t cap;
	size_t at;
	size_t n;
	size_t n_stale;		/* of those, of all partitions */
};

/* Partitions of the hubs that exist, by hub id. */
struct shard_registry_hub {
	uint32_t id;
	uint32_t n;
	struct store_partition **parts;	/* one reference each */
};
struct shard_registry {
	struct shard_registry_hub *v;
	size_t cap;
	size_t n;
};

/* A catalogue change between its proposal and its application: everything it
 * needs is there before it is proposed, so that applying cannot fail. */
struct shard_change {
	struct store_command *op;	/* NULL: none under way */
	const struct catalog *next;
	struct shard_registry_hub hub;	/* create, growth: its partitions, old and new */
	uint32_t n_new;			/* of those, at the end, the ones made for it */
	uint32_t deleted_id;		/* 0: none */
	struct str payload;
};

/* What one transaction writes into the state: a copy of its own, as steps that
 * the saver's thread carries out. Sticky: `bad` when memory was short. */
struct shard_job {
	struct msg msg;		/* first: found from its message */
	uint8_t *steps;
	size_t len;
	size_t cap;
	bool bad;
	enum err err;		/* result */
	struct err_detail detail;
};

/* Exports of the state. Core thread only, but results, which are the saver thread's
 * while it is out. */
struct shard_exporter {
	struct msg msg;		/* first: found from its message */
	bool is_in_pass;	/* the pass that is under way ends with one */
	bool is_out;		/* it is being written */
	struct shard_export *waiting;	/* for the next one, by next */
	struct shard_export *taken;	/* for the one under way */
	int64_t interval_ns;
	int64_t next_ns;	/* when the next one is due */
	enum err err;		/* results */
	struct err_detail detail;
	int64_t took_ns;
};

/* Brings the state file up to date. A pass goes over all shards, in one job or,
 * when there is much, in several; one job is out at a time. Core thread only,
 * but `box` and `is_ended`. */
struct shard_saver {
	pthread_t thread;
	bool is_started;
	struct mailbox box;		/* the saver thread's */
	struct msg stop_msg;
	bool is_ended;			/* saver thread only */
	struct shard_job job;		/* the saver thread's while it is out */
	bool is_out;			/* the job, or an export */
	uint32_t next_shard;		/* of the pass; n_shards: none is under way */
	bool has_indexes;		/* the pass takes shards whose index alone changed */
	bool is_last;			/* the job that is out was made to end with */
	bool has_given_up;		/* the last one failed */
	bool is_short;			/* the pass left shards out for want of memory */
	uint32_t n_failures;		/* jobs in a row */
	struct shard_exporter exporter;
	const struct catalog *saved;	/* what shard 0's rows hold or will; NULL: nothing usable */
	bool is_due;			/* something changed since the pass began */
	int64_t save_ns;		/* when the next pass begins */
	int64_t index_ns;		/* when one takes the indexes too */
};

struct shard_core {
	struct mailbox mailbox;
	struct mailbox starter;	/* of the thread that starts and closes the core */
	pthread_t thread;
	bool is_started;
	bool was_closed;	/* by the starter */
	/* Reads go to the volume from any thread: those between their check of
	 * is_closed and their hand-over are counted, and closing waits for them. */
	atomic_bool is_closed;
	atomic_uint n_entering;
	struct volume *volumes[LIMIT_VOLUMES];
	const char *dirs[LIMIT_VOLUMES];
	uint32_t n_volumes;
	struct state *state;
	struct exports *exports;	/* saver thread, once it runs */
	uint8_t store_uuid[16];
	uint32_t n_shards;
	uint64_t node_id;
	struct shard *shards;

	/* Core thread only. */
	struct shard *ready;
	struct shard_replies replies;
	struct shard_cache cache;
	struct shard_change change;
	struct store_command *commands_first;	/* waiting, by msg.next */
	struct store_command *commands_last;
	uint32_t n_in_flight;	/* entries of all shards */
	int64_t now_ms;		/* wall clock of this round */
	bool is_stopping;	/* refuses what is new */
	bool is_ended;
	struct msg close_msg;
	struct msg end_msg;
	uint64_t disk_reserve_bytes;
	shard_free_space_fn *free_space;
	uint64_t max_disk_bytes;
	struct shard_disk disks[LIMIT_VOLUMES];	/* n_volumes */
	int64_t disk_check_ns;	/* when next */
	int64_t producer_expiry_ms;
	struct shard_retention retention;
	uint32_t sweep_shard;	/* where forgetting producers goes on */
	int64_t expire_ns;	/* when next */
	struct shard_saver saver;
	bool is_drained;	/* stopping: nothing waits any more, watches are back */

	struct lock lock;	/* rank 20 */
	const struct catalog *catalog;
	struct shard_registry registry;
};

/* core.c */
void shard_ready_core(struct shard *s);
void shard_reply_core(struct shard_core *core, struct mailbox *to, struct msg *m, msg_fn *run);
void shard_replies_flush_core(struct shard_core *core);

/* disk.c */
void shard_disks_init(struct shard_core *core, const struct shard_options *o);
/* Looks at every volume when it is time; gives the next time. */
int64_t shard_disks_check_core(struct shard_core *core, int64_t now_ns);
/* Is there no room for so many more bytes? */
static inline bool shard_disk_is_without(const struct shard_disk *disk, uint64_t bytes)
{
	return disk->is_full || disk->taken_bytes + bytes > disk->room_bytes;
}

/* propose.c */
msg_fn shard_on_append;
/* Proposes what the shard's free places in flight allow. */
void shard_propose_core(struct shard *s);
bool shard_has_pending_core(const struct shard *s);
struct shard_entry *shard_entry_free_core(struct shard *s);
/* Room for one more command and item; false: no memory. */
bool shard_entry_room(struct shard_entry *e);
void shard_entry_send_core(struct shard_entry *e);
void shard_append_fail_core(struct shard *s, struct store_append *op, enum err e);

/* merge.c: how many operations from `first` on may go into one batch; `size`
 * gets an upper bound of the batch's bytes. 1: none may be merged. */
uint32_t shard_merge_count(const struct store_append *first, size_t *size);
/* Copies up to `n` of them into a new unsealed batch with the key behind it and
 * gives how many fitted the form; *out is NULL and the result 0 when memory is
 * short or fewer than two did. The operations are unchanged. */
uint32_t shard_merge(const struct store_append *first, uint32_t n, size_t size, struct buf **out,
		     uint32_t *len);

/* apply.c */
msg_fn shard_on_written;

/* command.c */
msg_fn shard_on_command;
/* Proposes the first waiting command that passes its check. */
void shard_command_propose_core(struct shard_core *core);
void shard_command_apply_core(struct shard_core *core, uint64_t index);
void shard_change_fini(struct shard_change *c);
/* The hub's settings reach its partitions, which are all in the registry. */
void shard_hub_settings_core(struct shard_core *core, const struct catalog_hub *h);

/* registry.c */
struct store_partition *shard_registry_find(const struct shard_registry *r, struct store_part part);
/* Room for one more hub; the caller holds the lock or is alone. */
bool shard_registry_room(struct shard_registry *r);
struct shard_registry_hub *shard_registry_hub(const struct shard_registry *r, uint32_t id);
/* Hub ids only grow, so a new one goes to the end. Room must be there. */
void shard_registry_add(struct shard_registry *r, struct shard_registry_hub hub);
void shard_registry_remove(struct shard_registry *r, uint32_t id);
void shard_registry_fini(struct shard_registry *r);

/* partition.c */
struct store_partition *shard_partition_new(struct shard *s, struct store_part part);
/* Every watch ends with `e`; later ones too. */
void shard_partition_close_core(struct store_partition *p, enum err e);
/* Moves the high watermark over `item` and caches its batch (takes item->buf). */
void shard_partition_publish_core(struct store_partition *p, struct shard_item *item,
				  const struct volume_command *c);

/* Moves the start, which is durable: cached batches below it go. */
void shard_partition_start_core(struct store_partition *p, int64_t first_seq);
/* What it really holds was counted. */
void shard_partition_bytes_core(struct store_partition *p, uint64_t bytes);

/* cache.c */
enum { SHARD_RECENT_COST = sizeof(struct shard_recent) + sizeof(struct buf) + sizeof(void *) };
static inline struct shard_recent *shard_recent_at(const struct store_partition *p, uint32_t i)
{
	return &p->ring[(p->ring_at + i) & (p->ring_cap - 1)];
}
/* Room for one more batch of `p`; false: no memory, then nothing of `p` may stay
 * cached, for the cache has no gaps. */
bool shard_cache_room_core(struct shard_core *core, struct store_partition *p);
/* The batch now last in p's ring counts; evicts the oldest beyond the cap. */
void shard_cache_added_core(struct shard_core *core, struct store_partition *p);
void shard_cache_forget_core(struct shard_core *core, struct store_partition *p);
/* Batches that end at or before `seq` go. */
void shard_cache_trim_core(struct shard_core *core, struct store_partition *p, int64_t seq);
void shard_cache_fini(struct shard_core *core);

/* rows.c: the payload of a VOLUME_ROWS command is, for each row, u8 kind, u8
 * flags (1: deleted), u16 key length, u32 content length, key, content. */

/* Start only: a row from the state file. ERR_CORRUPT, ERR_NOMEM. */
enum err shard_rows_load(struct shard *s, uint8_t kind, struct span key,
			 struct span content) MUST_CHECK;
/* Start only: a command from the log after the state's index. ERR_CORRUPT, ERR_NOMEM. */
enum err shard_rows_replay(struct shard *s, struct span payload) MUST_CHECK;
/* Start only, when every row of every shard is there: gives the partitions their
 * producers. Rows of partitions that do not exist are left alone. */
enum err shard_producers_load(struct shard_core *core) MUST_CHECK;
/* The dirty rows are in the state file (or on their way there in a copy that will
 * be written before any later one): forgets the deleted ones. */
void shard_rows_saved_core(struct shard *s);
/* Every row counts as dirty: the state file is to be written anew. */
void shard_rows_all_dirty_core(struct shard *s);
void shard_rows_fini(struct shard_rows *r);
msg_fn shard_on_rows_write;
msg_fn shard_on_rows_scan;

uint64_t shard_hash(uint64_t seed, const void *p, size_t n);
/* Nobody outside can foresee which keys fall into one slot. */
uint64_t shard_hash_seed(const void *own);
/* Bytes of a row in a payload. */
enum { SHARD_ROW_HEAD = 8 };
/* A row that is not in the table yet, with room for its content. NULL: no memory. */
struct shard_row *shard_row_new(uint8_t kind, struct span key, size_t content_cap);
void shard_row_free(struct shard_row **row);
/* Slots for `more` rows; false: no memory for the first ones. */
bool shard_rows_room(struct shard_rows *r, size_t more);
/* Appends a row (takes) to a change, and all rows to its payload. */
void shard_rows_change_add(struct shard_rows_change *c, struct shard_row *row);
void shard_rows_change_seal(struct shard_rows_change *c);
/* Frees what it has but itself. */
void shard_rows_change_fini(struct shard_rows_change *c);
/* Waits for its turn from now on; `end` is called. */
void shard_rows_push_core(struct shard *s, struct shard_rows_change *c);
/* A command of the entry, whose room is there. */
void shard_rows_command_core(struct shard_entry *e, struct shard_rows_change *c);
/* The first waiting write goes into the entry, or is refused. False: no room. */
bool shard_rows_take_core(struct shard_entry *e);
/* The change is durable: takes effect, is answered and given up. */
void shard_rows_apply_core(struct shard *s, struct shard_rows_change *c);

/* start.c: rows of where partitions begin. */

/* Does the content of such a row have its form? */
bool shard_start_is_sound(const struct store_row *row);
/* Does it say less than the one that is there? */
bool shard_start_is_behind(const struct shard_row *row, const struct shard_row *old);
/* The row is durable. */
void shard_start_apply_core(struct shard *s, const struct shard_row *row);
/* Start only, when every row and every partition is there, and before the volumes'
 * ranges: tells the volumes, and gives partitions this start and end. */
void shard_starts_load(struct shard_core *core);
/* Proposes the row of a cut beyond the present start; ends in
 * shard_retention_trimmed_core. False: no memory. */
bool shard_trim_core(struct store_partition *p, const struct shard_cut_result *cut);

/* retention.c */
void shard_retention_init(struct shard_core *core, int64_t check_ms, int64_t doubt_ms);
/* To be called when the round's wall clock was read. */
void shard_retention_clock_core(struct shard_core *core);
void shard_retention_fini(struct shard_core *core);
/* Room for so many more partitions in the registry. */
bool shard_retention_room(struct shard_core *core, size_t more);
/* What its hub keeps; 0: no bound. The partition is in the registry. */
void shard_retention_keep_core(struct store_partition *p, int64_t keep_ms, uint64_t keep_bytes);
/* A batch became durable. */
void shard_retention_published_core(struct store_partition *p, int64_t append_ms, size_t bytes);
/* Its start is another: its oldest event is not known, nor, is_rough, its bytes. */
void shard_retention_started_core(struct store_partition *p, bool is_rough);
/* It leaves the registry. */
void shard_retention_forget_core(struct store_partition *p);
void shard_retention_trimmed_core(struct store_partition *p, const struct shard_cut_result *cut,
				  enum err e);
/* To be called when retention.check_ns is there. */
void shard_retention_check_core(struct shard_core *core, int64_t now_ns);

/* producer.c: what a batch with a producer id is to its producer. */
struct shard_producer_step {
	int64_t id;
	int16_t epoch;
	int32_t first_seq;
	int32_t last_seq;
	struct shard_producer *producer;	/* NULL: not known */
	int64_t base_seq;		/* of the batch it repeats */
	int64_t append_ms;
	struct shard_producer *fresh;	/* what adding it needs, where it needs it */
	struct shard_row *row;
	struct shard_row *forgotten;
};
bool shard_has_producer(const struct store_append *op);
/* ERR_OK: to be appended; ERR_EXISTS: repeats what stands at base_seq; ERR_FENCED,
 * ERR_SEQUENCE, ERR_INVALID. */
enum err shard_producer_judge_core(const struct store_partition *p, const struct store_append *op,
				   struct shard_producer_step *step) MUST_CHECK;
/* Bytes by which the entry's record grows at most, besides the batch. */
size_t shard_producer_size_core(const struct shard_entry *e, const struct store_partition *p,
				const struct shard_producer_step *step);
/* The memory that adding it takes; false: short, and nothing is changed. */
bool shard_producer_room_core(struct shard_entry *e, struct store_partition *p,
			      struct shard_producer_step *step);
/* The batch is in the entry, at these. */
void shard_producer_advance_core(struct shard_entry *e, struct store_partition *p,
				 struct shard_producer_step *step, int64_t base_seq,
				 int64_t append_ms);
/* Makes the entry's last command of the rows of its producers, if any. */
void shard_producers_seal_core(struct shard_entry *e);
void shard_producers_fini(struct shard_producers *t);
/* Adds rows of producers that are to be forgotten to the entry: one portion. */
void shard_producers_sweep_core(struct shard_entry *e);
/* Runs when the time it gave is there; gives the next one. */
int64_t shard_producers_expire_core(struct shard_core *core, int64_t now_ns);

/* recover.c */
enum err shard_recover(struct shard_core *core, struct err_detail *d) MUST_CHECK;
/* Writes and waits for the configuration entry of shards without any. */
enum err shard_found(struct shard_core *core, struct err_detail *d) MUST_CHECK;

/* save.c: what is to be saved, and when. */

/* Rows or the catalogue changed: saved within SHARD_STATE_CHANGED_MS. */
void shard_save_later_core(struct shard_core *core);
/* At start: when the first pass begins. */
void shard_save_plan_core(struct shard_core *core, int64_t now_ns);
/* Begins a pass; to be called when saver.save_ns is there. */
void shard_save_core(struct shard_core *core, int64_t now_ns);
/* Stopping: true when all is saved, or cannot be; else the answer to a job brings
 * the next occasion to ask. */
bool shard_save_finish_core(struct shard_core *core);
/* Begins what comes next: a job, an export, or a time to wait for. */
void shard_save_go_on_core(struct shard_core *core);
msg_fn shard_on_saved;

/* exports.c */

/* At start: tells the volumes their floors. */
void shard_exports_plan_core(struct shard_core *core, int64_t now_ns);
/* When the next pass for one begins. */
int64_t shard_exports_time_core(const struct shard_core *core, int64_t now_ns);
/* A pass begins: is it to end with an export? Then it takes every index. */
bool shard_exports_begin_core(struct shard_core *core, int64_t now_ns);
/* The pass is over; false: it was not for an export. */
bool shard_exports_post_core(struct shard_core *core);
/* The pass failed. */
void shard_exports_fail_core(struct shard_core *core, enum err e);
/* Stopping: answers all who do not wait for the one being written. */
void shard_exports_stop_core(struct shard_core *core);
msg_fn shard_on_export;
msg_fn shard_on_exported;

/* saver.c: the thread that writes jobs, and what a job is made of. */

enum err shard_saver_start(struct shard_core *core) MUST_CHECK;
/* The starter's: no job is out. Ends the thread. */
void shard_saver_stop(struct shard_core *core);
/* Core thread: hands the job over; it comes back by shard_on_saved. */
void shard_saver_post_core(struct shard_core *core);
/* The same for an export, which comes back by shard_on_exported. */
void shard_saver_post_export_core(struct shard_core *core);
/* The steps that follow are of this shard. */
void shard_job_shard(struct shard_job *j, uint32_t shard);
void shard_job_clear(struct shard_job *j);
void shard_job_put(struct shard_job *j, uint8_t kind, struct span key, struct span content);
void shard_job_delete(struct shard_job *j, uint8_t kind, struct span key);
void shard_job_applied(struct shard_job *j, uint64_t index, uint64_t term);
/* Wipes (there are keys of policies in it) and frees. */
void shard_job_fini(struct shard_job *j);

#endif
