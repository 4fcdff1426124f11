/* One event loop: its thread, mailbox, deadlines and the work due after each
 * event. */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/net/net_priv.h"

static _Thread_local struct net_loop *here;

struct net_loop *net_loop_here(void)
{
	return here;
}

/* ---- streams by id ------------------------------------------------------ */

static void hash_grow(struct net_loop *loop)
{
	size_t size = loop->hash_size * 2;
	struct net_stream **hash = mem_calloc(size, sizeof *hash);
	if (hash == NULL) {
		return;	/* longer chains are no harm */
	}
	for (size_t i = 0; i < loop->hash_size; i++) {
		while (loop->hash[i] != NULL) {
			struct net_stream *s = loop->hash[i];
			loop->hash[i] = s->hash_next;
			s->hash_next = hash[s->id & (size - 1)];
			hash[s->id & (size - 1)] = s;
		}
	}
	mem_free(loop->hash);
	loop->hash = hash;
	loop->hash_size = size;
}

void net_loop_add(struct net_loop *loop, struct net_stream *s)
{
	if (loop->hash_count >= loop->hash_size) {
		hash_grow(loop);
	}
	struct net_stream **slot = &loop->hash[s->id & (loop->hash_size - 1)];
	s->hash_next = *slot;
	*slot = s;
	loop->hash_count++;
	net_list_add(&loop->all, &s->all);
}

void net_loop_remove_id(struct net_loop *loop, struct net_stream *s)
{
	struct net_stream **p = &loop->hash[s->id & (loop->hash_size - 1)];
	while (*p != NULL && *p != s) {
		p = &(*p)->hash_next;
	}
	if (*p != NULL) {
		*p = s->hash_next;
		s->hash_next = NULL;
		loop->hash_count--;
	}
}

struct net_stream *net_stream_by_id(struct net_loop *loop, uint64_t id)
{
	assert(loop->magic == NET_LOOP_MAGIC);
	assert(here == loop);
	struct net_stream *s = loop->hash[id & (loop->hash_size - 1)];
	while (s != NULL && s->id != id) {
		s = s->hash_next;
	}
	return s;
}

/* ---- what is due after each event ------------------------------------------ */

static void open_fresh(struct net_loop *loop)
{
	while (!net_list_empty(&loop->fresh)) {
		struct net_stream *s =
			container_of(loop->fresh.next, struct net_stream, state_link);
		net_list_remove(&s->state_link);
		net_stream_open(s);
	}
}

static void flush_dirty(struct net_loop *loop)
{
	while (!net_list_empty(&loop->dirty)) {
		struct net_stream *s = container_of(loop->dirty.next, struct net_stream, dirty);
		net_list_remove(&s->dirty);
		net_stream_push(s);
	}
}

/* Each stream once per event: a peer that reads as fast as the protocol writes
 * must not keep the loop to itself. */
static void tell_ready(struct net_loop *loop)
{
	struct net_link list;
	net_list_move(&loop->ready, &list);
	while (!net_list_empty(&list)) {
		struct net_stream *s = container_of(list.next, struct net_stream, ready);
		net_list_remove(&s->ready);
		if (s->state == NET_OPEN && s->protocol->writable != NULL) {
			s->protocol->writable(s->conn);
		}
	}
}

static void reap(struct net_loop *loop)
{
	while (!net_list_empty(&loop->dead)) {
		struct net_stream *s =
			container_of(loop->dead.next, struct net_stream, state_link);
		net_list_remove(&s->state_link);
		net_stream_announce_end(s);
		if (s->state == NET_DEAD) {
			net_stream_destroy(s);
		}
	}
}

void net_loop_settle(struct net_loop *loop)
{
	open_fresh(loop);
	flush_dirty(loop);
	tell_ready(loop);
	while (!net_list_empty(&loop->fresh) || !net_list_empty(&loop->dirty) ||
	       !net_list_empty(&loop->dead)) {
		open_fresh(loop);
		flush_dirty(loop);
		reap(loop);
	}
	if (!net_list_empty(&loop->ready)) {
		uv_async_send(&loop->async);
	}
}

/* ---- messages --------------------------------------------------------------- */

static void notify(void *arg)
{
	struct net_loop *loop = arg;
	if (!atomic_load(&loop->ended)) {
		uv_async_send(&loop->async);
	}
}

static void on_async(uv_async_t *async)
{
	struct net_loop *loop = async->data;
	assert(loop->magic == NET_LOOP_MAGIC);
	int64_t until_ns = clock_mono_ns() + NET_MESSAGE_NS;
	for (int round = 0; round < NET_MESSAGE_ROUNDS; round++) {
		struct msg *m = mailbox_take(&loop->mailbox);
		if (m == NULL && round > 0) {
			return;
		}
		msg_run_all(m);
		net_loop_settle(loop);
		if (atomic_load(&loop->ended)) {
			return;
		}
		if (clock_mono_ns() >= until_ns) {
			break;
		}
	}
	uv_async_send(async);	/* there may be more; sockets first */
}

struct mailbox *net_loop_mailbox(struct net_loop *loop)
{
	assert(loop->magic == NET_LOOP_MAGIC);
	return &loop->mailbox;
}

