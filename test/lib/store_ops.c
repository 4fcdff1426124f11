#include "test/lib/store_ops.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { PATIENCE_S = 60 };

struct buf *ops_batch(int64_t first, uint32_t n, size_t size, const char *key, uint32_t *len)
{
	struct batch_builder b;
	batch_builder_init(&b, n * (size + BATCH_RECORD_MAX) + LIMIT_PARTITION_KEY, LIMIT_BATCH);
	static const uint8_t padding[1 << 20];
	for (uint32_t i = 0; i < n; i++) {
		char text[24];
		int digits = snprintf(text, sizeof text, "%lld", (long long)first + i);
		size_t pad = size > (size_t)digits + 1 ? size - (size_t)digits : 1;
		ck_assert(pad <= sizeof padding);
		struct span parts[2] = {span_of(text, (size_t)digits), span_of(padding, pad)};
		batch_builder_add(&b, parts, 2);
	}
	struct buf *buf = NULL;
	ck_assert_int_eq(batch_builder_finish(&b, &buf), ERR_OK);
	batch_builder_fini(&b);
	*len = buf->len;
	size_t key_len = key != NULL ? strlen(key) : 0;
	if (key_len > 0) {
		ck_assert(buf->len + key_len <= buf->cap);
		memcpy(buf->data + buf->len, key, key_len);
		buf->len += (uint32_t)key_len;
	}
	return buf;
}

void ops_append_init(struct ops_append *a, struct store_partition *p, struct mailbox *reply_to,
		     int64_t first, uint32_t n, size_t size, const char *key)
{
	*a = (struct ops_append){
		.op = {.reply_to = reply_to,
		       .done = ops_append_done,
		       .partition = p,
		       .encoding = BATCH_AMQP,
		       .key_len = key != NULL ? (uint32_t)strlen(key) : 0,
		       .events = n,
		       .may_merge = true,
		       .err = ERR_INTERNAL,
		       .base_seq = -1},
		.value = first,
	};
	a->op.batch = ops_batch(first, n, size, key, &a->op.batch_len);
}

void ops_append_kafka(struct ops_append *a, int64_t producer_id, int16_t epoch, int32_t sequence)
{
	a->op.encoding = BATCH_KAFKA;
	a->op.may_merge = false;
	uint8_t *b = a->op.batch->data;
	put_u64(b + 43, (uint64_t)producer_id);
	put_u16(b + 51, (uint16_t)epoch);
	put_u32(b + 53, (uint32_t)sequence);
	batch_seal(b, a->op.batch_len, 1000 + (int64_t)sequence);
}

void ops_append_done(struct msg *m)
{
	struct ops_append *a = (struct ops_append *)m;
	ck_assert(!a->is_done);
	ck_assert_ptr_null(a->op.batch);
	a->is_done = true;
	if (a->answered != NULL) {
		a->order = (*a->answered)++;
	}
}

void ops_command_done(struct msg *m)
{
	((struct ops_command *)m)->is_done = true;
}

void ops_watch_done(struct msg *m)
{
	struct ops_watch *w = (struct ops_watch *)m;
	w->is_done = true;
	w->runs++;
}

void ops_read_done(struct msg *m)
{
	((struct ops_read *)m)->is_done = true;
}

void ops_seek_done(struct msg *m)
{
	((struct ops_seek *)m)->is_done = true;
}

void ops_watch_init(struct ops_watch *w, struct store_partition *p, struct mailbox *reply_to,
		    int64_t seq)
{
	*w = (struct ops_watch){.op = {.reply_to = reply_to,
				       .done = ops_watch_done,
				       .partition = p,
				       .seq = seq,
				       .err = ERR_INTERNAL}};
}

static void run_some(struct mailbox *mb)
{
	struct msg *m = mailbox_wait(mb, clock_mono_ns() + (int64_t)PATIENCE_S * 1000000000);
	ck_assert_msg(m != NULL, "nothing was answered");
	msg_run_all(m);
}

void ops_until(struct mailbox *mb, const bool *flag)
{
	while (!*flag) {
		run_some(mb);
	}
}

void ops_until_count(struct mailbox *mb, const uint32_t *count, uint32_t n)
{
	while (*count < n) {
		run_some(mb);
	}
}

int64_t ops_check_batches(const struct store_batches *b, int64_t from, int64_t shift)
{
	int64_t next = from;
	for (uint32_t i = 0; i < b->n; i++) {
		const struct store_batch *sb = &b->v[i];
		struct batch_head h;
		ck_assert_int_eq(batch_check(sb->batch), ERR_OK);
		ck_assert_int_eq(batch_head_read(sb->batch, &h), ERR_OK);
		ck_assert_int_eq(h.base_offset, sb->base_seq);
		ck_assert_int_eq(h.count, sb->count);
		ck_assert_int_eq(h.last_offset_delta, h.count - 1);
		ck_assert_int_eq(h.base_timestamp, sb->append_ms);
		ck_assert_int_eq(h.max_timestamp, sb->append_ms);
		ck_assert_msg(i == 0 ? sb->base_seq <= from : sb->base_seq == next, "gap");
		struct batch_iter it;
		struct batch_record r;
		ck_assert_int_eq(batch_iter_init(&it, sb->batch), ERR_OK);
		int32_t delta = 0;
		enum err e;
		while ((e = batch_iter_next(&it, &r)) == ERR_OK) {
			ck_assert_int_eq(r.offset_delta, delta);
			ck_assert_int_eq(r.timestamp, sb->append_ms);
			ck_assert_int_eq(atoll((const char *)r.value.p), sb->base_seq + delta + shift);
			delta++;
		}
		ck_assert_int_eq(e, ERR_EOF);
		ck_assert_int_eq(delta, sb->count);
		next = sb->base_seq + sb->count;
	}
	return next;
}

struct catalog_command ops_create(const char *hub, uint32_t partitions)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .partitions = partitions};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", hub);
	return cmd;
}
