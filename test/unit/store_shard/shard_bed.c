#include "test/unit/store_shard/shard_bed.h"

#include <check.h>

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

uint64_t bed_entries(struct bed *b)
{
	struct fake_counts c;
	fake_volume_counts(b->volume, &c);
	return c.entries;
}
