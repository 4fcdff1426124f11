/* Batches, broker properties, management bodies and request heads as a client
 * sends them. */

#include "gateway/http/batch_json.h"
#include "gateway/http/head.h"
#include "gateway/http/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct http_events events;
	struct http_head head = {0};
	struct http_json j;
	struct str out = {0};
	(void)http_head_scan(&head, in);
	if (http_events_batch(in, span_of(NULL, 0), &events, NULL) == ERR_OK) {
		buf_drop(&events.batch);
	}
	http_json_init(&j, in, NULL);
	struct span value = http_json_skip(&j);
	http_json_compact(value, &out);
	http_json_put(&out, in);
	str_fini(&out);
	return 0;
}
