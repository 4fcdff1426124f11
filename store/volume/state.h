#ifndef STORE_VOLUME_STATE_H
#define STORE_VOLUME_STATE_H

/* The materialised state of shards: an LMDB environment state/data.mdb beside
 * the segments. Rows: key = u32 shard, u8 kind, then the row's own key; value =
 * u32 CRC-32C over key, version and content, u8 format version 1, content. Kind 0 is the
 * shard's applied raft index (content u64 index, u64 term). A bad page or value
 * is ERR_CORRUPT: the caller rebuilds from the log, after it put the file aside. */

#include "base/bytes.h"
#include "base/err.h"

struct state;

enum { STATE_KEY_MAX = 506 };	/* a row's own key; LMDB's limit less shard and kind */

/* `dir` is the volume's directory, as in struct volume_options.
 * was_unclean: the file is first walked in a child process. Owned by one thread
 * at a time. */
enum err state_open(const char *dir, bool was_unclean, struct state **out,
		    struct err_detail *d) MUST_CHECK;
void state_close(struct state **s);

typedef enum err state_row_fn(void *arg, uint8_t kind, struct span key, struct span content);
/* All rows of a shard with kind > 0, in key order; fn borrows. An error of fn
 * ends it and is returned. Applied index and term 0: there is no state yet. */
enum err state_load(struct state *s, uint32_t shard, uint64_t *applied_index,
		    uint64_t *applied_term, state_row_fn *fn, void *arg,
		    struct err_detail *d) MUST_CHECK;

/* As state_load over all shards: `shard` before the rows of each that has an applied
 * index, all as of one commit. For exports. May run beside a write transaction of
 * another thread. */
typedef enum err state_shard_fn(void *arg, uint32_t shard, uint64_t index, uint64_t term);
enum err state_dump(struct state *s, uint32_t n_shards, state_shard_fn *shard, state_row_fn *row,
		    void *arg, struct err_detail *d) MUST_CHECK;

/* One transaction for any number of shards: begin; for each shard state_shard,
 * its puts and deletes and its new applied index; commit. All by one thread.
 * Sticky: the first failure is returned by state_commit, and nothing is changed.
 * Synced. After ERR_IO the state is of no more use: such an error is never
 * retried. */
void state_begin(struct state *s);
void state_shard(struct state *s, uint32_t shard);	/* whose rows follow */
void state_put(struct state *s, uint8_t kind, struct span key, struct span content);
void state_delete(struct state *s, uint8_t kind, struct span key);
void state_clear(struct state *s);	/* all rows of the shard */
void state_clear_all(struct state *s);	/* all rows of all shards */
/* The shard's rows are as of this entry. */
void state_applied(struct state *s, uint64_t index, uint64_t term);
/* Instead of the commit: nothing is changed. */
void state_abort(struct state *s);
enum err state_commit(struct state *s, struct err_detail *d) MUST_CHECK;

#endif
