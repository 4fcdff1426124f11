/* A volume's MANIFEST: as it stands, and with the right checksum behind it. What is
 * accepted prints as it was read. */

#include <assert.h>

#include "base/crc32c.h"
#include "store/volume/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct span text)
{
	struct manifest m;
	if (manifest_parse(text, &m, NULL) == ERR_OK) {
		struct str back = {.max = 1 << 20};
		if (manifest_print(&m, &back) == ERR_OK) {
			assert(span_eq(text, span_of(back.p, back.len)));
		}
		str_fini(&back);
	}
	manifest_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {.max = 1 << 20};
	parse(span_of(data, size));
	str_addn(&text, data, size);
	str_printf(&text, "crc=%08x\n", crc32c(0, data, size));
	if (!text.bad) {
		parse(span_of(text.p, text.len));
	}
	str_fini(&text);
	return 0;
}
