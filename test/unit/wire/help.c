#include "test/unit/wire/help.h"

#include "base/crc32c.h"
#include "base/mem.h"

void put_varlong(struct str *s, int64_t v)
{
	uint8_t room[10];
	struct wr w = wr_of(room, sizeof room);
	wr_varlong(&w, v);
	str_addn(s, room, wr_len(&w));
}

void put_record(struct str *s, const struct raw_record *r)
{
	struct str body = {.max = 64 << 20};
	str_addn(&body, &r->attributes, 1);
	put_varlong(&body, r->ms_delta);
	put_varlong(&body, r->delta);
	put_varlong(&body, r->key != NULL ? (int64_t)strlen(r->key) : -1);
	str_add(&body, r->key != NULL ? r->key : "");
	put_varlong(&body, r->value.p != NULL ? (int64_t)r->value.n : -1);
	str_addn(&body, r->value.p, r->value.n);
	put_varlong(&body, r->header_count);
	str_addn(&body, r->headers.p, r->headers.n);
	put_varlong(s, (int64_t)body.len);
	str_addn(s, body.p, body.len);
	ck_assert(!s->bad);
	ck_assert(!body.bad);
	str_fini(&body);
}

void put_records(struct str *s, int32_t n, size_t size)
{
	static const uint8_t headers[] = {4, 'h', '1', 6, 'o', 'n', 'e'};
	uint8_t *value = mem_alloc(size);
	ck_assert_ptr_nonnull(value);
	uint32_t x = 12345;
	for (int32_t i = 0; i < n; i++) {
		for (size_t k = 0; k < size; k++) {
			x = x * 1664525 + 1013904223;
			value[k] = (uint8_t)('a' + (x >> 28));
		}
		struct raw_record r = {
			.ms_delta = i % 7, .delta = i, .value = span_of(value, size),
			.header_count = 1, .headers = span_of(headers, sizeof headers),
		};
		put_record(s, &r);
	}
	mem_free(value);
}

void reseal(struct span batch)
{
	put_u32(bytes_of(batch) + 17, crc32c(0, batch.p + 21, batch.n - 21));
}

struct span make_batch(enum records_codec codec, struct span records, int32_t count)
{
	struct str packed = {.max = 256 << 20};
	ck_assert_int_eq(deflate_all(codec, records, &packed), ERR_OK);
	size_t n = BATCH_HEAD + packed.len;
	uint8_t *p = mem_alloc(n);
	ck_assert_ptr_nonnull(p);
	struct wr w = wr_of(p, n);
	wr_u64(&w, 0);
	wr_u32(&w, (uint32_t)n - 12);
	wr_u32(&w, UINT32_MAX);
	wr_u8(&w, 2);
	wr_u32(&w, 0);
	wr_u16(&w, (uint16_t)codec);
	wr_u32(&w, (uint32_t)count - 1);
	wr_u64(&w, 1000);
	wr_u64(&w, 1000);
	wr_u64(&w, UINT64_MAX);
	wr_u16(&w, UINT16_MAX);
	wr_u32(&w, UINT32_MAX);
	wr_u32(&w, (uint32_t)count);
	wr_bytes(&w, packed.p, packed.len);
	ck_assert(!w.bad);
	str_fini(&packed);
	reseal(span_of(p, n));
	return span_of(p, n);
}

uint8_t *bytes_of(struct span batch)
{
	uint8_t *p;
	memcpy(&p, &batch.p, sizeof p);
	return p;
}

void batch_free(struct span batch)
{
	mem_free(bytes_of(batch));
}
