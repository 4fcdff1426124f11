/* A batch from a Kafka producer: checked, and what is accepted is walked and
 * turned into AMQP events. The CRC is made right first, so that inputs get past
 * it. */

#include <stdlib.h>

#include "base/crc32c.h"
#include "gateway/wire/event.h"
#include "gateway/wire/kafka_value.h"
#include "gateway/wire/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INFLATED_MAX = 4 << 20, MEMORY = 16 << 20 };

/* An accepted record becomes a message. */
static void as_amqp(const struct batch_record *rec)
{
	struct str value = {.max = 64 << 20};
	struct str out = {.max = 64 << 20};
	struct amqp_outbound o = {.sequence = 1};
	struct amqp_message m;
	if (amqp_kafka_value(rec, &value) != ERR_OK ||
	    amqp_message_read(span_of(value.p, value.len), &m, NULL) != ERR_OK ||
	    amqp_outbound_write(span_of(value.p, value.len), &o, &out) != ERR_OK) {
		abort();
	}
	str_fini(&value);
	str_fini(&out);
}

static int32_t walk(struct span batch, bool is_accepted, struct budget *memory)
{
	struct records_iter *it;
	struct batch_record rec;
	int32_t n = 0;
	enum err e = records_iter_new(batch, INFLATED_MAX, memory, &it);
	while (e == ERR_OK && (e = records_iter_next(it, &rec)) == ERR_OK) {
		n++;
		if (is_accepted) {
			as_amqp(&rec);
		}
	}
	records_iter_free(&it);
	return e == ERR_EOF ? n : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size != 0 ? size : 1);
	if (copy == NULL) {
		return 0;
	}
	for (size_t i = 0; i < size; i++) {
		copy[i] = data[i];
	}
	if (size > BATCH_HEAD) {
		put_u32(copy + 17, crc32c(0, copy + 21, size - 21));
	}
	struct budget memory;
	budget_init(&memory, MEMORY);
	struct records_check rules = {
		.max_batch_bytes = SIZE_MAX, .max_inflated_bytes = INFLATED_MAX,
		.memory = &memory, .allow_zstd = true,
	};
	struct batch_head head;
	struct err_detail d = {""};
	int64_t max_ms;
	size_t inflated;
	enum records_verdict v = records_check(span_of(copy, size), &rules, &head, &max_ms, &inflated, &d);
	int32_t n = walk(span_of(copy, size), v == RECORDS_OK, &memory);
	if ((v == RECORDS_OK && n != head.count) || budget_used(&memory) != 0) {
		abort();
	}
	free(copy);
	return 0;
}
