#ifndef TEST_UNIT_STORE_VOLUME_CLEANED_H
#define TEST_UNIT_STORE_VOLUME_CLEANED_H

/* Cleaned segments made by hand from what a bed's volume holds, as the cleaner would. */

#include "bed.h"

#include "store/volume/volume_priv.h"

/* Of partition p every step-th batch of [first_seq, end_seq); step 0: none. Sorted by p. */
struct cleaned_want {
	uint32_t p;
	int64_t first_seq;
	int64_t end_seq;
	uint32_t step;
};

enum { CLEANED_COVERS = 16 };
struct cleaned {
	struct segment *segment;	/* until segment_replace took it */
	struct record_cover covers[CLEANED_COVERS];
	uint64_t bytes[CLEANED_COVERS];
	size_t n;
};

/* Writes and syncs the next cleaned segment. */
void cleaned_make(struct bed *b, const struct cleaned_want *wants, size_t n, struct cleaned *out);
/* Frees one that was not taken; its files stay. */
void cleaned_drop(struct cleaned *c);

/* The segment of this number; NULL: none. */
struct segment *cleaned_find(struct bed *b, uint64_t number, bool is_cleaned);
/* All extents of the segment, whole and kept whole. */
size_t cleaned_wants_of(struct bed *b, const struct segment *s, struct cleaned_want *out);
/* Floors beyond everything, log start raised, replaced; must succeed. */
void cleaned_replace(struct bed *b, struct cleaned *c, struct segment *const *gone, size_t n_gone);

/* Every batch that is left of [from, limit) lies where it should and has the right
 * content; their number. */
size_t cleaned_count(struct bed *b, uint32_t p, int64_t from, int64_t limit);

/* Files below the bed's directory: copies one, tells whether one is there. */
void cleaned_copy(const struct bed *b, const char *from, const char *to);
bool cleaned_has(const struct bed *b, const char *name);

#endif
