#include "test/unit/store/store_bed.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

void bed_init(struct bed *b)
{
	*b = (struct bed){0};
	const char *tmp = getenv("TMPDIR");
	snprintf(b->root, sizeof b->root, "%.40s/sluice-XXXXXX", tmp != NULL ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(b->root));
	snprintf(b->dir, sizeof b->dir, "%s/data", b->root);
	mailbox_init(&b->mb, NULL, NULL);
	b->options = (struct store_options){
		.dir = b->dir, .shards = 4, .node_id = 1, .segment_max_bytes = 16 << 20};
}

void bed_volumes(struct bed *b, uint32_t n)
{
	char root[sizeof b->root];
	memcpy(root, b->root, sizeof root);
	for (uint32_t i = 0; i < BED_MORE; i++) {
		snprintf(b->more[i], sizeof b->more[i], "%s/more%u", root, i + 1);
		b->more_dirs[i] = b->more[i];
	}
	b->options.more_dirs = b->more_dirs;
	b->options.n_more_dirs = n - 1;
}

enum err bed_try(struct bed *b, struct err_detail *d)
{
	*d = (struct err_detail){""};
	enum err e = store_open(&b->options, &b->store, d);
	ck_assert_int_eq(e != ERR_OK, d->text[0] != '\0');
	ck_assert_ptr_null(strchr(d->text, '\n'));
	return e;
}

void bed_open(struct bed *b)
{
	struct err_detail d;
	enum err e = bed_try(b, &d);
	ck_assert_msg(e == ERR_OK, "%s", d.text);
}

void bed_close(struct bed *b)
{
	store_close(b->store);
	store_free(&b->store);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void bed_fini(struct bed *b)
{
	store_free(&b->store);
	nftw(b->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	mailbox_fini(&b->mb);
}

const char *bed_path(const struct bed *b, const char *name)
{
	static char path[160];
	snprintf(path, sizeof path, "%s/%s", b->dir, name);
	return path;
}

enum err bed_command(struct bed *b, const struct catalog_command *cmd)
{
	struct ops_command c = {
		.op = {.reply_to = &b->mb, .done = ops_command_done, .command = *cmd}};
	store_command(b->store, &c.op);
	ops_until(&b->mb, &c.is_done);
	return c.op.err;
}

struct store_partition *bed_find(struct bed *b, const char *hub, uint32_t partition)
{
	const struct catalog *c = store_catalog(b->store);
	const struct catalog_hub *h = catalog_hub_find(c, span_str(hub));
	struct store_partition *p = NULL;
	if (h != NULL) {
		p = store_partition_find(b->store, (struct store_part){h->id, partition});
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
	store_append(b->store, &a.op);
	ops_until(&b->mb, &a.is_done);
	return a.op.err;
}

int64_t bed_next_seq(struct store_partition *p)
{
	struct store_position at;
	store_partition_position(p, &at);
	return at.next_seq;
}

void bed_check_all(struct bed *b, struct store_partition *p, int64_t want)
{
	int64_t next = 0;
	while (next < want) {
		struct ops_read r = {.op = {.reply_to = &b->mb,
					    .done = ops_read_done,
					    .partition = p,
					    .from = next,
					    .max_bytes = 1 << 20}};
		store_read(b->store, &r.op);
		ops_until(&b->mb, &r.is_done);
		ck_assert_int_eq(r.op.err, ERR_OK);
		ck_assert_uint_gt(r.op.out.n, 0);
		next = ops_check_batches(&r.op.out, next, 0);
		store_batches_drop(&r.op.out);
	}
	ck_assert_int_eq(next, want);
}
