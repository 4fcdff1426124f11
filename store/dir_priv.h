#ifndef STORE_DIR_PRIV_H
#define STORE_DIR_PRIV_H

/* What dir.c (one directory) has for dirs.c (all of a store). */

#include "store/dir.h"

extern const char store_dir_version[];
extern const char store_dir_version_new[];	/* a founding under way */
extern const char store_dir_clean[];
extern const char store_dir_volume[];

enum { STORE_DIR_MODE = 0700, STORE_FILE_MODE = 0600 };

/* Only memory. */
enum err store_dir_init(struct store_dir *dir, const char *path, struct err_detail *d) MUST_CHECK;
/* Makes the directory when it is missing, its name durable. */
enum err store_dir_make(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
/* ERR_NOT_FOUND: there is none. */
enum err store_dir_enter(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
enum err store_dir_lock(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
bool store_dir_has(const struct store_dir *dir, const char *name);
/* Whether it holds what a directory that is nobody's may not hold. */
enum err store_dir_is_empty(struct store_dir *dir, bool *is_empty,
			    struct err_detail *d) MUST_CHECK;
/* Fills the identity from the file. */
enum err store_dir_read_label(struct store_dir *dir, const char *name,
			      struct err_detail *d) MUST_CHECK;
/* Writes VERSION.new with the identity and makes the volume anew. */
enum err store_dir_begin(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
/* VERSION.new becomes VERSION. */
enum err store_dir_end(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
/* Reads what CLEAN says, n = 0: it is not there. */
enum { STORE_CLEAN_MAX = 64 };
enum err store_dir_read_clean(struct store_dir *dir, char text[STORE_CLEAN_MAX], size_t *n,
			      struct err_detail *d) MUST_CHECK;
enum err store_dir_remove_clean(struct store_dir *dir, struct err_detail *d) MUST_CHECK;
enum err store_dir_write_clean(struct store_dir *dir, const char *text,
			       struct err_detail *d) MUST_CHECK;

#endif
