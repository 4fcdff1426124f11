#include "test/unit/store_shard/shard_bed.h"

#include <check.h>

#include "store/shard/shard_priv.h"
#include "store/volume/volume.h"

void bed_init(struct bed *b, uint32_t shards)
{
	*b = (struct bed){.volume = fake_volume_new(shards)};
	mailbox_init(&b->mb, NULL, NULL);
	b->options = (struct shard_options){
		.volume = b->volume, .dir = "/", .shards = shards, .node_id = 1};
	bed_open(b);
}

void bed_open(struct bed *b)
{
	struct err_detail d = {""};
	enum err e = shard_core_new(&b->options, &b->core, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
	ck_assert_int_eq(volume_start(b->volume, &d), ERR_OK);
	e = shard_core_start(b->core, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

void bed_close(struct bed *b)
{
	shard_core_close(b->core);
	struct volume *v = b->volume;
	volume_stop(&v);
	shard_core_free(&b->core);
}

void bed_fini(struct bed *b)
{
	if (b->core != NULL) {
		bed_close(b);
	}
	fake_volume_free(&b->volume);
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
