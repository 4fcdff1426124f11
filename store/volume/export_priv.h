#ifndef STORE_VOLUME_EXPORT_PRIV_H
#define STORE_VOLUME_EXPORT_PRIV_H

/* What the reading and the writing of an export file share; export.h has the
 * layout. */

#include "store/volume/export.h"

enum {
	EXPORT_MAGIC = 0x534c4558,	/* "SLEX" */
	EXPORT_END_MAGIC = 0x584c4553,	/* "XLES" */
	EXPORT_VERSION = 1,
	EXPORT_HEAD = 4 + 2 + 2 + 8 + 16 + 4 + 8 + 4,
	EXPORT_SHARD = 4 + 8 + 8 + 8 + 8,	/* before its checksum */
	EXPORT_ROW = 1 + 2 + 4,			/* before key and content */
	EXPORT_END = 4 + 4,
	EXPORT_CHUNK = 256 << 10,		/* read or written at a time */
	EXPORT_PATH = 4096,
};

/* What stands in front of a shard's rows. */
struct export_section {
	struct export_shard at;
	uint64_t rows;
	uint64_t bytes;
	uint32_t crc;	/* of the rows, until it is sealed */
};
void export_section_write(const struct export_section *s, uint32_t shard,
			  uint8_t out[EXPORT_SHARD]);

/* One reading of a whole file, every byte of which is checked; what its functions
 * were given is good only when it ends with ERR_OK. */
struct export_reading {
	const uint8_t *store_uuid;	/* NULL: of any store */
	uint32_t n_shards;		/* 0: as many as the file says */
	uint64_t number;		/* 0: any */
	struct export_shard *shards;	/* results, n_shards of them; NULL: not wanted */
	state_shard_fn *shard;		/* before the rows of each; NULL: neither */
	state_row_fn *row;
	void *arg;
	uint64_t size;			/* results */
	uint32_t crc;			/* of the whole file */
};
/* ERR_CORRUPT with a detail, ERR_VERSION, ERR_IO, ERR_NOMEM, or that of a function. */
enum err export_read(const char *path, struct export_reading *x, struct err_detail *d) MUST_CHECK;

/* Number of an export file by its name without folders; 0: it is not one. */
uint64_t export_number(const char *name);

#endif
