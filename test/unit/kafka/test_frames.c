#include <stdio.h>
#include <stdlib.h>

#include "test/unit/kafka/codec_help.h"

/* Frames of real clients and a real broker: decoded and encoded again, they are
 * the same bytes. golden/frames.txt has one per line: client, Q or R, key,
 * version, hexadecimal bytes without the length in front. */

Suite *frames_suite(void);

static const char path[] = "test/unit/kafka/golden/frames.txt";

/* Where the body of a response begins. */
static size_t response_body(const struct form *f, struct span frame)
{
	size_t header = sizeof(int32_t);
	/* The tag section, always empty; never in ApiVersions. */
	if (f->is_flexible && f->api->key != KAFKA_API_ApiVersions) {
		ck_assert_uint_gt(frame.n, header);
		ck_assert_uint_eq(frame.p[header], 0);
		header++;
	}
	ck_assert_uint_ge(frame.n, header);
	return header;
}

static size_t request_body(const struct form *f, struct span frame)
{
	struct kafka_request_header h;
	size_t body_at;
	struct err_detail d = {0};
	ck_assert_msg(kafka_header_read(frame, &h, &body_at, &d) == ERR_OK, "%s", d.text);
	ck_assert_int_eq(h.key, f->api->key);
	ck_assert_int_eq(h.version, f->version);
	struct str out = {0};
	kafka_header_write(&out, f->api, &h);
	check_same("header", str_span(&out), span_of(frame.p, body_at));
	str_fini(&out);
	return body_at;
}

static void check_frame(const struct form *f, const char *client, struct span frame)
{
	size_t at = f->is_request ? request_body(f, frame) : response_body(f, frame);
	struct span body = prefix(span_of(frame.p + at, frame.n - at), frame.n - at);
	struct kafka_arena arena = {0};
	struct err_detail d = {0};
	char what[256];
	snprintf(what, sizeof what, "%s: %s", client, f->name);
	void *m = malloc(kafka_struct_size(f->desc));
	ck_assert_ptr_nonnull(m);
	ck_assert_msg(decode(f, body, &arena, m, &d) == ERR_OK, "%s: %s", client, d.text);
	struct span again = encode(f, m);
	check_same(what, again, body);
	span_free(again);
	span_free(body);
	kafka_arena_fini(&arena);
	free(m);
}

START_TEST(frames_of_real_clients_come_back)
{
	FILE *in = fopen(path, "re");
	ck_assert_msg(in != NULL, "%s is read from the top folder of the tree", path);
	char *line = NULL;
	size_t cap = 0;
	unsigned requests = 0;
	unsigned responses = 0;
	while (getline(&line, &cap, in) > 0) {
		char client[64];
		char way;
		int key;
		int version;
		int bytes_at = 0;
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0') {
			continue;
		}
		ck_assert_msg(sscanf(line, "%63s %c %d %d %n", client, &way, &key, &version,
				     &bytes_at) == 4 && bytes_at > 0, "%s", line);
		struct form f = form_of((int16_t)key, (int16_t)version, way == 'Q');
		ck_assert(f.version >= f.api->first && f.version <= f.api->last);
		struct span frame = hex(line + bytes_at);
		check_frame(&f, client, frame);
		span_free(frame);
		requests += way == 'Q';
		responses += way == 'R';
	}
	free(line);
	fclose(in);
	ck_assert_uint_gt(requests, 100);
	ck_assert_uint_gt(responses, 100);
}
END_TEST

Suite *frames_suite(void)
{
	Suite *s = suite_create("frames");
	TCase *t = tcase_create("frames");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, frames_of_real_clients_come_back);
	suite_add_tcase(s, t);
	return s;
}
