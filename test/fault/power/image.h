#ifndef TEST_FAULT_POWER_IMAGE_H
#define TEST_FAULT_POWER_IMAGE_H

/* A directory made to hold what a power cut leaves. What is in it already as it should
 * be stays: most files of an image are those of the one before. */

#include "test/fault/power/sim.h"

struct image_file {
	char *path;		/* below the image's directory */
	uint64_t stamp;
	bool is_dir;
};
struct image {
	const char *dir;
	struct image_file *files;	/* as made the last time */
	size_t n;
	size_t cap;
};

void image_make(struct image *im, const struct sim *s, const struct sim_choice *c);
void image_fini(struct image *im);

#endif