/* ---- deadlines ----------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
	struct net_loop *loop = timer->data;
	assert(loop->magic == NET_LOOP_MAGIC);
	wheel_run(&loop->wheel, clock_mono_ms(), net_stream_deadline);
	if (loop->index == 0 && !loop->stopping) {
		net_listeners_retry(loop->net);
	}
	net_loop_settle(loop);
}

/* ---- stopping -------------------------------------------------------------------- */

static void run_stop(struct msg *m)
{
	struct net_loop *loop = ((struct net_loop_msg *)m)->loop;
	loop->stopping = true;
	if (loop->index == 0) {
		net_listeners_close(loop->net);
	}
	/* Protocols may close streams here, which only marks them: the list
	 * stays as it is until the loop settles. */
	for (struct net_link *l = loop->all.next; l != &loop->all; l = l->next) {
		struct net_stream *s = container_of(l, struct net_stream, all);
		if (s->state == NET_HANDSHAKE) {
			net_stream_fail(s, ERR_STOPPING);
		} else if (s->state == NET_OPEN && s->announced && s->protocol->stopping != NULL) {
			s->protocol->stopping(s->conn);
		}
	}
}

static void run_kill(struct msg *m)
{
	struct net_loop *loop = ((struct net_loop_msg *)m)->loop;
	loop->killing = true;
	open_fresh(loop);
	flush_dirty(loop);
	for (struct net_link *l = loop->all.next; l != &loop->all; l = l->next) {
		net_stream_fail(container_of(l, struct net_stream, all), ERR_STOPPING);
	}
	net_loop_killed(loop->net);
}

static void run_end(struct msg *m)
{
	struct net_loop *loop = ((struct net_loop_msg *)m)->loop;
	net_loop_settle(loop);	/* it may have come in one round with the kill message */
	net_loop_end(loop);
}

void net_loop_end(struct net_loop *loop)
{
	assert(net_list_empty(&loop->all));
	atomic_store(&loop->ended, true);
	loop->killing = true;
	uv_close((uv_handle_t *)&loop->timer, NULL);
	uv_close((uv_handle_t *)&loop->async, NULL);
}

/* ---- life -------------------------------------------------------------------------- */

void *net_loop_thread(void *arg)
{
	struct net_loop *loop = arg;
	here = loop;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	here = NULL;
	return NULL;
}

static bool alloc_buffers(struct net_loop *loop)
{
	loop->hash_size = NET_HASH_MIN;
	loop->hash = mem_calloc(loop->hash_size, sizeof *loop->hash);
	loop->in = mem_alloc(NET_READ_BUFFER);
	loop->plain = mem_alloc(NET_PLAIN_BUFFER);
	loop->gather = mem_alloc(NET_GATHER);
	return loop->hash != NULL && loop->in != NULL && loop->plain != NULL &&
	       loop->gather != NULL;
}

static void free_memory(struct net_loop *loop)
{
	net_pool_fini(&loop->pool);
	mem_free(loop->hash);
	mem_free(loop->in);
	mem_free(loop->plain);
	mem_free(loop->gather);
	loop->magic = 0;
	mem_free(loop);
}

static void message_init(struct net_loop_msg *m, struct net_loop *loop, msg_fn *run)
{
	m->loop = loop;
	m->msg.run = run;
}

enum err net_loop_new(struct net *net, int index, struct net_loop **out)
{
	struct net_loop *loop = MEM_NEW(struct net_loop);
	if (loop == NULL) {
		return ERR_NOMEM;
	}
	loop->magic = NET_LOOP_MAGIC;
	loop->net = net;
	loop->index = index;
	net_list_init(&loop->all);
	net_list_init(&loop->fresh);
	net_list_init(&loop->dead);
	net_list_init(&loop->dirty);
	net_list_init(&loop->ready);
	wheel_init(&loop->wheel, clock_mono_ms());
	message_init(&loop->stop_msg, loop, run_stop);
	message_init(&loop->kill_msg, loop, run_kill);
	message_init(&loop->end_msg, loop, run_end);
	if (!alloc_buffers(loop)) {
		goto fail_memory;
	}
	if (uv_loop_init(&loop->uv) != 0) {
		goto fail_memory;
	}
	if (uv_async_init(&loop->uv, &loop->async, on_async) != 0) {
		goto fail_loop;
	}
	loop->async.data = loop;
	/* These two cannot fail with valid arguments. */
	uv_timer_init(&loop->uv, &loop->timer);
	loop->timer.data = loop;
	uv_timer_start(&loop->timer, on_timer, NET_TICK_MS, NET_TICK_MS);
	mailbox_init(&loop->mailbox, notify, loop);
	*out = loop;
	return ERR_OK;
fail_loop:
	uv_loop_close(&loop->uv);
fail_memory:
	free_memory(loop);
	return ERR_NOMEM;
}

bool net_loop_finish(struct net_loop *loop)
{
	if (!atomic_load(&loop->ended)) {
		net_loop_end(loop);
	}
	enum thread_role role = thread_role();
	thread_role_set(ROLE_NET_LOOP);
	here = loop;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	struct msg *m = mailbox_take(&loop->mailbox);
	msg_run_all(m);
	here = NULL;
	thread_role_set(role);
	return m != NULL;
}

void net_loop_free(struct net_loop **at)
{
	struct net_loop *loop = *at;
	*at = NULL;
	mailbox_fini(&loop->mailbox);
	int r = uv_loop_close(&loop->uv);
	assert(r == 0);
	(void)r;
	free_memory(loop);
}
