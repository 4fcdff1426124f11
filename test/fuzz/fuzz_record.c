/* A record of the log: its head as it stands and with a right checksum, then
 * all its commands. */

#include "base/crc32c.h"
#include "base/mem.h"
#include "store/volume/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record r;
	(void)!record_read(span_of(data, size), &r);
	uint8_t *copy = size >= RECORD_HEAD ? mem_dup(data, size) : NULL;
	if (copy == NULL) {
		return 0;
	}
	if (get_u32(copy + 8) >= RECORD_HEAD && get_u32(copy + 8) <= size) {
		put_u32(copy, crc32c(0, copy + 4, get_u32(copy + 8) - 4));
	}
	struct volume_hard_state h;
	struct record_segment s;
	if (record_read(span_of(copy, size), &r) == ERR_OK) {
		(void)!(r.kind == RECORD_ENTRY		? record_check(&r)
			: r.kind == RECORD_HARD_STATE	? record_hard_state_read(&r, &h)
			: r.kind == RECORD_SEGMENT_HEAD ? record_segment_read(&r, &s) : ERR_OK);
	}
	mem_free(copy);
	return 0;
}
