#ifndef STORE_BACKUP_LIST_H
#define STORE_BACKUP_LIST_H

/* Which files a backup has, and those that are made for it (backup.h). Lines as in
 * struct store_pin. The caller holds the pin. */

#include "store/dir.h"
#include "base/bytes.h"

struct volume;

enum { BACKUP_LIST_MAX = 256 << 20 };	/* of all lines: some three million files */

/* The newest export and the program's own files, of the first directory. */
enum err backup_list_first(const struct store_dir *dir, struct str *out,
			   struct err_detail *d) MUST_CHECK;
/* VERSION, what is sealed of the log before segment `end` and of what was cleaned, and a
 * MANIFEST that says so. */
enum err backup_list_volume(const struct store_dir *dir, struct volume *v, uint64_t end,
			    struct str *out, struct err_detail *d) MUST_CHECK;
/* Removes what these two made. What cannot be removed is logged. */
void backup_list_clear(const struct store_dir *dir);

/* Whole files: their checksum, and a copy of at most max_bytes, synced; for small
 * ones. ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_FULL, ERR_IO, ERR_NOMEM. */
enum err backup_file_crc(int dir_fd, const char *path, uint64_t *size, uint32_t *crc,
			 struct err_detail *d) MUST_CHECK;
enum err backup_file_write(int dir_fd, const char *path, struct span content,
			   struct err_detail *d) MUST_CHECK;

#endif
