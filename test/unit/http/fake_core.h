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
/* Waits until `n` appends are held; false after 5 s. */
bool fake_core_wait_held(struct core *c, size_t n);
/* Answers everything held. */
void fake_core_release(struct core *c, enum err e);
size_t fake_core_appended(struct core *c);

#endif
