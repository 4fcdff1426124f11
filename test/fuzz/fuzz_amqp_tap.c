/* Both taps: the first octet is the fragment size, the rest the stream. */

#include "base/limits.h"
#include "gateway/amqp/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct amqp_tap_in in;
	struct amqp_tap_out out;
	struct str written = {.max = 0};
	enum err e = ERR_OK, e2 = ERR_OK;
	amqp_tap_in_init(&in, LIMIT_AMQP_FRAME);
	amqp_tap_out_init(&out);
	for (size_t at = 1, n; at < size && (e == ERR_OK || e2 == ERR_OK); at += n) {
		n = data[0] == 0 || data[0] > size - at ? size - at : data[0];
		struct span left = span_of(data + at, n);
		struct amqp_tap_frame f = {.kind = AMQP_TAP_EMPTY};
		e2 = e2 != ERR_OK ? e2 : amqp_tap_out_write(&out, left, &written);
		while (e == ERR_OK && f.kind != AMQP_TAP_MORE) {
			e = amqp_tap_in_next(&in, &left, &f, NULL);
		}
	}
	amqp_tap_in_fini(&in);
	amqp_tap_out_fini(&out);
	str_fini(&written);
	return 0;
}
