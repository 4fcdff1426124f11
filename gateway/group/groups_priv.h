#ifndef GATEWAY_GROUP_GROUPS_PRIV_H
#define GATEWAY_GROUP_GROUPS_PRIV_H

/* The coordinator's inside. Everything but `lock` and what it guards belongs to the
 * coordinator thread (before it starts and after it ended: to who made it). */

#include "gateway/group/committed.h"
#include "gateway/group/groups.h"
#include "gateway/group/machine.h"

enum {
	GROUPS_SLOTS_FIRST = 256,
	GROUPS_SWEEP_MS = 60000,
	/* One portion of a sweep looks at about so many groups and offsets. */
	GROUPS_SWEEP_PORTION = 4096,
	GROUPS_PENDING_BYTES = 1024,	/* what an id given out may take */
	/* Rows that one write deletes: with the longest keys about half a megabyte. */
	GROUPS_DELETE_ROWS = 2000,
};

/* A group with what the coordinator keeps around its machine. */
struct groups_entry {
	struct group machine;
	struct groups *groups;
	struct groups_entry *next;	/* of its slot */
	uint64_t hash;
	uint32_t shard;
	size_t heap_at;			/* SIZE_MAX: waits for nothing */
	int64_t due_ms;
	struct committed_table offsets;
	uint32_t writes;		/* commits and deletions of offsets under way */
	uint32_t coming;		/* offsets not in the table that those bring */
	size_t counted;			/* of the coordinator's `bytes` */
	bool has_row;
	/* Requests wait, in order, while the group's row is written or it is dropped. */
	struct groups_op *waiting_first;
	struct groups_op *waiting_last;
	bool drop_wanted;		/* as soon as writes == 0 */
	struct groups_op *drop_op;	/* the DELETE that asked; NULL: the sweep */
};

enum groups_write_kind {
	GROUPS_WRITE_GROUP,
	GROUPS_WRITE_COMMIT,
	GROUPS_WRITE_TRIM,	/* offsets are deleted */
	GROUPS_WRITE_DROP,	/* a portion of a group that is deleted */
};

/* A write of rows under way; one block with its rows and nodes. */
struct groups_write {
	struct store_rows_write w;	/* first */
	struct groups_entry *entry;
	enum groups_write_kind kind;
	struct groups_op *op;		/* answered when it is done; NULL: none */
	struct buf *bytes;		/* what the rows point to */
	struct wr out;			/* into bytes */
	struct store_row *rows;
	struct groups_committed **nodes;	/* COMMIT: of each row, put in when durable */
	struct store_part *parts;	/* TRIM, DROP: of each row of an offset */
	uint32_t n_rows;
	uint32_t n_nodes;
	uint32_t n_parts;
	uint32_t n_new;			/* COMMIT: counted in entry->coming */
	bool has_group_row;		/* DROP: the group's own row is in it */
};

struct groups {
	struct groups_options options;
	struct group_config config;
	struct mailbox mailbox;
	pthread_t thread;
	struct msg stop_msg;
	struct msg cancel_msg;

	struct lock lock;		/* below the mailbox's: it is posted to under this */
	bool is_closed;			/* under lock: operations are refused at once */
	bool cancel_posted;		/* under lock */
	struct groups_op *cancelled;	/* under lock */

	uint64_t seed;
	struct groups_entry **slot;
	size_t slots;			/* a power of two */
	size_t n;
	struct groups_entry **heap;	/* earliest due first */
	size_t heap_n, heap_cap;
	size_t writes;			/* all under way */
	size_t bytes;			/* of members and pending ids of all groups */
	bool is_stopping;
	int64_t sweep_due_ms;
	bool is_sweeping;
	size_t sweep_slot;
};

/* ---- table.c -------------------------------------------------------------------- */

struct groups_entry *groups_find(const struct groups *g, struct span name);
/* ERR_LIMIT (not when `is_load`), ERR_NOMEM. */
enum err groups_add(struct groups *g, struct span name, bool is_load, struct groups_entry **out)
	MUST_CHECK;
/* An entry made outside: its machine is initialised. Takes it. */
enum err groups_insert(struct groups *g, struct groups_entry *e) MUST_CHECK;
/* Out of table and heap, and freed. */
void groups_remove(struct groups_entry *e);
struct groups_entry *groups_entry_new(struct groups *g);
void groups_entry_free(struct groups_entry **e);
/* Puts the entry where its machine's deadline belongs. */
void groups_schedule(struct groups_entry *e);
extern const struct group_hooks groups_hooks;

/* ---- serve.c -------------------------------------------------------------------- */

void groups_serve(struct groups *g, struct groups_op *op);
/* A request of an entry that is not busy; groups_settle follows. */
void groups_answer(struct groups *g, struct groups_op *op);
void groups_refuse(struct groups *g, struct groups_op *op, int16_t code);
bool groups_is_busy(const struct groups_entry *e);
void groups_wait(struct groups_entry *e, struct groups_op *op);
/* After anything happened to an entry: stores it when its machine wants that, serves
 * what waited, finds its next deadline. The entry may be gone afterwards. */
void groups_settle(struct groups_entry *e);
/* Nothing of it is worth keeping. */
bool groups_is_nothing(const struct groups_entry *e);
int16_t groups_name_check(const struct groups *g, struct span name);

/* ---- writes (serve.c) -------------------------------------------------------------- */

struct groups_write *groups_write_new(struct groups_entry *e, enum groups_write_kind kind,
				      uint32_t rows, size_t bytes);
void groups_write_free(struct groups_write **w);	/* nodes left in it too */
void groups_write_post(struct groups_write *w);
/* The row that deletes an offset. */
void groups_write_delete(struct groups_write *w, struct store_part part);

/* ---- offsets.c ------------------------------------------------------------------------ */

void groups_commit(struct groups_entry *e, struct groups_op *op);
void groups_commit_written(struct groups_write *w);
void groups_fetch(struct groups *g, struct groups_entry *e, struct groups_op *op);	/* e NULL: none */
void groups_delete_offsets(struct groups_entry *e, struct groups_op *op);
void groups_trim_written(struct groups_write *w);
/* Do the members of a group of consumers read this hub? True when they cannot be
 * understood. */
bool groups_is_subscribed(const struct groups_entry *e, const struct catalog_hub *hub);

/* ---- admin.c --------------------------------------------------------------------------- */

void groups_list(struct groups *g, struct groups_op *op);
void groups_describe(struct groups *g, struct groups_op *op);
void groups_delete(struct groups *g, struct groups_op *op);	/* begins, or goes on at op->at */
/* Begins or goes on; the entry may be gone afterwards. */
void groups_drop(struct groups_entry *e);
void groups_drop_written(struct groups_write *w);

/* ---- load.c, expire.c -------------------------------------------------------------------- */

enum err groups_load(struct groups *g, struct err_detail *d) MUST_CHECK;
/* One portion, when it is time; sweep_due_ms tells when it is again. */
void groups_sweep(struct groups *g, int64_t now_ms);

#endif
