#include "test/unit/store_shard/shard_bed.h"

#include <check.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/shard/shard_priv.h"
#include "store/volume/volume.h"

void bed_make(struct bed *b, uint32_t shards, uint32_t n_volumes)
{
	*b = (struct bed){.n_volumes = n_volumes};
	for (uint32_t i = 0; i < n_volumes; i++) {
		b->volumes[i] = fake_volume_new(shards);
		b->online[i] = b->volumes[i];
		b->dirs[i] = "/";
	}
	b->volume = b->volumes[0];
	mailbox_init(&b->mb, NULL, NULL);
	b->options = (struct shard_options){.volumes = b->online,
					    .dirs = b->dirs,
					    .n_volumes = n_volumes,
					    .shards = shards,
					    .node_id = 1};
}

void bed_init(struct bed *b, uint32_t shards)
{
	bed_make(b, shards, 1);
	bed_open(b);
}

void bed_open(struct bed *b)
{
	struct err_detail d = {""};
	enum err e = shard_core_new(&b->options, &b->core, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	for (uint32_t i = 0; i < b->n_volumes; i++) {
		if (b->online[i] != NULL) {
			ck_assert_int_eq(volume_start(b->online[i], &d), ERR_OK);
		}
	}
	e = shard_core_start(b->core, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

void bed_close(struct bed *b)
{
	shard_core_close(b->core);
	for (uint32_t i = 0; i < b->n_volumes; i++) {
		struct volume *v = b->volumes[i];
		volume_stop(&v);
	}
	shard_core_free(&b->core);
}

void bed_fini(struct bed *b)
{
	if (b->core != NULL) {
		bed_close(b);
	}
	for (uint32_t i = 0; i < b->n_volumes; i++) {
		fake_volume_free(&b->volumes[i]);
	}
	mailbox_fini(&b->mb);
}

enum err bed_command(struct bed *b, const struct catalog_command *cmd)
{
	struct ops_command c = {
		.op = {.reply_to = &b->mb, .done = ops_command_done, .command = *cmd}};
	shard_core_command(b->core, &c.op);
	ops_until(&b->mb, &c.is_done);
	ck_assert(c.op.err == ERR_OK || c.op.detail.text[0] != '\0' || c.op.err == ERR_STOPPING ||
		  c.op.err == ERR_NOMEM);
	return c.op.err;
}

struct store_partition *bed_find(struct bed *b, const char *hub, uint32_t partition)
{
	const struct catalog *c = shard_core_catalog(b->core);
	const struct catalog_hub *h = catalog_hub_find(c, span_str(hub));
	struct store_partition *p = NULL;
	if (h != NULL) {
		p = shard_core_partition(b->core, (struct store_part){h->id, partition});
	}
	catalog_drop(&c);
	return p;
}

struct store_partition *bed_create(struct bed *b, const char *hub, uint32_t partitions)
{
	struct catalog_command cmd = ops_create(hub, partitions);
	ck_assert_int_eq(bed_command(b, &cmd), ERR_OK);
	struct store_partition *p = bed_find(b, hub, 0);
	ck_assert_ptr_nonnull(p);
	return p;
}

enum err bed_append(struct bed *b, struct store_partition *p, int64_t first, uint32_t n)
{
	struct ops_append a;
	ops_append_init(&a, p, &b->mb, first, n, 20, NULL);
	shard_core_append(b->core, &a.op);
	ops_until(&b->mb, &a.is_done);
	return a.op.err;
}

void bed_settle(struct bed *b)
{
	/* A command that fails its check is answered by the core at once, unless
	 * another is under way; so an update of a hub that is not there. */
	struct catalog_command cmd = {.op = CATALOG_HUB_UPDATE, .hub = "no-such-hub"};
	ck_assert_int_eq(bed_command(b, &cmd), ERR_NOT_FOUND);
}

struct rows_op {
	struct store_rows_write op;
	bool is_done;
};

static void on_rows_done(struct msg *m)
{
	((struct rows_op *)m)->is_done = true;
}

enum err bed_rows_write(struct bed *b, uint32_t shard, const struct store_row *rows, uint32_t n)
{
	struct rows_op w = {.op = {.reply_to = &b->mb,
				   .done = on_rows_done,
				   .shard = shard,
				   .rows = rows,
				   .n = n,
				   .err = ERR_INTERNAL}};
	shard_core_rows_write(b->core, &w.op);
	ops_until(&b->mb, &w.is_done);
	return w.op.err;
}

struct trim_op {
	struct store_trim op;
	bool is_done;
};

static void on_trim_done(struct msg *m)
{
	((struct trim_op *)m)->is_done = true;
}

enum err bed_trim(struct bed *b, struct store_partition *p, int64_t before_seq)
{
	struct trim_op t = {.op = {.reply_to = &b->mb,
				   .done = on_trim_done,
				   .partition = p,
				   .before_seq = before_seq,
				   .err = ERR_INTERNAL}};
	shard_core_trim(b->core, &t.op);
	ops_until(&b->mb, &t.is_done);
	struct store_position at;
	store_partition_position(p, &at);
	ck_assert_int_ge(at.first_seq, t.op.first_seq);
	ck_assert(t.op.err != ERR_OK || t.op.first_seq >= before_seq);
	return t.op.err;
}

void bed_await_start(struct store_partition *p, int64_t first_seq)
{
	struct store_position at;
	int64_t end_ns = clock_mono_ns() + (int64_t)60 * 1000000000;
	do {
		store_partition_position(p, &at);
		ck_assert_int_le(at.first_seq, first_seq);
		ck_assert_msg(clock_mono_ns() < end_ns, "starts at %lld, not %lld",
			      (long long)at.first_seq, (long long)first_seq);
		usleep(1000);
	} while (at.first_seq < first_seq);
}

struct scan_op {
	struct store_rows_scan op;
	bool is_done;
};

static void on_scan_done(struct msg *m)
{
	((struct scan_op *)m)->is_done = true;
}

static enum err count_row(void *arg, uint32_t shard, struct span key, struct span content)
{
	(void)shard;
	(void)key;
	(void)content;
	++*(uint32_t *)arg;
	return ERR_OK;
}

uint32_t bed_rows(struct bed *b, uint8_t kind)
{
	uint32_t n = 0;
	struct scan_op s = {.op = {.reply_to = &b->mb,
				   .done = on_scan_done,
				   .kind = kind,
				   .row = count_row,
				   .arg = &n,
				   .err = ERR_INTERNAL}};
	shard_core_rows_scan(b->core, &s.op);
	ops_until(&b->mb, &s.is_done);
	ck_assert_int_eq(s.op.err, ERR_OK);
	return n;
}

struct core_call {
	struct msg msg;
	struct bed *bed;
	void (*fn)(struct shard_core *core, void *arg);
	void *arg;
	bool is_done;
};

static void on_called(struct msg *m)
{
	((struct core_call *)m)->is_done = true;
}

static void on_call(struct msg *m)
{
	struct core_call *c = (struct core_call *)m;
	if (c->fn != NULL) {
		c->fn(c->bed->core, c->arg);
	}
	c->msg.run = on_called;
	mailbox_post(&c->bed->mb, &c->msg);
}

void bed_on_core(struct bed *b, void (*fn)(struct shard_core *core, void *arg), void *arg)
{
	struct core_call c = {.msg.run = on_call, .bed = b, .fn = fn, .arg = arg};
	mailbox_post(&b->core->mailbox, &c.msg);
	ops_until(&b->mb, &c.is_done);
}

uint64_t bed_entries(struct bed *b)
{
	struct fake_counts c;
	fake_volume_counts(b->volume, &c);
	return c.entries;
}
