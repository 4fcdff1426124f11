/* The catalogue from disk. The first byte chooses: 0 a command, which is applied to
 * an empty catalogue, else the kind of a row. What decodes encodes to the same bytes,
 * except where an older version had fewer. */

#include <stdlib.h>

#include "store/catalog/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void command(struct span in)
{
	struct catalog_command cmd;
	struct str out = {0};
	const struct catalog *c = catalog_empty(4);
	const struct catalog *next = NULL;
	if (c != NULL && catalog_decode(in, &cmd) == ERR_OK) {
		if (catalog_encode(&cmd, &out) != ERR_OK || out.len < in.n ||
		    (out.len == in.n && memcmp(out.p, in.p, in.n) != 0)) {
			abort();
		}
		if (catalog_apply(c, &cmd, 1, &next) == ERR_OK) {
			catalog_drop(&next);
		}
	}
	str_fini(&out);
	catalog_drop(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1) {
		return 0;
	}
	struct span in = span_of(data + 1, size - 1);
	if (data[0] == 0) {
		command(in);
		return 0;
	}
	struct catalog_loader *l = catalog_loader_new(4);
	const struct catalog *c = NULL;
	struct str out = {0};
	if (l != NULL && catalog_loader_row(l, data[0], in) == ERR_OK &&
	    catalog_loader_finish(&l, &c) == ERR_OK) {
		if (catalog_namespace_encode(c, &out) != ERR_OK || out.len < in.n ||
		    (out.len == in.n && memcmp(out.p, in.p, in.n) != 0)) {
			abort();
		}
	}
	str_fini(&out);
	catalog_drop(&c);
	catalog_loader_free(&l);
	return 0;
}
