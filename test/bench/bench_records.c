/* What checking and unpacking producers' batches costs, on one core.
 *
 *   bench_records [SECONDS [WHAT]]
 *
 * One line of JSON for each codec and record size: bytes are unpacked ones, in
 * 10^6 a second, records in 10^6 a second. */

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "gateway/wire/records.h"
#include "gateway/wire/to_kafka.h"

enum { BATCH = 512 << 10 };

static const char *const names[] = {"none", "gzip", "snappy", "lz4", "zstd"};
static double seconds = 1;
static const char *only;	/* one of the rows' names */

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "bench_records: %s failed\n", what);
		exit(1);
	}
}

/* A batch of `count` records with values of `size` octets, of which about half
 * goes away when packed. */
static struct buf *make(enum records_codec codec, size_t size, int32_t *count, size_t *unpacked)
{
	struct batch_builder b;
	struct buf *plain = NULL;
	uint8_t *value = mem_alloc(size);
	uint32_t x = 1;
	must(value != NULL, "memory");
	batch_builder_init(&b, BATCH, 2 * BATCH);
	*count = (int32_t)(BATCH / size);
	for (int32_t i = 0; i < *count; i++) {
		for (size_t k = 0; k < size; k++) {
			x = x * 1664525 + 1013904223;
			value[k] = (uint8_t)('a' + (x >> 28));
		}
		struct span part = span_of(value, size);
		batch_builder_add(&b, &part, 1);
	}
	must(batch_builder_finish(&b, &plain) == ERR_OK, "building");
	batch_builder_fini(&b);
	mem_free(value);
	struct str packed = {.max = 4 * BATCH};
	struct span records = span_of(plain->data + BATCH_HEAD, plain->len - BATCH_HEAD);
	must(deflate_all(codec, records, &packed) == ERR_OK, "packing");
	*unpacked = records.n;
	struct buf *out = buf_new(BATCH_HEAD + packed.len);
	must(out != NULL, "memory");
	out->len = (uint32_t)(BATCH_HEAD + packed.len);
	memcpy(out->data, plain->data, BATCH_HEAD);
	memcpy(out->data + BATCH_HEAD, packed.p, packed.len);
	put_u32(out->data + 8, out->len - 12);
	put_u16(out->data + 21, (uint16_t)codec);
	batch_seal(out->data, out->len, 1700000000000);
	str_fini(&packed);
	buf_drop(&plain);
	return out;
}

static void check_once(struct span batch)
{
	static const struct records_check rules = {
		.max_batch_bytes = 4 * BATCH, .max_inflated_bytes = 4 * BATCH, .allow_zstd = true,
	};
	struct batch_head head;
	struct err_detail d;
	int64_t ms;
	size_t inflated;
	must(records_check(batch, &rules, &head, &ms, &inflated, &d) == RECORDS_OK, "checking");
}

static void walk_once(struct span batch)
{
	struct records_iter *it;
	struct batch_record rec;
	must(records_iter_new(batch, 4 * BATCH, NULL, &it) == ERR_OK, "walking");
	while (records_iter_next(it, &rec) == ERR_OK) {
	}
	records_iter_free(&it);
}

static void crc_once(struct span batch)
{
	static volatile uint32_t crc;
	crc = crc32c(crc, batch.p, batch.n);
}

static void measure(const char *what, void (*once)(struct span), const char *codec, size_t size,
		    const struct buf *batch, int32_t count, size_t unpacked)
{
	if (only != NULL && strcmp(only, what) != 0) {
		return;
	}
	int64_t start = clock_mono_ns();
	int64_t end = start + (int64_t)(seconds * 1e9);
	int64_t now;
	double rounds = 0;
	do {
		once(span_of(batch->data, batch->len));
		rounds++;
		now = clock_mono_ns();
	} while (now < end);
	double s = (double)(now - start) / 1e9;
	printf("{\"what\": \"%s\", \"codec\": \"%s\", \"value_bytes\": %zu, \"batch_bytes\": %u, "
	       "\"mb_per_s\": %.0f, \"m_records_per_s\": %.2f}\n",
	       what, codec, size, (unsigned)batch->len, rounds * (double)unpacked / s / 1e6,
	       rounds * count / s / 1e6);
}

/* A batch of events as AMQP senders leave it, for Kafka readers. */
static void convert_once(struct span batch)
{
	struct str out = {.max = TO_KAFKA_MAX};
	must(to_kafka_batch(batch, span_of(NULL, 0), 1, &out) == ERR_OK, "converting");
	str_fini(&out);
}

static void measure_conversion(size_t size)
{
	static const uint8_t props[] = {0, 0x53, 0x74, 0xc1, 8, 2, 0xa1, 1, 'p', 0xa1, 2, 'v', '1'};
	uint8_t head[] = {0, 0x53, 0x75, 0xb0, 0, 0, 0, 0};
	struct batch_builder b;
	struct buf *batch = NULL;
	uint8_t *value = mem_calloc(1, size);
	must(value != NULL, "memory");
	put_u32(head + 4, (uint32_t)size);
	struct span parts[] = {
		span_of(props, sizeof props), span_of(head, sizeof head), span_of(value, size),
	};
	int32_t count = (int32_t)(BATCH / size);
	batch_builder_init(&b, BATCH, 2 * BATCH);
	for (int32_t i = 0; i < count; i++) {
		batch_builder_add(&b, parts, sizeof parts / sizeof parts[0]);
	}
	must(batch_builder_finish(&b, &batch) == ERR_OK, "building");
	batch_builder_fini(&b);
	batch_seal(batch->data, batch->len, 1);
	measure("to_kafka", convert_once, "none", size, batch, count, batch->len);
	buf_drop(&batch);
	mem_free(value);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = {100, 1024};
	seconds = argc > 1 ? atof(argv[1]) : seconds;
	only = argc > 2 ? argv[2] : NULL;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (int codec = RECORDS_NONE; codec <= RECORDS_ZSTD; codec++) {
			int32_t count;
			size_t unpacked;
			struct buf *batch = make((enum records_codec)codec, sizes[i], &count, &unpacked);
			if (codec == RECORDS_NONE) {
				measure("crc", crc_once, names[codec], sizes[i], batch, count, unpacked);
			}
			measure("check", check_once, names[codec], sizes[i], batch, count, unpacked);
			measure("walk", walk_once, names[codec], sizes[i], batch, count, unpacked);
			buf_drop(&batch);
		}
		measure_conversion(sizes[i]);
	}
	return 0;
}
