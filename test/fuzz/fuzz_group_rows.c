/* Rows of groups and offsets from disk. The first byte chooses, the second is
 * the length of an offset's key; what decodes as a group encodes to the same bytes. */

#include <stdlib.h>

#include "gateway/group/rows.h"
#include "gateway/group/subscription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct group_config config = {0, 100};
	static const struct group_hooks hooks;
	struct group g;
	struct group_offset_row row;
	struct buf *out = NULL;
	if (size < 2) {
		return 0;
	}
	struct span in = span_of(data + 1, size - 1);
	if (data[0] == 1) {
		size_t left = size - 2;
		size_t key = data[1] < left ? data[1] : left;
		(void)!group_offset_row_decode(span_of(data + 2, key),
					       span_of(data + 2 + key, left - key), &row);
	} else if (data[0] == 2) {
		subscription_has(in, span_str("events"));
	} else if (group_row_decode(span_str("g"), in, &config, &hooks, NULL, &g) == ERR_OK) {
		if (group_row_encode(&g, &out) == ERR_OK &&
		    !span_eq(span_of(out->data, out->len), in)) {
			abort();
		}
		buf_drop(&out);
		group_resume(&g, 1);
		group_fini(&g);
	}
	return 0;
}
