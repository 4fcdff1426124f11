#ifndef STORE_VOLUME_FILE_H
#define STORE_VOLUME_FILE_H

/* The few plain file operations of a volume, with errno translated. Blocking. */

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum err file_errno(int e) MUST_CHECK;
/* Exactly n bytes at `at`; ERR_CORRUPT when the file ends before. */
enum err file_read_at(int fd, void *out, size_t n, uint64_t at) MUST_CHECK;
enum err file_write_all(int fd, const void *p, size_t n) MUST_CHECK;
/* Everything written to the file so far, by whomever. */
enum err file_sync(const char *path, struct err_detail *d) MUST_CHECK;
enum err file_sync_dir(const char *dir, struct err_detail *d) MUST_CHECK;
/* Makes a directory, mode 0700, and syncs its parent `dir`; exists: ERR_OK. */
enum err file_make_dir(const char *dir, const char *name, struct err_detail *d) MUST_CHECK;
/* Size and CRC-32C of a whole file, through plain reads. `stop` may be NULL; when
 * it becomes true the work ends with ERR_STOPPING. */
enum err file_checksum(const char *path, const atomic_bool *stop, uint64_t *size, uint32_t *crc,
		       struct err_detail *d) MUST_CHECK;

#endif
