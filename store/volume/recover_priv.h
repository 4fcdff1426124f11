#ifndef STORE_VOLUME_RECOVER_PRIV_H
#define STORE_VOLUME_RECOVER_PRIV_H

/* What volume_open finds in segments/, held against the manifest. */

#include "store/volume/volume_priv.h"

/* What the directory holds under one name. */
struct found {
	uint64_t number;
	bool is_cleaned;
	bool has_mdb;		/* neither: listed, and lost */
	bool has_idx;
	uint64_t mdb_bytes;
};
struct found_list {
	struct found *v;	/* by number */
	size_t n;
	size_t cap;
};
struct listing {
	struct found_list log;
	struct found_list cleaned;
	struct found_list leftovers;	/* of either kind, not listed any more */
};

/* "0000000001.mdb", "0000000001.idx", and the same after a "c" only. */
bool listing_name(const char *name, struct found *out);
void listing_fini(struct listing *l);
/* Reads the directory and removes temporary files. */
enum err listing_read(struct volume *v, struct listing *l, struct err_detail *d) MUST_CHECK;
/* Holds it against v->manifest: what is missing is refused, or added as lost; what is not
 * listed goes to the leftovers. Removes nothing but a last file that was never finished. */
enum err listing_check(struct volume *v, struct listing *l, struct err_detail *d) MUST_CHECK;
/* Removes the leftovers; the manifest that does not list them is durable. */
void listing_clear(struct volume *v, const struct listing *l);

#endif
