#ifndef STORE_VERIFY_H
#define STORE_VERIFY_H

/* Checks all of a store that no server has open: every byte of every volume, and
 * whether it fits together. Changes nothing. One thread. */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct store_verify_finding {
	const char *dir;	/* the data directory */
	const char *file;	/* below it */
	const char *what;
	bool is_repairable;	/* the next start makes it anew, and nothing is lost */
	bool has_part;		/* these events are lost: */
	const char *hub;	/* NULL: its name is not known */
	uint32_t hub_id;
	uint32_t partition;
	int64_t first_seq;
	int64_t end_seq;
};

struct store_verify_options {
	const char *const *dirs;	/* all of the store, in their order */
	uint32_t n_dirs;
	void *arg;
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes);	/* may be NULL */
	void (*finding)(void *arg, const struct store_verify_finding *f);	/* borrows */
};

struct store_verify_result {
	uint32_t format;	/* of the directory */
	uint32_t volumes;
	uint64_t bytes;
	uint64_t files;
	uint64_t records;
	uint64_t batches;
	uint64_t events;
	uint64_t partitions;
	uint64_t findings;
};

/* ERR_OK: all was looked at; `findings` tells whether it is sound. ERR_IN_USE: a server
 * has it open. Else as store_dirs_look, ERR_IO and ERR_NOMEM, with one line. */
enum err store_verify(const struct store_verify_options *o, struct store_verify_result *out,
		      struct err_detail *d) MUST_CHECK;

#endif
