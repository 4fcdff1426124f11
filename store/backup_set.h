#ifndef STORE_BACKUP_SET_H
#define STORE_BACKUP_SET_H

/* The files of a backup, and the text that lists them. A backup is a directory:
 *
 *   BACKUP               what it holds; without it there is none
 *   V/PATH.CRC           a file of volume V: its place in a data directory, and its
 *                        checksum, so that a later one of the same name does not
 *                        take the place of what BACKUP still names
 *   UNFINISHED           there from the beginning of a backup to its end
 *   LOCK                 held while one is made or restored
 *
 * BACKUP is text:
 *
 *   sluice-backup 1
 *   made=<2026-01-31T12:00:00.000Z>
 *   store=<uuid>
 *   volumes=<n>
 *   file=<volume> <size> <crc, 8 hex digits> <path>     for each
 *   crc=<8 hex>          CRC-32C of everything before this line
 *
 * Pure but for the allocation. */

#include "base/bytes.h"
#include "base/err.h"

enum {
	BACKUP_PATH = 256,			/* of a file, with its NUL */
	BACKUP_TEXT_MAX = 256 << 20,		/* of BACKUP: some three million files */
	BACKUP_FORMAT = 1,
};

struct backup_file {
	char *path;		/* below the data directory */
	char *source;		/* where it stands now, while it is pinned; NULL in what was read back */
	uint32_t volume;
	uint64_t size;
	uint32_t crc;
};

struct backup_set {
	char made[32];
	char store_uuid[37];
	uint32_t volumes;
	struct backup_file *v;	/* sorted by volume and path once it is complete */
	size_t n;
	size_t cap;
};

void backup_set_fini(struct backup_set *s);
/* Copies the texts. ERR_INVALID (a path that may lead elsewhere), ERR_NOMEM. */
enum err backup_set_add(struct backup_set *s, const struct backup_file *f,
			struct err_detail *d) MUST_CHECK;
/* Lines as struct store_pin has them. ERR_INVALID, ERR_NOMEM. */
enum err backup_set_add_lines(struct backup_set *s, struct span lines,
			      struct err_detail *d) MUST_CHECK;
/* Sorts; ERR_INVALID when two files are in the same place, or a volume has no VERSION. */
enum err backup_set_complete(struct backup_set *s, struct err_detail *d) MUST_CHECK;
/* NULL: there is none with this name, size and checksum. */
const struct backup_file *backup_set_find(const struct backup_set *s, const struct backup_file *f);
uint64_t backup_set_bytes(const struct backup_set *s);
/* "V/PATH.CRC" */
enum { BACKUP_NAME = BACKUP_PATH + 24 };
void backup_name(const struct backup_file *f, char out[BACKUP_NAME]);

/* ERR_NOMEM: out->bad. */
void backup_set_print(const struct backup_set *s, struct str *out);
/* ERR_CORRUPT, ERR_VERSION, ERR_NOMEM. */
enum err backup_set_parse(struct span text, struct backup_set *out, struct err_detail *d) MUST_CHECK;

#endif
