#ifndef TEST_UNIT_STORE_VOLUME_RUIN_H
#define TEST_UNIT_STORE_VOLUME_RUIN_H

/* A volume with one of everything, all small, to be damaged: log segments, a cleaned
 * one, state, exports, MANIFEST. Each damage is done to a copy. */

#include "bed.h"
#include "store/volume/verify.h"

enum { RUIN_PARTS = 4, RUIN_FILES = 64, RUIN_FINDINGS = 256, RUIN_NAME = 64 };

struct ruin_finding {
	struct verify_finding f;
	char file[RUIN_NAME];
};

struct ruin {
	struct bed bed;			/* of the copy; closed */
	char whole[BED_DIR];		/* the undamaged one */
	char older[BED_DIR];		/* the same a while before */
	char file[RUIN_FILES][RUIN_NAME];	/* below the directory */
	uint32_t n_files;
	struct ruin_finding found[RUIN_FINDINGS];
	uint32_t n_found;
	struct verify_result result;
	int64_t start[RUIN_PARTS];	/* what lies below was removed */
	char sealed[RUIN_NAME];		/* a sealed log segment, a cleaned one, the active one */
	char cleaned[RUIN_NAME];
	char active[RUIN_NAME];
	bool was_clean;		/* the stop before the next ruin_open was orderly */
	bool is_lenient;	/* several damages at once: only what is read must be right */
	bool knows_starts;		/* verify is told where partitions begin */
	uint64_t applied[BED_SHARDS];
};

void ruin_init(struct ruin *r);		/* makes it */
void ruin_fini(struct ruin *r);
void ruin_copy(struct ruin *r);		/* a fresh copy in bed.dir */
void ruin_path(const struct ruin *r, const char *file, char *out, size_t n);
void ruin_take_older(struct ruin *r, const char *file);	/* as it was a while before */
void ruin_swap(struct ruin *r, const char *a, const char *b);

void ruin_print(const struct ruin *r);	/* the findings */
enum err ruin_verify(struct ruin *r, struct err_detail *d) MUST_CHECK;
bool ruin_found(const struct ruin *r, const char *file);	/* a finding of this file */
bool ruin_found_any(const struct ruin *r, const char *file);	/* or of its segment */
/* Opens the copy and reads everything: each event is as it was written, or an error.
 * False: it was refused (*d). *bad: events that gave an error. */
bool ruin_open(struct ruin *r, int64_t *bad, struct err_detail *d);
bool ruin_is_lost(const struct ruin *r, uint32_t p, int64_t seq);

#endif
