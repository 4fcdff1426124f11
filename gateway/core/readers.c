/* Readers, and who owns which partition in which group. */

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/core/core.h"
#include "gateway/core/core_priv.h"
#include "gateway/core/lanes.h"

enum { REGISTRY_SLOTS = 1024 };

struct core_reader {
	struct core *core;
	struct store_partition *partition;
	struct store_part part;
	char group[LIMIT_GROUP_NAME + 1];
	struct core_reader_options options;
	struct core_lanes lanes;
	_Atomic int64_t next_seq;	/* written by its own thread */
	bool listed;			/* registry lock */
	struct core_reader *next;	/* registry lock */
};

struct core_registry {
	struct lock lock;	/* rank 10 */
	struct core_reader *slot[REGISTRY_SLOTS];
};

struct core_registry *core_registry_new(void)
{
	struct core_registry *r = MEM_NEW(struct core_registry);
	if (r != NULL) {
		lock_init(&r->lock);
	}
	return r;
}

void core_registry_free(struct core_registry **rp)
{
	struct core_registry *r = *rp;
	*rp = NULL;
	if (r == NULL) {
		return;
	}
	for (size_t i = 0; i < REGISTRY_SLOTS; i++) {
		assert(r->slot[i] == NULL);
	}
	lock_fini(&r->lock);
	mem_free(r);
}

static struct core_reader **slot_of(struct core_registry *g, struct store_part part)
{
	uint64_t h = store_part_key(part) * 0x9e3779b97f4a7c15U;
	return &g->slot[h >> 54];
}

static bool same_place(const struct core_reader *a, const struct core_reader *b)
{
	return store_part_key(a->part) == store_part_key(b->part) &&
	       strcasecmp(a->group, b->group) == 0;
}

static const char *name_of(const struct core_reader *r)
{
	return r->options.name[0] != '\0' ? r->options.name : "nil";
}

static void unlist_locked(struct core_reader **slot, struct core_reader *r)
{
	while (*slot != r) {
		slot = &(*slot)->next;
	}
	*slot = r->next;
	r->listed = false;
}

struct present {
	struct core_reader *owner;	/* has an owner level */
	uint32_t without_level;
	char names[256];
};

static void look_locked(struct core_reader *const *slot, const struct core_reader *r,
			struct present *p)
{
	memset(p, 0, sizeof *p);
	for (struct core_reader *o = *slot; o != NULL; o = o->next) {
		if (!same_place(o, r)) {
			continue;
		}
		if (o->options.has_epoch) {
			p->owner = o;
		} else {
			size_t n = strlen(p->names);
			snprintf(p->names + n, sizeof p->names - n, "%s'%s'", n != 0 ? ", " : "",
				 name_of(o));
			p->without_level++;
		}
	}
}

static enum err admit_locked(const struct core_reader *r, const struct present *p,
			     struct err_detail *d)
{
	const struct core_reader *o = p->owner;
	if (r->options.has_epoch) {
		if (o != NULL && o->options.epoch > r->options.epoch) {
			return err_set(d, ERR_STOLEN,
				       "Receiver '%s' with a higher epoch '%lld' already exists. Receiver "
				       "'%s' with epoch %lld cannot be created. Make sure you are creating "
				       "receiver with increasing epoch value to ensure connectivity, or "
				       "ensure all old epoch receivers are closed or disconnected.",
				       name_of(o), (long long)o->options.epoch, name_of(r),
				       (long long)r->options.epoch);
		}
		return ERR_OK;
	}
	if (o != NULL) {
		return err_set(d, ERR_STOLEN,
			       "Receiver '%s' with epoch '%lld' already exists, and so non-epoch receiver "
			       "'%s' is not allowed. Either reconnect with a higher epoch, or make sure "
			       "all epoch receivers are closed or disconnected.",
			       name_of(o), (long long)o->options.epoch, name_of(r));
	}
	if (p->without_level >= LIMIT_EPOCHLESS_READERS) {
		return err_set(d, ERR_LIMIT,
			       "Exceeded the maximum number of allowed receivers per partition in a "
			       "consumer group which is %d. List of connected receivers - %s.",
			       LIMIT_EPOCHLESS_READERS, p->names);
	}
	return ERR_OK;
}

