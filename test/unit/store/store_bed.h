#ifndef TEST_UNIT_STORE_STORE_BED_H
#define TEST_UNIT_STORE_STORE_BED_H

/* A store in a directory of its own, and a mailbox of the test. */

#include "base/mailbox.h"
#include "store/store.h"
#include "test/lib/store_ops.h"

enum { BED_MORE = 3 };
struct bed {
	char root[64];		/* removed at the end */
	char dir[80];		/* root/data */
	char more[BED_MORE][80];	/* root/more1 and so on */
	const char *more_dirs[BED_MORE];
	struct store_options options;
	struct store *store;
	struct mailbox mb;
};

void bed_init(struct bed *b);		/* nothing is open yet */
/* Further data directories of the store; before it is first opened. */
void bed_volumes(struct bed *b, uint32_t n);
void bed_open(struct bed *b);
void bed_close(struct bed *b);
void bed_fini(struct bed *b);
/* "root/data/<name>" in a static buffer. */
const char *bed_path(const struct bed *b, const char *name);
/* The error of opening; the text stands in d. */
enum err bed_try(struct bed *b, struct err_detail *d);

enum err bed_command(struct bed *b, const struct catalog_command *cmd);
struct store_partition *bed_create(struct bed *b, const char *hub, uint32_t partitions);
struct store_partition *bed_find(struct bed *b, const char *hub, uint32_t partition);
enum err bed_append(struct bed *b, struct store_partition *p, int64_t first, uint32_t n);
int64_t bed_next_seq(struct store_partition *p);
/* Reads all from disk: events must be numbered as their sequence numbers. */
void bed_check_all(struct bed *b, struct store_partition *p, int64_t want);

#endif
