#ifndef STORE_SHARD_SHARD_PRIV_H
#define STORE_SHARD_SHARD_PRIV_H

/* Objects of the shard core. Functions named _core run on the shard core thread
 * only (or before it starts and after it ended); _locked needs the partition's
 * lock. */

#include <assert.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "store/shard/shard.h"
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

	struct lock lock;	/* rank 40, guards what follows; the ring is changed by the core only */
	struct store_position position;
	bool is_stopping;
	struct store_watch *watches;
	struct shard_recent *ring;	/* ring_cap is 0 or a power of two */
	uint32_t ring_cap;
	uint32_t ring_at;
	uint32_t ring_n;
};

/* What one command of an entry answers. */
struct shard_item {
	struct store_partition *partition;	/* kept alive by the operations */
	struct buf *buf;			/* one reference */
	struct store_append *first;		/* by msg.next */
	uint32_t events;
	uint32_t key_len;
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
};

struct shard {
	struct shard_core *core;
	uint32_t number;
	uint64_t term;
	uint64_t proposed_index;
	uint64_t applied_index;
	uint64_t applied_term;
	struct shard_entry entries[SHARD_IN_FLIGHT];
	uint32_t n_in_flight;
	struct store_partition *dirty_first;
	struct store_partition *dirty_last;
	bool is_ready;			/* in the core's list */
	struct shard *next_ready;
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
	struct volume *volume;
	struct state *state;
	const char *dir;
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
	bool is_full;
	uint64_t waiting_bytes;	/* of appends that are not answered yet */
	uint64_t room_bytes;	/* above the reserve, at the last check */
	uint64_t taken_bytes;	/* appends taken since then */
	int64_t disk_check_ns;	/* when next */
	const struct catalog *saved;	/* what the state holds; NULL: nothing usable */
	uint64_t saved_index;
	bool is_save_due;	/* the catalogue differs from `saved` */
	int64_t save_ns;	/* when */

	struct lock lock;	/* rank 20 */
	const struct catalog *catalog;
	struct shard_registry registry;
};

/* core.c */
void shard_ready_core(struct shard *s);
void shard_reply_core(struct shard_core *core, struct mailbox *to, struct msg *m, msg_fn *run);
void shard_replies_flush_core(struct shard_core *core);

/* propose.c */
msg_fn shard_on_append;
/* Proposes what the shard's free places in flight allow. */
void shard_propose_core(struct shard *s);
bool shard_has_pending_core(const struct shard *s);
struct shard_entry *shard_entry_free_core(struct shard *s);
/* Room for one more command and item; false: no memory. */
bool shard_entry_room(struct shard_entry *e);
void shard_entry_send_core(struct shard_entry *e);
void shard_append_fail_core(struct shard_core *core, struct store_append *op, enum err e);

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
void shard_cache_fini(struct shard_core *core);

/* recover.c */
enum err shard_recover(struct shard_core *core, struct err_detail *d) MUST_CHECK;
/* Writes and waits for the configuration entry of shards without any. */
enum err shard_found(struct shard_core *core, struct err_detail *d) MUST_CHECK;

/* save.c */
void shard_save_later_core(struct shard_core *core);
/* Writes the state when that is due, or at once when `is_last`. */
void shard_save_core(struct shard_core *core, int64_t now_ns, bool is_last);

#endif
