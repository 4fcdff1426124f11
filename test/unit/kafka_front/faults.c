#include "test/unit/kafka_front/faults.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { ROUNDS_MAX = 2000, WAIT_MS = 10000 };

static struct buf *frame_of(int16_t key, int16_t version, const void *body)
{
	const struct kafka_api *api = kafka_api_find(key);
	struct str bytes = {.max = SIZE_MAX};
	struct kafka_request_header h = {.key = key, .version = version, .correlation = 7};
	kafka_header_write(&bytes, api, &h);
	struct kafka_out out = {.bytes = {.max = SIZE_MAX}};
	kafka_encode(&out, api->request, version, kafka_is_flexible(api, version), body);
	ck_assert(!out.bad);
	kafka_out_flatten(&out, &bytes);
	kafka_out_fini(&out);
	struct buf *frame = buf_new(bytes.len);
	memcpy(frame->data, bytes.p, bytes.len);
	frame->len = (uint32_t)bytes.len;
	str_fini(&bytes);
	return frame;
}

/* Everything that is out has come back. */
static void settle(struct kafka_fix *f, const struct kafka_conn *c)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (c->first != NULL && (!c->first->is_answered || c->first->outstanding > 0)) {
		ck_assert_int_lt(clock_mono_ms(), until);
		msg_run_all(mailbox_wait(&f->loop, clock_mono_ns() + 5 * 1000000));
	}
}

void faults_each_allocation(struct kafka_fix *f, int16_t key, int16_t version, const void *body)
{
	long n = 0;
	bool fired = true;
	while (fired) {
		n++;
		ck_assert_int_lt(n, ROUNDS_MAX);
		struct kafka_conn *c = fix_conn(f, "", ALL_RIGHTS);
		struct buf *frame = frame_of(key, version, body);
		mem_fault_at(n);
		kafka_request_begin(c, frame, 0);
		settle(f, c);
		fired = mem_fault_fired();
		mem_fault_at(0);
		fix_conn_close(f, &c);
	}
}

void faults_gone(struct kafka_fix *f, int16_t key, int16_t version, const void *body)
{
	for (int ms = 0; ms < 2; ms++) {
		struct kafka_conn *c = fix_conn(f, "", ALL_RIGHTS);
		kafka_request_begin(c, frame_of(key, version, body), 0);
		fix_run_ms(f, ms);
		fix_conn_close(f, &c);
	}
}
