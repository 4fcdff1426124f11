/* What we begin: the connection, sessions, links, sends, and the loop that reads
 * and writes. */

#include "gateway/cli/client.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/cli/client_priv.h"

enum { IN_SIZE = 2 * WIRE_MAX_FRAME, CLOSE_MS = 1000, HEARTBEAT_LEAST_MS = 100 };

static enum err client_error(const struct cli_client *c, struct err_detail *d)
{
	return c->err == ERR_OK ? ERR_OK : err_set(d, c->err, "%s", c->text);
}

/* ---- reading and writing -------------------------------------------------------- */

enum err cli_client_flush(struct cli_client *c, struct err_detail *d)
{
	if (c->out.bad) {
		cli_client_fail(c, ERR_NOMEM, "out of memory");
	}
	if (c->err == ERR_OK && c->out.len > 0 && c->dial != NULL) {
		struct err_detail why = {{0}};
		enum err e = net_dial_write(c->dial, c->out.p, c->out.len, &why);
		c->out.len = 0;
		c->last_sent_ms = clock_mono_ms();
		if (e != ERR_OK) {
			cli_client_fail(c, e, "%s", *why.text != '\0' ? why.text : err_text(e));
		}
	}
	return client_error(c, d);
}

static void read_some(struct cli_client *c)
{
	struct err_detail why = {{0}};
	size_t n = 0;
	assert(c->in_len < IN_SIZE);
	enum err e = net_dial_read(c->dial, c->in + c->in_len, IN_SIZE - c->in_len, &n, &why);
	if (e == ERR_EOF) {
		cli_client_fail(c, e, "the server closed the connection");
	} else if (e != ERR_OK) {
		cli_client_fail(c, e, "%s", *why.text != '\0' ? why.text : err_text(e));
	} else {
		c->last_received_ms = clock_mono_ms();
		cli_client_feed(c, span_of(c->in, c->in_len + n));
	}
}

/* What time brings: heartbeats, a silent peer, the next token. Gives how long it
 * may be slept until the next of these. */
static int64_t tick(struct cli_client *c)
{
	int64_t now = clock_mono_ms();
	int64_t sleep = CLI_IDLE_MS;
	if (now - c->last_received_ms > 2 * CLI_IDLE_MS) {
		cli_client_fail(c, ERR_TIMEOUT, "the server is silent for %d s",
				2 * CLI_IDLE_MS / 1000);
	}
	if (c->remote_idle_ms > 0) {
		int64_t every = c->remote_idle_ms / 2;
		every = every < HEARTBEAT_LEAST_MS ? HEARTBEAT_LEAST_MS : every;
		if (now - c->last_sent_ms >= every) {
			cli_put_heartbeat(&c->out);
			struct err_detail ignored;
			if (cli_client_flush(c, &ignored) != ERR_OK) {
				return 0;	/* remembered in c->err */
			}
		}
		int64_t due = c->last_sent_ms + every - now;
		sleep = due < sleep ? due : sleep;
	}
	cli_client_renew(c);
	return sleep > 0 ? sleep : 0;
}

enum err cli_client_pump(struct cli_client *c, int timeout_ms, struct err_detail *d)
{
	int64_t until = clock_mono_ms() + timeout_ms;
	assert(c->magic == CLI_CLIENT_MAGIC);
	if (cli_client_flush(c, d) != ERR_OK || c->dial == NULL) {
		return client_error(c, d);
	}
	for (;;) {
		int64_t sleep = tick(c);
		int64_t left = until - clock_mono_ms();
		sleep = left < sleep ? left : sleep;
		if (cli_client_flush(c, d) != ERR_OK) {
			break;
		}
		if (net_dial_readable(c->dial, sleep > 0 ? (int)sleep : 0)) {
			read_some(c);
			break;
		}
		if (clock_mono_ms() >= until) {
			break;
		}
	}
	if (c->err == ERR_OK) {
		return cli_client_flush(c, d);
	}
	return client_error(c, d);
}

