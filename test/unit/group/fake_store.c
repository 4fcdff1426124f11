#include "test/unit/group/fake_store.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/mem.h"

struct row {
	struct row *next;
	uint8_t kind;
	uint8_t *key, *content;
	size_t key_n, content_n;
};

struct store {
	struct lock lock;
	struct row *rows;
	bool holds;
	enum err fails;
	bool has_out;
	uint32_t out;
	struct store_rows_write *held_first, *held_last;
	uint32_t held, writes;
	const struct catalog *catalog;
};

static void change(struct store *s, struct catalog_command *cmd)
{
	const struct catalog *next = NULL;
	ck_assert_int_eq(catalog_apply(s->catalog, cmd, 1, &next), ERR_OK);
	catalog_drop(&s->catalog);
	s->catalog = next;
}

struct store *fake_store_new(void)
{
	struct store *s = (struct store *)calloc(1, sizeof *s);
	lock_init(&s->lock);
	s->catalog = catalog_empty(4);
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .partitions = 8};
	snprintf(cmd.hub, sizeof cmd.hub, "events");
	change(s, &cmd);
	snprintf(cmd.hub, sizeof cmd.hub, "other");
	change(s, &cmd);
	return s;
}

static void row_free(struct row *r)
{
	free(r->key);
	free(r->content);
	free(r);
}

void fake_store_free(struct store **sp)
{
	struct store *s = *sp;
	*sp = NULL;
	ck_assert_ptr_null(s->held_first);
	while (s->rows != NULL) {
		struct row *r = s->rows;
		s->rows = r->next;
		row_free(r);
	}
	catalog_drop(&s->catalog);
	lock_fini(&s->lock);
	free(s);
}

static uint8_t *copy(struct span s)
{
	uint8_t *p = (uint8_t *)malloc(s.n + 1);
	if (s.n != 0) {
		memcpy(p, s.p, s.n);
	}
	return p;
}

static void put_locked(struct store *s, const struct store_row *row)
{
	ck_assert_uint_le(row->key.n, STORE_ROW_KEY_MAX);
	struct row **at = &s->rows;
	while (*at != NULL && ((*at)->kind != row->kind ||
			       !span_eq(span_of((*at)->key, (*at)->key_n), row->key))) {
		at = &(*at)->next;
	}
	struct row *old = *at;
	if (old != NULL) {
		*at = old->next;
		row_free(old);
	}
	if (!row->is_deleted) {
		struct row *r = (struct row *)calloc(1, sizeof *r);
		*r = (struct row){s->rows, row->kind, copy(row->key), copy(row->content),
				  row->key.n, row->content.n};
		s->rows = r;
	}
}

static void finish_locked(struct store *s, struct store_rows_write *op)
{
	size_t bytes = 0;
	op->err = s->fails;
	for (uint32_t i = 0; i < op->n && op->err == ERR_OK; i++) {
		put_locked(s, &op->rows[i]);
		bytes += op->rows[i].key.n + op->rows[i].content.n;
	}
	ck_assert_uint_le(bytes, STORE_ROWS_MAX);
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

void store_rows_write(struct store *s, struct store_rows_write *op)
{
	ck_assert_uint_gt(op->n, 0);
	lock_take(&s->lock);
	s->writes++;
	if (s->holds) {
		op->msg.next = NULL;
		if (s->held_first == NULL) {
			s->held_first = op;
		} else {
			s->held_last->msg.next = &op->msg;
		}
		s->held_last = op;
		s->held++;
	} else {
		finish_locked(s, op);
	}
	lock_give(&s->lock);
}

void store_rows_scan(struct store *s, struct store_rows_scan *op)
{
	op->err = ERR_OK;
	for (struct row *r = s->rows; r != NULL && op->err == ERR_OK; r = r->next) {
		if (r->kind == op->kind) {
			op->err = op->row(op->arg, 0, span_of(r->key, r->key_n),
					  span_of(r->content, r->content_n));
		}
	}
	op->msg.run = op->done;
	mailbox_post(op->reply_to, &op->msg);
}

uint32_t store_shard_of(const struct store *s, struct span name)
{
	(void)s;
	return (uint32_t)name.n % 4;
}

bool store_shard_is_out(const struct store *s, uint32_t shard)
{
	return s->has_out && shard == s->out;
}

void fake_store_out(struct store *s, uint32_t shard)
{
	s->has_out = true;
	s->out = shard;
}

const struct catalog *store_catalog(struct store *s)
{
	lock_take(&s->lock);
	const struct catalog *c = catalog_hold(s->catalog);
	lock_give(&s->lock);
	return c;
}

void fake_store_hold(struct store *s)
{
	lock_take(&s->lock);
	s->holds = true;
	lock_give(&s->lock);
}

void fake_store_release(struct store *s)
{
	lock_take(&s->lock);
	s->holds = false;
	while (s->held_first != NULL) {
		struct store_rows_write *op = s->held_first;
		s->held_first = (struct store_rows_write *)op->msg.next;
		s->held--;
		finish_locked(s, op);
	}
	lock_give(&s->lock);
}

uint32_t fake_store_held(struct store *s)
{
	lock_take(&s->lock);
	uint32_t n = s->held;
	lock_give(&s->lock);
	return n;
}

void fake_store_fail(struct store *s, enum err e)
{
	lock_take(&s->lock);
	s->fails = e;
	lock_give(&s->lock);
}

uint32_t fake_store_rows(struct store *s, uint8_t kind)
{
	uint32_t n = 0;
	lock_take(&s->lock);
	for (const struct row *r = s->rows; r != NULL; r = r->next) {
		n += r->kind == kind ? 1 : 0;
	}
	lock_give(&s->lock);
	return n;
}

uint32_t fake_store_writes(struct store *s)
{
	lock_take(&s->lock);
	uint32_t n = s->writes;
	lock_give(&s->lock);
	return n;
}

void fake_store_put(struct store *s, uint8_t kind, struct span key, struct span content)
{
	lock_take(&s->lock);
	put_locked(s, &(struct store_row){.kind = kind, .key = key, .content = content});
	lock_give(&s->lock);
}

void fake_store_delete_hub(struct store *s, const char *name)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_DELETE};
	snprintf(cmd.hub, sizeof cmd.hub, "%s", name);
	lock_take(&s->lock);
	change(s, &cmd);
	lock_give(&s->lock);
}
