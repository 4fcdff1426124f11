#ifndef TEST_LIB_FAKE_SYNC_H
#define TEST_LIB_FAKE_SYNC_H

/* Takes the place of fsync in the test's program: syncs as ever and remembers,
 * between start and the question, which files and directories were synced. */

#include <stdbool.h>

void fake_sync_start(void);
bool fake_sync_had(const char *path);
/* The n-th sync from now on ends the process at once, before it syncs; 0: none. */
void fake_sync_exit_at(unsigned n);

#endif