static struct core_stolen *stolen_make(const struct core_reader *old, const struct core_reader *now)
{
	struct core_stolen *s = MEM_NEW(struct core_stolen);
	if (s == NULL) {
		return NULL;
	}
	s->msg.run = old->options.stolen;
	s->conn_id = old->options.conn_id;
	s->link_id = old->options.link_id;
	char level[32] = "nil";
	if (old->options.has_epoch) {
		snprintf(level, sizeof level, "%lld", (long long)old->options.epoch);
	}
	snprintf(s->text, sizeof s->text,
		 "New receiver '%s' with higher epoch of '%lld' is created hence current receiver '%s' "
		 "with epoch '%s' is getting disconnected. If you are recreating the receiver, make sure "
		 "a higher epoch is used.",
		 name_of(now), (long long)now->options.epoch, name_of(old), level);
	return s;
}

/* A reader with an owner level takes the place from everyone there. */
static enum err steal_locked(struct core_reader **slot, const struct core_reader *r)
{
	for (;;) {
		struct core_reader *o = *slot;
		while (o != NULL && !same_place(o, r)) {
			o = o->next;
		}
		if (o == NULL) {
			return ERR_OK;
		}
		struct core_stolen *s = stolen_make(o, r);
		if (s == NULL) {
			return ERR_NOMEM;
		}
		unlist_locked(slot, o);
		mailbox_post(o->options.mailbox, &s->msg);
	}
}

/* Its partition, and its way through the limits. ERR_NOT_FOUND, ERR_NOMEM. */
static enum err find_place(struct core_reader *r, const struct core_client *client)
{
	r->partition = store_partition_find(r->core->store, r->part);
	if (r->partition == NULL) {
		return ERR_NOT_FOUND;
	}
	const struct catalog *cat = core_catalog(r->core);
	const struct catalog_hub *hub = catalog_hub_by_id(cat, r->part.hub_id);
	enum err e = hub == NULL ? ERR_NOT_FOUND
				 : core_lanes_open(&r->lanes, client, THROTTLE_OUT, hub,
						   r->part.partition, NULL);
	catalog_drop(&cat);
	return e;
}

enum err core_reader_open(struct core *c, const struct core_address *a,
			  const struct core_reader_options *o, struct core_reader **out,
			  struct err_detail *d)
{
	struct core_reader *r = MEM_NEW(struct core_reader);
	if (r == NULL) {
		return ERR_NOMEM;
	}
	r->core = c;
	atomic_init(&r->next_seq, -1);
	r->part = (struct store_part){a->hub_id, a->partition};
	snprintf(r->group, sizeof r->group, "%s", a->group);
	r->options = *o;
	r->options.client = (struct core_client){0};
	enum err e = find_place(r, &o->client);
	if (e != ERR_OK) {
		core_reader_close(&r);
		return e != ERR_NOT_FOUND
			       ? e
			       : err_set(d, ERR_NOT_FOUND,
					 "The messaging entity 'sb://%s/%.300s' could not be found.",
					 c->host, a->path);
	}
	struct core_registry *g = c->readers;
	struct core_reader **slot = slot_of(g, r->part);
	lock_take(&g->lock);
	struct present p;
	look_locked(slot, r, &p);
	e = admit_locked(r, &p, d);
	if (e == ERR_OK && r->options.has_epoch) {
		e = steal_locked(slot, r);
	}
	if (e == ERR_OK) {
		r->next = *slot;
		*slot = r;
		r->listed = true;
	}
	lock_give(&g->lock);
	if (e != ERR_OK) {
		core_reader_close(&r);
		return e;
	}
	*out = r;
	return ERR_OK;
}

void core_reader_close(struct core_reader **rp)
{
	struct core_reader *r = *rp;
	*rp = NULL;
	if (r == NULL) {
		return;
	}
	struct core_registry *g = r->core->readers;
	lock_take(&g->lock);
	if (r->listed) {
		unlist_locked(slot_of(g, r->part), r);
	}
	lock_give(&g->lock);
	core_lanes_close(&r->lanes);
	if (r->partition != NULL) {
		store_partition_drop(&r->partition);
	}
	mem_free(r);
}

void core_reader_at(struct core_reader *r, int64_t seq)
{
	/* Relaxed: a figure for people. */
	atomic_store_explicit(&r->next_seq, seq, memory_order_relaxed);
}

static void describe(struct core_reader *r, struct core_reader_info *out)
{
	*out = (struct core_reader_info){
		.part = r->part,
		.has_epoch = r->options.has_epoch,
		.epoch = r->options.epoch,
		.next_seq = atomic_load_explicit(&r->next_seq, memory_order_relaxed),
	};
	snprintf(out->group, sizeof out->group, "%s", r->group);
	snprintf(out->name, sizeof out->name, "%s", r->options.name);
}

