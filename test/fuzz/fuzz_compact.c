/* A stored batch as compaction sees it. The CRC is made right first, so that inputs
 * get past it; what is walked is rewritten with every other record, and the result
 * holds exactly those. The first octet chooses the encoding. */

#include <stdlib.h>

#include "base/crc32c.h"
#include "gateway/wire/compact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 4096 };

struct seen {
	int32_t delta[RECORDS];
	uint32_t n;
};

static enum err see(void *arg, const struct store_compact_record *r)
{
	struct seen *s = arg;
	if (s->n == RECORDS) {
		return ERR_LIMIT;
	}
	s->delta[s->n++] = r->offset_delta;
	return ERR_OK;
}

static void check_rewritten(struct span batch, enum batch_encoding encoding, const struct seen *all)
{
	static uint8_t keep[RECORDS / 8];
	static struct seen kept;
	for (size_t i = 0; i < sizeof keep; i++) {
		keep[i] = 0x55;
	}
	struct str out = {.max = 64 << 20};
	if (wire_compactor.rewrite(batch, encoding, keep, &out) == ERR_OK) {
		struct span made = span_of(out.p, out.len);
		kept.n = 0;
		if (batch_check(made) != ERR_OK ||
		    wire_compactor.walk(made, span_str("k"), encoding, see, &kept) != ERR_OK ||
		    kept.n != (all->n + 1) / 2) {
			abort();
		}
		for (uint32_t i = 0; i < kept.n; i++) {
			if (kept.delta[i] != all->delta[i * 2]) {
				abort();
			}
		}
	}
	str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen all;
	if (size < 1 + BATCH_HEAD) {
		return 0;
	}
	enum batch_encoding encoding = data[0] % 2 == 0 ? BATCH_KAFKA : BATCH_AMQP;
	size_t n = size - 1;
	uint8_t *copy = malloc(n);
	if (copy == NULL) {
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		copy[i] = data[i + 1];
	}
	put_u32(copy + 8, (uint32_t)(n - 12));
	put_u32(copy + 17, crc32c(0, copy + 21, n - 21));
	struct span batch = span_of(copy, n);
	all.n = 0;
	enum err e = wire_compactor.walk(batch, span_str("k"), encoding, see, &all);
	if (e == ERR_OK) {
		check_rewritten(batch, encoding, &all);
	} else if (e != ERR_CORRUPT && e != ERR_NOMEM && e != ERR_LIMIT) {
		abort();
	}
	free(copy);
	return 0;
}
