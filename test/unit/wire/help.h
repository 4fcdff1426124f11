#ifndef TEST_UNIT_WIRE_HELP_H
#define TEST_UNIT_WIRE_HELP_H

/* Kafka batches made by hand. */

#include <check.h>

#include "base/batch.h"
#include "gateway/wire/records.h"

/* A record as it is to be written; lengths are those of the texts unless set. */
struct raw_record {
	uint8_t attributes;
	int64_t ms_delta;
	int32_t delta;
	const char *key;	/* NULL: null */
	struct span value;	/* p NULL: null */
	int32_t header_count;
	struct span headers;	/* encoded */
};

void put_varlong(struct str *s, int64_t v);
void put_record(struct str *s, const struct raw_record *r);
/* n records with values of about `size` octets, whose bytes vary, null keys and
 * one header each. */
void put_records(struct str *s, int32_t n, size_t size);
/* A batch of those records, sealed, base timestamp 1000; freed with mem_free. */
struct span make_batch(enum records_codec codec, struct span records, int32_t count);
/* Makes the CRC right again. */
void reseal(struct span batch);
/* To change a batch made above. */
uint8_t *bytes_of(struct span batch);
void batch_free(struct span batch);

static inline struct span span_in(const struct str *s)
{
	return span_of(s->p, s->len);
}

#endif
