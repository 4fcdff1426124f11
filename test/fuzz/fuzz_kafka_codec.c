/* Any version of any API, requests and responses: what decodes encodes again and
 * then decodes as the same. Byte 0 chooses the API, byte 1 the version, its top
 * bit the direction; 0xff as byte 0 makes the rest a frame with its header. */

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/kafka/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void body(const struct kafka_api *api, const struct kafka_struct *s, int16_t version,
		 struct span in)
{
	bool is_flexible = kafka_is_flexible(api, version);
	size_t size = kafka_struct_size(s);
	struct kafka_arena arena = {0};
	struct kafka_out out = {.bytes.max = 64 << 20};
	struct str flat = {.max = 64 << 20};
	void *first = mem_alloc(size);
	void *again = mem_alloc(size);
	struct err_detail d;
	if (first != NULL && again != NULL &&
	    kafka_decode(s, version, is_flexible, in, &arena, first, &d) == ERR_OK) {
		kafka_encode(&out, s, version, is_flexible, first);
		kafka_out_flatten(&out, &flat);
		if (flat.bad || flat.len != kafka_out_size(&out)) {
			abort();
		}
		struct kafka_arena more = {.max = 64 << 20};
		if (kafka_decode(s, version, is_flexible, span_of(flat.p, flat.len), &more, again,
				 &d) != ERR_OK || !kafka_equal(s, first, again)) {
			abort();
		}
		kafka_arena_fini(&more);
	}
	mem_free(first);
	mem_free(again);
	str_fini(&flat);
	kafka_out_fini(&out);
	kafka_arena_fini(&arena);
}

static void frame(struct span in)
{
	struct kafka_request_header h;
	size_t at = 0;
	struct err_detail d;
	if (kafka_header_read(in, &h, &at, &d) != ERR_OK) {
		return;
	}
	if (at > in.n) {
		abort();
	}
	const struct kafka_api *api = kafka_api_find(h.key);
	if (api != NULL && h.version >= api->first && h.version <= api->last) {
		body(api, api->request, h.version, span_of(in.p + at, in.n - at));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { HEADER = 2, IS_RESPONSE = 0x80, IS_FRAME = 0xff };
	if (size < HEADER) {
		return 0;
	}
	struct span in = span_of(data + HEADER, size - HEADER);
	if (data[0] == IS_FRAME) {
		frame(in);
		return 0;
	}
	uint32_t n;
	const struct kafka_api *api = kafka_apis(&n);
	api += data[0] % n;
	int versions = api->last - api->first + 1;
	int16_t version = (int16_t)(api->first + (data[1] & ~IS_RESPONSE) % versions);
	body(api, (data[1] & IS_RESPONSE) != 0 ? api->response : api->request, version, in);
	return 0;
}
