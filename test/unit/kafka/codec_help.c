#include "test/unit/kafka/codec_help.h"

#include <stdio.h>
#include <stdlib.h>

struct span prefix(struct span s, size_t n)
{
	uint8_t *to = malloc(n != 0 ? n : 1);
	ck_assert_ptr_nonnull(to);
	if (n != 0) {
		memcpy(to, s.p, n);
	}
	return span_of(to, n);
}

void span_free(struct span s)
{
	union {
		const uint8_t *borrowed;
		uint8_t *own;
	} p = {.borrowed = s.p};
	free(p.own);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct span hex(const char *text)
{
	uint8_t *to = malloc(strlen(text) / 2 + 1);
	ck_assert_ptr_nonnull(to);
	size_t n = 0;
	int high = -1;
	for (; *text != '\0'; text++) {
		int d = digit(*text);
		if (d < 0) {
			ck_assert_int_eq(*text, ' ');
		} else if (high < 0) {
			high = d;
		} else {
			to[n++] = (uint8_t)(high * 16 + d);
			high = -1;
		}
	}
	ck_assert_int_eq(high, -1);
	struct span s = prefix(span_of(to, n), n);
	free(to);
	return s;
}

static void print_hex(const char *what, struct span s)
{
	printf("%s:", what);
	for (size_t i = 0; i < s.n; i++) {
		printf("%02x", s.p[i]);
	}
	printf("\n");
}

void check_same(const char *what, struct span got, struct span want)
{
	if (!span_eq(got, want)) {
		print_hex("got ", got);
		print_hex("want", want);
		ck_abort_msg("%s: bytes differ", what);
	}
}

static struct form form_make(const struct kafka_api *api, int16_t version, bool is_request)
{
	struct form f = {
		.api = api,
		.desc = is_request ? api->request : api->response,
		.version = version,
		.is_request = is_request,
		.is_flexible = kafka_is_flexible(api, version),
	};
	snprintf(f.name, sizeof f.name, "%s v%d %s", api->name, version,
		 is_request ? "request" : "response");
	return f;
}

bool form_next(uint32_t *at, struct form *out)
{
	uint32_t n;
	const struct kafka_api *apis = kafka_apis(&n);
	uint32_t i = (*at)++;
	for (uint32_t a = 0; a < n; a++) {
		uint32_t forms = 2 * (uint32_t)(apis[a].last - apis[a].first + 1);
		if (i < forms) {
			*out = form_make(&apis[a], (int16_t)(apis[a].first + (int16_t)(i / 2)),
					 i % 2 == 0);
			return true;
		}
		i -= forms;
	}
	return false;
}

struct form form_of(int16_t key, int16_t version, bool is_request)
{
	const struct kafka_api *api = kafka_api_find(key);
	ck_assert_ptr_nonnull(api);
	return form_make(api, version, is_request);
}

struct span encode(const struct form *f, const void *in)
{
	struct kafka_out o = {0};
	struct str flat = {0};
	kafka_encode(&o, f->desc, f->version, f->is_flexible, in);
	ck_assert_msg(!o.bad, "%s: not encoded", f->name);
	kafka_out_flatten(&o, &flat);
	ck_assert(!flat.bad);
	ck_assert_uint_eq(flat.len, kafka_out_size(&o));
	struct span s = prefix(str_span(&flat), flat.len);
	str_fini(&flat);
	kafka_out_fini(&o);
	return s;
}

enum err decode(const struct form *f, struct span in, struct kafka_arena *arena, void *out,
		struct err_detail *d)
{
	return kafka_decode(f->desc, f->version, f->is_flexible, in, arena, out, d);
}

void check_refused(const struct form *f, struct span in, enum err e, const char *text)
{
	struct kafka_arena arena = {0};
	struct err_detail d = {0};
	void *out = malloc(kafka_struct_size(f->desc));
	ck_assert_ptr_nonnull(out);
	ck_assert_int_eq(decode(f, in, &arena, out, &d), e);
	ck_assert_msg(strstr(d.text, text) != NULL, "\"%s\" lacks \"%s\"", d.text, text);
	kafka_arena_fini(&arena);
	free(out);
}