enum err cli_client_wait(struct cli_client *c, const bool *flag, const char *what,
			 struct err_detail *d)
{
	int64_t until = clock_mono_ms() + c->timeout_ms;
	while (!*flag) {
		int64_t left = until - clock_mono_ms();
		if (left <= 0) {
			return err_set(d, ERR_TIMEOUT, "no answer from the server to %s within %d s",
				       what, c->timeout_ms / 1000);
		}
		enum err e = cli_client_pump(c, (int)left, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

/* ---- sessions -------------------------------------------------------------------- */

static enum err new_session(struct cli_client *c, struct cli_session **out)
{
	if (c->n_sessions == CLI_SESSIONS_MAX) {
		return ERR_LIMIT;
	}
	struct cli_session *session = MEM_NEW(struct cli_session);
	if (session == NULL) {
		return ERR_NOMEM;
	}
	session->client = c;
	session->channel = (uint16_t)c->n_sessions;
	c->sessions[c->n_sessions++] = session;
	cli_put_session(&c->out, session->channel, CLI_WINDOW);
	*out = session;
	return ERR_OK;
}

/* The last session if it has room (and, for a sender whose deliveries are
 * tracked, no other such), else a new one. */
static enum err session_for(struct cli_client *c, bool tracked, struct cli_session **out)
{
	if (c->n_sessions > 0) {
		struct cli_session *last = c->sessions[c->n_sessions - 1];
		if (last->n_links < CLI_SESSION_LINKS && !(tracked && last->sender != NULL)) {
			*out = last;
			return ERR_OK;
		}
	}
	return new_session(c, out);
}

void cli_client_put_flow(struct cli_session *session, const struct cli_link *link)
{
	struct cli_flow flow = {
		.next_incoming = session->next_incoming,
		.incoming_window = CLI_WINDOW,
		.next_outgoing = session->next_outgoing,
		.outgoing_window = CLI_WINDOW,
		.has_link = link != NULL,
	};
	if (link != NULL) {
		flow.handle = link->handle;
		flow.delivery_count = link->receiver ? link->received : link->delivery_count;
		flow.credit = link->receiver ? link->credit_goal : link->credit;
	}
	cli_put_flow(&session->client->out, session->channel, &flow);
}

/* ---- links ------------------------------------------------------------------------- */

enum err cli_link_new(struct cli_client *c, const struct cli_attach *a, uint32_t credit,
		      const struct cli_link_events *events, struct cli_link **out)
{
	struct cli_session *session;
	bool tracked = !a->receiver && events != NULL && events->outcome != NULL;
	enum err e = session_for(c, tracked, &session);
	if (e != ERR_OK) {
		return e;
	}
	struct cli_link *link = MEM_NEW(struct cli_link);
	if (link == NULL) {
		return ERR_NOMEM;
	}
	link->session = session;
	link->receiver = a->receiver;
	link->credit_goal = credit;
	link->handle = session->n_links;
	link->message.max = CLI_MESSAGE_MAX;
	if (events != NULL) {
		link->events = *events;
	}
	(void)snprintf(link->name, sizeof link->name, "%s-%u", a->name, c->link_names++);
	session->links[session->n_links++] = link;
	if (tracked) {
		session->sender = link;
	}
	struct cli_attach named = *a;
	named.name = link->name;
	named.handle = link->handle;
	cli_put_attach(&c->out, session->channel, &named);
	*out = link;
	return ERR_OK;
}

void cli_link_free(struct cli_link **at)
{
	struct cli_link *link = *at;
	*at = NULL;
	if (link != NULL) {
		struct cli_session *session = link->session;
		session->links[link->handle] = NULL;
		if (session->sender == link) {
			session->sender = NULL;
		}
		str_fini(&link->message);
		mem_free(link);
	}
}

enum err cli_link_state(const struct cli_link *link, struct err_detail *d)
{
	enum err e = client_error(link->session->client, d);
	if (e == ERR_OK && link->detached) {
		e = err_set(d, link->err, "%s", link->text);
	}
	return e;
}

enum err cli_link_wait(struct cli_link *link, struct err_detail *d)
{
	struct cli_client *c = link->session->client;
	int64_t until = clock_mono_ms() + c->timeout_ms;
	while (!link->attached || (!link->receiver && link->credit == 0)) {
		int64_t left = until - clock_mono_ms();
		enum err e = left > 0 ? cli_client_pump(c, (int)left, d)
				      : err_set(d, ERR_TIMEOUT, "the server did not answer to the link");
		if (e == ERR_OK) {
			e = cli_link_state(link, d);
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return cli_link_state(link, d);
}

static enum err open_link(struct cli_client *c, const struct cli_attach *a, uint32_t credit,
			  const struct cli_link_events *events, struct cli_link **out,
			  struct err_detail *d)
{
	struct cli_link *link;
	enum err e = cli_link_new(c, a, credit, events, &link);
	if (e != ERR_OK) {
		return err_set(d, e, "%s", err_text(e));
	}
	e = cli_link_wait(link, d);
	if (e != ERR_OK) {
		cli_link_free(&link);
		return e;
	}
	*out = link;
	return ERR_OK;
}

enum err cli_client_sender(struct cli_client *c, const char *address,
			   const struct cli_link_events *events, struct cli_link **out,
			   struct err_detail *d)
{
	struct cli_attach a = {.name = "send", .source = "sluice", .target = address};
	return open_link(c, &a, 0, events, out, d);
}

enum err cli_client_receiver(struct cli_client *c, const char *address, const char *filter,
			     uint32_t credit, const struct cli_link_events *events,
			     struct cli_link **out, struct err_detail *d)
{
	struct cli_attach a = {.name = "receive",
				.receiver = true,
				.source = address,
				.target = "sluice",
				.filter = filter};
	return open_link(c, &a, credit, events, out, d);
}

void cli_client_detach(struct cli_client *c, struct cli_link *link)
{
	if (!link->detached) {
		cli_put_detach(&c->out, link->session->channel, link->handle);
	}
	cli_link_free(&link);
}

uint64_t cli_link_max_message(const struct cli_link *link)
{
	return link->max_message;
}

uint32_t cli_link_credit(const struct cli_link *link)
{
	return link->credit <= INT32_MAX ? link->credit : 0;
}

uint32_t cli_link_next_id(const struct cli_link *link)
{
	return link->session->next_delivery;
}

/* ---- sending ------------------------------------------------------------------------ */

enum err cli_link_send(struct cli_link *link, uint32_t format, struct span message,
		       uint32_t *id, struct err_detail *d)
{
	struct cli_session *session = link->session;
	struct cli_client *c = session->client;
	uint32_t chunk = c->max_frame - WIRE_TRANSFER_HEAD;
	uint64_t frames = message.n / chunk + (message.n % chunk != 0 || message.n == 0);
	enum err e = cli_link_state(link, d);
	if (e != ERR_OK) {
		return e;
	}
	if (message.n > link->max_message) {
		return err_set(d, ERR_TOO_LARGE, "%zu bytes; the server takes at most %llu",
			       message.n, (unsigned long long)link->max_message);
	}
	if (cli_link_credit(link) == 0 || session->remote_window > INT32_MAX ||
	    session->remote_window < frames) {
		return ERR_AGAIN;
	}
	struct cli_transfer t = {.handle = link->handle,
				  .delivery_id = session->next_delivery++,
				  .format = format,
				  .settled = link != session->sender};
	*id = t.delivery_id;
	link->credit--;
	link->delivery_count++;
	for (size_t at = 0; frames > 0; frames--, at += chunk) {
		size_t n = message.n - at < chunk ? message.n - at : chunk;
		t.more = frames > 1;
		cli_put_transfer(&c->out, session->channel, &t, span_of(message.p + at, n));
		session->next_outgoing++;
		session->remote_window--;
		if (c->out.len >= CLI_FLUSH_BYTES) {
			e = cli_client_flush(c, d);
			if (e != ERR_OK) {
				return e;
			}
		}
	}
	return ERR_OK;
}

/* ---- the connection -------------------------------------------------------------------- */

static char *copy_or_null(const char *s, bool *bad)
{
	char *copy = s != NULL ? mem_strdup(s) : NULL;
	*bad = *bad || (s != NULL && copy == NULL);
	return copy;
}

enum err cli_client_make(const struct cli_client_options *o, struct cli_client **out)
{
	struct cli_client *c = MEM_NEW(struct cli_client);
	if (c == NULL) {
		return ERR_NOMEM;
	}
	bool bad = false;
	c->magic = CLI_CLIENT_MAGIC;
	c->in = mem_alloc(IN_SIZE);
	c->resource = copy_or_null(o->resource, &bad);
	c->key_name = copy_or_null(o->key_name, &bad);
	c->key = copy_or_null(o->key, &bad);
	c->token = copy_or_null(o->token, &bad);
	c->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : CLI_TIMEOUT_MS;
	c->max_frame = 512;
	c->renew_at_ms = INT64_MAX;
	c->last_received_ms = c->last_sent_ms = clock_mono_ms();
	c->out.max = CLI_MESSAGE_MAX;
	(void)snprintf(c->host, sizeof c->host, "%s", o->hostname != NULL ? o->hostname : o->host);
	if (c->in == NULL || bad) {
		cli_client_close(&c);
		return ERR_NOMEM;
	}
	*out = c;
	return ERR_OK;
}

/* Pumps until the phase is reached. */
static enum err reach(struct cli_client *c, enum cli_phase phase, struct err_detail *d)
{
	int64_t until = clock_mono_ms() + c->timeout_ms;
	while (c->phase < phase) {
		int64_t left = until - clock_mono_ms();
		if (left <= 0) {
			return err_set(d, ERR_TIMEOUT, "the server does not speak AMQP 1.0 here");
		}
		enum err e = cli_client_pump(c, (int)left, d);
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

static enum err handshake(struct cli_client *c, struct err_detail *d)
{
	char container[TRACKING_ID_MAX + 16];
	char id[TRACKING_ID_MAX];
	struct cli_session *session;
	cli_put_header(&c->out, 3);
	enum err e = reach(c, CLI_AMQP_HEADER, d);
	if (e != ERR_OK) {
		return e;
	}
	crypto_tracking_id(id);
	(void)snprintf(container, sizeof container, "sluice-cli-%s", id);
	cli_put_open(&c->out, container, c->host, CLI_IDLE_MS);
	e = new_session(c, &session);
	if (e == ERR_OK) {
		e = reach(c, CLI_OPENED, d);
	}
	return e == ERR_OK ? cli_client_authorise(c, d) : e;
}

enum err cli_client_open(const struct cli_client_options *o, struct cli_client **out,
			 struct err_detail *d)
{
	struct cli_client *c;
	enum err e = cli_client_make(o, &c);
	if (e != ERR_OK) {
		return err_set(d, e, "%s", err_text(e));
	}
	struct net_dial_options dial = {.host = o->host,
					 .port = o->port,
					 .tls = o->tls,
					 .ca_file = o->ca_file,
					 .timeout_ms = c->timeout_ms};
	e = net_dial_open(&dial, &c->dial, d);
	if (e == ERR_OK) {
		e = handshake(c, d);
	}
	if (e != ERR_OK) {
		cli_client_close(&c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

static void say_goodbye(struct cli_client *c)
{
	struct err_detail ignored;
	if (c->dial == NULL || c->err != ERR_OK || c->phase != CLI_OPENED) {
		return;
	}
	cli_put_close(&c->out);
	c->phase = CLI_CLOSED;
	int64_t until = clock_mono_ms() + CLOSE_MS;
	net_dial_set_timeout(c->dial, CLOSE_MS);
	while (c->err == ERR_OK && clock_mono_ms() < until) {
		if (cli_client_pump(c, CLOSE_MS, &ignored) != ERR_OK) {
			break;	/* normally the peer's close */
		}
	}
}

static void free_rpc(struct cli_rpc *rpc)
{
	str_fini(&rpc->body);
}

void cli_client_close(struct cli_client **client)
{
	struct cli_client *c = *client;
	if (c == NULL) {
		return;
	}
	for (uint32_t i = 0; i < c->n_sessions; i++) {
		for (uint32_t k = 0; k < c->sessions[i]->n_links; k++) {
			if (c->sessions[i]->links[k] != NULL) {
				c->sessions[i]->links[k]->events = (struct cli_link_events){0};
			}
		}
	}
	say_goodbye(c);
	net_dial_close(&c->dial);
	for (uint32_t i = 0; i < c->n_sessions; i++) {
		for (uint32_t k = 0; k < c->sessions[i]->n_links; k++) {
			cli_link_free(&c->sessions[i]->links[k]);
		}
		mem_free(c->sessions[i]);
	}
	free_rpc(&c->cbs);
	free_rpc(&c->management);
	if (c->key != NULL) {
		crypto_wipe(c->key, strlen(c->key));
	}
	mem_free(c->resource);
	mem_free(c->key_name);
	mem_free(c->key);
	mem_free(c->token);
	mem_free(c->in);
	str_fini(&c->out);
	c->magic = 0;
	mem_free(c);
	*client = NULL;
}
