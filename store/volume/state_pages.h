#ifndef STORE_VOLUME_STATE_PAGES_H
#define STORE_VOLUME_STATE_PAGES_H

/* What LMDB's pages must say of each other before anything is written into them:
 * LMDB 0.9 has no checksums of pages, and a flipped bit in a page number, a length
 * or a list of free pages lets it overwrite what is in use or show a page as it was
 * in an older commit. So the file is read as pages: each must be named once, by the
 * tree of the rows, the tree of the free pages or a row of that, be what its head
 * says, be filled without a hole, and keep to the keys between which it hangs.
 * What the rows themselves say is not looked at. */

#include <stdbool.h>

/* The file is not open for writing. False also when it cannot be read. For use in a
 * child process: a file that becomes shorter ends the process. */
bool state_pages_are_sound(const char *path);

#endif
