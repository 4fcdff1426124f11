#ifndef TEST_UNIT_HTTP_FAKE_CORE_H
#define TEST_UNIT_HTTP_FAKE_CORE_H

/* A core without a store: one hub "hub" with 4 partitions, one policy "p" with
 * the key "k" and every right. Appends are answered at once, or held until they
 * are released, or refused. Any thread. */

#include "gateway/core/core.h"

struct core *fake_core_new(size_t inflight_max);
/* Nothing may be held any more. */
void fake_core_free(struct core **c);

void fake_core_hold(struct core *c, bool hold);
/* What core_append itself says from now on. */
void fake_core_refuse(struct core *c, enum err e);
/* Appends that fail with ERR_BUSY are refused for so long; 0: memory is short. */
void fake_core_busy_for(struct core *c, uint32_t wait_ms);
/* Management calls are refused for so long; 0: they are not. */
void fake_core_manage_busy(struct core *c, uint32_t wait_ms);
/* Flows that are open. */
int fake_core_flows(struct core *c);
/* "hub/policy" of the sender opened last. */
void fake_core_policy(struct core *c, char out[64]);
/* Waits until `n` appends are held; false after 5 s. */
bool fake_core_wait_held(struct core *c, size_t n);
/* Answers everything held. */
void fake_core_release(struct core *c, enum err e);
size_t fake_core_appended(struct core *c);

#endif
