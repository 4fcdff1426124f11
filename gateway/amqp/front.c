/* What all connections share, and what those of one loop share. */

#include <assert.h>
#include <stdio.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/amqp/amqp.h"
#include "gateway/amqp/conn.h"
#include "gateway/amqp/link.h"

enum { FRONT_MAGIC = 0x414d5146 };

static _Thread_local struct amqp_loop *here;
static _Thread_local unsigned here_serial;	/* of the front `here` belongs to */

enum err amqp_front_new(const struct amqp_options *o, struct amqp_front **out)
{
	static atomic_uint serial;
	struct amqp_front *f = MEM_NEW(struct amqp_front);
	if (f == NULL) {
		return ERR_NOMEM;
	}
	f->magic = FRONT_MAGIC;
	f->serial = atomic_fetch_add(&serial, 1) + 1;
	f->core = o->core;
	f->options = *o;
	if (o->max_links == 0 || o->max_links > LIMIT_AMQP_LINKS) {
		f->options.max_links = LIMIT_AMQP_LINKS;
	}
	uint8_t id[16];
	crypto_random(id, sizeof id);
	for (size_t i = 0; i < sizeof id; i++) {
		snprintf(f->container + 2 * i, 3, "%02x", id[i]);
	}
	snprintf(f->container + 32, sizeof f->container - 32, "_G1");
	budget_init(&f->partials, core_inflight(o->core)->max / 2);
	*out = f;
	return ERR_OK;
}

void amqp_front_free(struct amqp_front **fp)
{
	struct amqp_front *f = *fp;
	*fp = NULL;
	if (f == NULL) {
		return;
	}
	assert(f->magic == FRONT_MAGIC);
	struct amqp_loop *loop = atomic_load(&f->loops);
	while (loop != NULL) {
		struct amqp_loop *next = loop->next;
		amqp_send_pool_free(loop);
		str_fini(&loop->event);
		mem_free(loop);
		loop = next;
	}
	f->magic = 0;
	mem_free(f);
}

struct amqp_loop *amqp_loop_enter(struct amqp_front *f, struct net_loop *loop)
{
	assert(f->magic == FRONT_MAGIC);
	if (here != NULL && here_serial == f->serial) {
		return here;
	}
	struct amqp_loop *l = MEM_NEW(struct amqp_loop);
	if (l == NULL) {
		return NULL;
	}
	l->loop = loop;
	l->next = atomic_load(&f->loops);
	while (!atomic_compare_exchange_weak(&f->loops, &l->next, l)) {
	}
	here = l;
	here_serial = f->serial;
	return l;
}

struct amqp_loop *amqp_loop_here(void)
{
	return here;
}
