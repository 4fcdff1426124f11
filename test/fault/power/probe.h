#ifndef TEST_FAULT_POWER_PROBE_H
#define TEST_FAULT_POWER_PROBE_H

/* Opens an image with the store and looks at all that is in it. */

#include "test/fault/power/oracle.h"

enum { PROBE_SEGMENT_BYTES = 1 << 20 };

/* What the directories show of that moment; then a batch of each producer is repeated, an
 * event is appended, and after a close and another start all must be as before, with
 * it (and, when is_twice, is read again and verified). NULL: all is well. The text is static. */
const char *probe_all(const char *const *dirs, uint32_t n_dirs, const struct oracle *o,
		      struct moment at, bool is_twice);
/* Makes data directories out of a backup. NULL: done. */
const char *probe_restore(const char *backup, const char *const *dirs, uint32_t n_dirs);
/* Opens, appends, lets the background work for a while, closes; for recording what all
 * that writes. */
const char *probe_once(const char *const *dirs, uint32_t n_dirs);

#endif
