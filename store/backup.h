#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

/* What a backup copies, held still while it is copied. One at a time, with a thread of
 * its own: an export of the state is made, every volume's log is closed and sealed, the
 * first volume's last, and from before that on no volume removes a file. So what is
 * listed holds all that was acknowledged before, and of what came meanwhile no more
 * events than the catalogue knows hubs.
 *
 * What changes in spite of the pin is copied or linked into pinned/ of its data
 * directory: the export, the program's small files, and a MANIFEST of what is listed.
 * It goes when the pin ends, and at the next start. */

#include "store/dir.h"
#include "store/store.h"

struct volume;
struct shard_core;
struct backup;

struct backup_options {
	const struct store_dirs *dirs;		/* kept until backup_free */
	struct volume *const *volumes;		/* kept until backup_close; NULL: out */
	struct shard_core *core;		/* kept until backup_close */
};

/* Removes what an earlier process left. */
enum err backup_new(const struct backup_options *o, struct backup **out,
		    struct err_detail *d) MUST_CHECK;
/* Ends the pin; later ones are answered ERR_STOPPING. NULL: nothing. */
void backup_close(struct backup *b);
void backup_free(struct backup **b);

/* Any thread; as store_pin, store_pin_renew and store_unpin. */
void backup_pin(struct backup *b, struct store_pin *op);
enum err backup_renew(struct backup *b, uint64_t id) MUST_CHECK;
void backup_unpin(struct backup *b, uint64_t id);

#endif
