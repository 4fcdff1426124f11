/* All loops and listeners: making, starting and stopping them. */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/net/net_priv.h"

static void free_net(struct net *net)
{
	for (bool busy = true; busy;) {
		busy = false;
		for (int i = 0; i < net->loop_count; i++) {
			busy |= net_loop_finish(net->loops[i]);
		}
	}
	for (int i = 0; i < net->loop_count; i++) {
		net_loop_free(&net->loops[i]);
	}
	if (net->spare_fd >= 0) {
		close(net->spare_fd);
	}
	BIO_meth_free(net->bio);
	net_addresses_fini(&net->addresses);
	cond_fini(&net->quiet);
	lock_fini(&net->lock);
	net->magic = 0;
	mem_free(net);
}

static int pick_loop_count(int wanted)
{
	long n = wanted > 0 ? wanted : sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > NET_LOOPS_MAX ? NET_LOOPS_MAX : (int)n;
}

enum err net_new(const struct net_options *o, struct net **out, struct err_detail *d)
{
	struct net *net = MEM_NEW(struct net);
	if (net == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for the network loops");
	}
	net->magic = NET_MAGIC;
	net->options = *o;
	if (net->options.handshake_timeout_ms <= 0) {
		net->options.handshake_timeout_ms = NET_HANDSHAKE_MS;
	}
	if (net->options.stall_ms <= 0) {
		net->options.stall_ms = NET_STALL_MS;
	}
	lock_init(&net->lock);
	cond_init(&net->quiet);
	net_addresses_init(&net->addresses, o->max_unauthorised_per_address);
	net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	net->bio = net_bio_method();
	int count = pick_loop_count(o->loops);
	enum err e = net->bio != NULL ? ERR_OK : ERR_NOMEM;
	while (e == ERR_OK && net->loop_count < count) {
		e = net_loop_new(net, net->loop_count, &net->loops[net->loop_count]);
		if (e == ERR_OK) {
			net->loop_count++;
		}
	}
	if (e != ERR_OK) {
		free_net(net);
		return err_set(d, e, "cannot make %d network loops: %s", count, err_text(e));
	}
	*out = net;
	return ERR_OK;
}

int net_loop_count(const struct net *net)
{
	assert(net->magic == NET_MAGIC);
	return net->loop_count;
}

struct net_loop *net_loop_at(struct net *net, int i)
{
	assert(net->magic == NET_MAGIC);
	assert(i >= 0 && i < net->loop_count);
	return net->loops[i];
}

enum err net_start(struct net *net, struct err_detail *d)
{
	assert(net->magic == NET_MAGIC);
	assert(!net->started);
	enum err e = net_listeners_watch(net);
	int running = 0;
	while (e == ERR_OK && running < net->loop_count) {
		struct net_loop *loop = net->loops[running];
		char name[16];
		snprintf(name, sizeof name, "net-%d", loop->index);
		e = thread_start(&loop->thread, ROLE_NET_LOOP, name, net_loop_thread, loop);
		if (e == ERR_OK) {
			running++;
		}
	}
	if (e == ERR_OK) {
		net->started = true;
		return ERR_OK;
	}
	for (int i = 0; i < running; i++) {
		struct net_loop *loop = net->loops[i];
		mailbox_post(&loop->mailbox, &loop->stop_msg.msg);
		mailbox_post(&loop->mailbox, &loop->kill_msg.msg);
		mailbox_post(&loop->mailbox, &loop->end_msg.msg);
	}
	for (int i = 0; i < running; i++) {
		thread_join(net->loops[i]->thread);
	}
	return err_set(d, e, "cannot start the network threads: %s", err_text(e));
}

enum err net_stream_count(struct net *net, enum net_count count)
{
	enum err e = ERR_OK;
	lock_take(&net->lock);
	int max = net->options.max_connections;
	if (count == NET_COUNT_CLIENT && max > 0 && net->connections >= max) {
		e = ERR_LIMIT;
	} else if (count == NET_COUNT_SURPLUS && net->surplus >= NET_SURPLUS_MAX) {
		e = ERR_LIMIT;
	} else {
		net->live++;
		net->connections += count == NET_COUNT_CLIENT;
		net->surplus += count == NET_COUNT_SURPLUS;
	}
	lock_give(&net->lock);
	return e;
}

void net_stream_uncount(struct net *net, enum net_count count)
{
	lock_take(&net->lock);
	assert(net->live > 0);
	net->live--;
	net->connections -= count == NET_COUNT_CLIENT;
	net->surplus -= count == NET_COUNT_SURPLUS;
	bool quiet = net->live == 0;
	if (quiet) {
		cond_signal(&net->quiet);
	}
	lock_give(&net->lock);
}

void net_loop_killed(struct net *net)
{
	lock_take(&net->lock);
	net->killed++;
	cond_signal(&net->quiet);
	lock_give(&net->lock);
}

/* Until no stream is left and `killed` loops begin no more. */
static void wait_quiet(struct net *net, int killed, int64_t deadline_ns)
{
	lock_take(&net->lock);
	while ((net->live > 0 || net->killed < killed) &&
	       cond_wait_until(&net->quiet, &net->lock, deadline_ns)) {
	}
	lock_give(&net->lock);
}

void net_drain(struct net *net, int grace_ms)
{
	assert(net->magic == NET_MAGIC);
	if (!net->started || net->drained) {
		return;
	}
	net->drained = true;
	int64_t until = clock_mono_ns() + (int64_t)grace_ms * 1000000;
	for (int i = 0; i < net->loop_count; i++) {
		mailbox_post(&net->loops[i]->mailbox, &net->loops[i]->stop_msg.msg);
	}
	wait_quiet(net, 0, until);
	for (int i = 0; i < net->loop_count; i++) {
		mailbox_post(&net->loops[i]->mailbox, &net->loops[i]->kill_msg.msg);
	}
	/* Only our own threads' work is left, no peer's. */
	wait_quiet(net, net->loop_count, INT64_MAX);
}

void net_stop(struct net **at, int grace_ms)
{
	struct net *net = *at;
	*at = NULL;
	if (net == NULL) {
		return;
	}
	assert(net->magic == NET_MAGIC);
	net_drain(net, grace_ms);
	if (net->started) {
		for (int i = 0; i < net->loop_count; i++) {
			mailbox_post(&net->loops[i]->mailbox, &net->loops[i]->end_msg.msg);
		}
		for (int i = 0; i < net->loop_count; i++) {
			thread_join(net->loops[i]->thread);
		}
	}
	net_listeners_close(net);
	free_net(net);
}
