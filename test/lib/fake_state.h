#ifndef TEST_LIB_FAKE_STATE_H
#define TEST_LIB_FAKE_STATE_H

/* A state in memory behind store/volume/state.h. Commits can be held or made to
 * fail, and what was committed can be copied at any moment, as a process that is
 * killed then would leave it. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct state;

struct state *fake_state_new(void);
struct state *fake_state_copy(struct state *s);
void fake_state_free(struct state **s);

/* While held, commits wait. */
void fake_state_hold(struct state *s);
void fake_state_release(struct state *s);
/* The same for dumps. */
void fake_state_hold_dump(struct state *s, bool is_held);
/* Blocks until `n` dumps were begun. */
void fake_state_wait_dump(struct state *s, uint32_t n);
/* Blocks until `n` commits were begun (taken or not) or, the second, ended. */
void fake_state_wait_begun(struct state *s, uint32_t n);
void fake_state_wait(struct state *s, uint32_t n);
/* The next `n` commits fail with `e` and change nothing. */
void fake_state_fail(struct state *s, enum err e, uint32_t n);
/* Loading the shard gives ERR_CORRUPT until it is cleared. */
void fake_state_damage(struct state *s, uint32_t shard);

/* Writes a row without a transaction. */
void fake_state_set(struct state *s, uint32_t shard, uint8_t kind, struct span key,
		    struct span content);
/* The row's content; false: it is not there. The text goes into `out`, cut. */
bool fake_state_get(struct state *s, uint32_t shard, uint8_t kind, struct span key, char *out,
		    size_t n);
uint64_t fake_state_index(struct state *s, uint32_t shard);
uint32_t fake_state_commits(struct state *s);	/* ended */
uint32_t fake_state_dumps(struct state *s);	/* begun */
uint32_t fake_state_rows(struct state *s, uint8_t kind);
/* Shards whose index the last good commit wrote. */
uint32_t fake_state_last_shards(struct state *s);
/* Bytes of keys and contents it wrote. */
uint64_t fake_state_last_bytes(struct state *s);

#endif
