#ifndef STORE_DIR_VERSION_H
#define STORE_DIR_VERSION_H

/* The text of VERSION and back. Pure. */

#include "base/bytes.h"
#include "store/dir.h"

enum { STORE_VERSION_TEXT_MAX = 256 };	/* seven lines, all at most 160 characters */

void store_version_print(const struct store_dir *dir, char out[STORE_VERSION_TEXT_MAX]);
/* Fills the identity. ERR_VERSION: made by a newer program; ERR_CORRUPT. The
 * detail does not name the file. */
enum err store_version_parse(struct span text, struct store_dir *dir,
			     struct err_detail *d) MUST_CHECK;

#endif