enum err core_readers_list(struct core *c, uint32_t hub_id, struct core_reader_info **out,
			   size_t *n)
{
	struct core_registry *g = c->readers;
	void *v = NULL;
	size_t cap = 0;
	bool ok = true;
	*n = 0;
	lock_take(&g->lock);
	for (size_t i = 0; i < REGISTRY_SLOTS && ok; i++) {
		for (struct core_reader *r = g->slot[i]; r != NULL && ok; r = r->next) {
			if (hub_id != 0 && r->part.hub_id != hub_id) {
				continue;
			}
			ok = mem_grow(&v, &cap, *n + 1, sizeof **out);
			if (ok) {
				describe(r, (struct core_reader_info *)v + (*n)++);
			}
		}
	}
	lock_give(&g->lock);
	if (!ok) {
		mem_free(v);
		return ERR_NOMEM;
	}
	*out = v;
	return ERR_OK;
}

struct store_partition *core_reader_partition(struct core_reader *r)
{
	return r->partition;
}

/* Digits only, fits a sequence number. */
static bool parse_offset(const char *text, int64_t *out)
{
	int64_t v = 0;
	size_t n = strlen(text);
	if (n == 0 || n > 18) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return false;
		}
		v = v * 10 + (text[i] - '0');
	}
	*out = v;
	return true;
}

static enum err bad_start(struct err_detail *d, const char *what, const char *value, int64_t last)
{
	return err_set(d, ERR_INVALID,
		       "The supplied %s '%s' is invalid. The last %s in the system is '%lld'.", what,
		       value, what, (long long)last);
}

enum err core_start_at(struct core_reader *r, const struct core_start *from, int64_t *seq,
		       struct err_detail *d)
{
	struct store_position pos;
	store_partition_position(r->partition, &pos);
	if (pos.is_offline) {
		return err_set(d, ERR_OFFLINE, "%s", err_text(ERR_OFFLINE));	/* its numbers say nothing */
	}
	int64_t wanted = 0;
	const char *what = "sequence number";
	char text[32];
	switch (from->from) {
	case CORE_EARLIEST:
		*seq = pos.first_seq;
		return ERR_OK;
	case CORE_LATEST:
		*seq = pos.next_seq;
		return ERR_OK;
	case CORE_TIME:
		return ERR_AGAIN;
	case CORE_OFFSET:
		what = "offset";
		snprintf(text, sizeof text, "%s", from->offset);
		if (!parse_offset(from->offset, &wanted)) {
			return bad_start(d, what, text, pos.next_seq - 1);
		}
		break;
	case CORE_SEQUENCE:
		wanted = from->sequence;
		snprintf(text, sizeof text, "%lld", (long long)wanted);
		break;
	}
	if (wanted < -1 || wanted == INT64_MAX ||
	    wanted + (from->inclusive ? 0 : 1) > pos.next_seq) {
		return bad_start(d, what, text, pos.next_seq - 1);
	}
	wanted += from->inclusive ? 0 : 1;
	*seq = wanted < pos.first_seq ? pos.first_seq : wanted;
	return ERR_OK;
}

void core_seek(struct core_reader *r, struct store_seek *op)
{
	op->partition = r->partition;
	store_seek(r->core->store, op);
}

enum err core_read_recent(struct core_reader *r, int64_t from, uint32_t max_bytes,
			  struct store_batches *out)
{
	return store_read_recent(r->partition, from, max_bytes, out);
}

void core_read(struct core_reader *r, struct store_read *op)
{
	op->partition = r->partition;
	store_read(r->core->store, op);
}

void core_watch(struct core_reader *r, struct store_watch *w)
{
	w->partition = r->partition;
	store_watch(r->core->store, w);
}

bool core_reader_take(struct core_reader *r, const struct throttle_cost *cost)
{
	struct core_lane *lane = r->lanes.whole;
	return lane == NULL || throttle_try(lane->way, cost, clock_mono_ns());
}

void core_reader_wait(struct core_reader *r, const struct throttle_cost *cost, struct core_turn *t)
{
	t->request = (struct throttle_request){.cost = *cost};
	core_pacer_turn(r->core->pacer, r->lanes.whole, t);
}

void core_reader_give(struct core_reader *r, const struct throttle_cost *cost)
{
	if (r->lanes.whole != NULL) {
		throttle_give(r->lanes.whole->way, cost, clock_mono_ns());
	}
}

struct throttle_rate core_reader_share(struct core_reader *r)
{
	return core_lane_share(r->lanes.whole);
}
