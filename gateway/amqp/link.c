#include "gateway/amqp/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <proton/codec.h>
#include <proton/connection.h>
#include <proton/condition.h>
#include <proton/session.h>
#include <proton/terminus.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum {
	LINK_MAGIC = 0x414d514c,
	TEXT_MAX = ERR_DETAIL_MAX + 256,
	DATA_MAX = LIMIT_AMQP_FRAME,	/* encoded properties or filters: they came in one frame */
};

static unsigned long long conn_id(const struct amqp_conn *conn)
{
	return (unsigned long long)conn->id;
}

/* ---- life ------------------------------------------------------------------ */

struct amqp_link *amqp_link_new(struct amqp_conn *conn, pn_link_t *pn,
				const struct amqp_link_ops *ops, const char *path)
{
	struct amqp_link *link = mem_calloc(1, ops->size);
	char *copy = mem_strdup(path);
	if (link == NULL || copy == NULL) {
		mem_free(link);
		mem_free(copy);
		return NULL;
	}
	link->magic = LINK_MAGIC;
	link->ops = ops;
	link->conn = conn;
	link->pn = pn;
	link->id = ++conn->next_link;
	link->path = copy;
	link->expires_ms = INT64_MAX;
	link->next = conn->links;
	if (link->next != NULL) {
		link->next->prev = link;
	}
	conn->links = link;
	pn_link_set_context(pn, link);
	return link;
}

static void link_free(struct amqp_link *link)
{
	struct amqp_conn *conn = link->conn;
	assert(link->queue == AMQP_QUEUE_NONE);
	if (link->next != NULL) {
		link->next->prev = link->prev;
	}
	if (link->prev != NULL) {
		link->prev->next = link->next;
	} else {
		conn->links = link->next;
	}
	link->magic = 0;
	mem_free(link->path);
	mem_free(link);
}

static void free_if_done(struct amqp_link *link)
{
	if (link->has_ended && link->pn == NULL && link->outstanding == 0) {
		link_free(link);
	}
}

void amqp_link_discard(struct amqp_link **lp)
{
	struct amqp_link *link = *lp;
	*lp = NULL;
	pn_link_set_context(link->pn, NULL);
	link->pn = NULL;
	link_free(link);
}

bool amqp_link_release(struct amqp_link *link)
{
	assert(link->magic == LINK_MAGIC);
	assert(link->outstanding > 0);
	link->outstanding--;
	bool ended = link->has_ended;
	free_if_done(link);
	return ended;
}

/* ---- turns of receivers ------------------------------------------------------ */

void amqp_link_ready(struct amqp_link *link)
{
	struct amqp_conn *conn = link->conn;
	if (link->queue != AMQP_QUEUE_NONE || link->has_ended) {
		return;
	}
	link->queue = AMQP_QUEUE_READY;
	link->queue_next = NULL;
	if (conn->ready == NULL) {
		conn->ready = link;
	} else {
		conn->ready_last->queue_next = link;
	}
	conn->ready_last = link;
}

void amqp_link_block(struct amqp_link *link)
{
	if (link->queue == AMQP_QUEUE_NONE && !link->has_ended) {
		link->queue = AMQP_QUEUE_BLOCKED;
		link->queue_next = link->conn->blocked;
		link->conn->blocked = link;
	}
}

struct amqp_link *amqp_link_next_ready(struct amqp_conn *conn)
{
	struct amqp_link *link = conn->ready;
	if (link != NULL) {
		conn->ready = link->queue_next;
		conn->ready_last = conn->ready != NULL ? conn->ready_last : NULL;
		link->queue_next = NULL;
		link->queue = AMQP_QUEUE_NONE;
	}
	return link;
}

void amqp_link_unblock(struct amqp_conn *conn)
{
	while (conn->blocked != NULL) {
		struct amqp_link *link = conn->blocked;
		conn->blocked = link->queue_next;
		link->queue = AMQP_QUEUE_NONE;
		amqp_link_ready(link);
	}
}

static void unqueue(struct amqp_link *link)
{
	struct amqp_conn *conn = link->conn;
	struct amqp_link *before = NULL;
	struct amqp_link **at = link->queue == AMQP_QUEUE_READY ? &conn->ready : &conn->blocked;
	if (link->queue == AMQP_QUEUE_NONE) {
		return;
	}
	while (*at != link) {
		before = *at;
		at = &(*at)->queue_next;
	}
	*at = link->queue_next;
	if (conn->ready_last == link) {
		conn->ready_last = before;
	}
	link->queue = AMQP_QUEUE_NONE;
}

/* ---- ending -------------------------------------------------------------------- */

static void end(struct amqp_link *link)
{
	if (link->has_ended) {
		return;
	}
	unqueue(link);
	link->has_ended = true;
	link->ops->end(link);
}

static void let_go(struct amqp_link *link)
{
	end(link);
	if (link->pn != NULL) {
		pn_link_set_context(link->pn, NULL);
		link->pn = NULL;
	}
	free_if_done(link);
}

/* Links a session has, kept in its context: refused ones have no object. */
static void count_link(pn_session_t *ssn, int delta)
{
	intptr_t n = (intptr_t)pn_session_get_context(ssn);
	pn_session_set_context(ssn, (void *)(n + delta));
}

void amqp_link_unbind(struct amqp_conn *conn, pn_link_t *pn, bool closed)
{
	struct amqp_link *link = pn_link_get_context(pn);
	if (link != NULL) {
		log_debug("AMQP-DETACHED", "conn=%llu link=%llu kind=%s entity=%s", conn_id(conn),
			  (unsigned long long)link->id, link->ops->what, log_quote(link->path));
		let_go(link);
	}
	conn->n_links -= conn->n_links > 0;
	count_link(pn_link_session(pn), -1);
	if ((pn_link_state(pn) & PN_LOCAL_CLOSED) == 0) {
		if (closed) {
			pn_link_close(pn);
		} else {
			pn_link_detach(pn);
		}
	}
	pn_link_free(pn);
}

void amqp_link_end_session(struct amqp_conn *conn, pn_session_t *ssn)
{
	struct amqp_link *next;
	for (struct amqp_link *link = conn->links; link != NULL; link = next) {
		next = link->next;
		if (ssn == NULL || (link->pn != NULL && pn_link_session(link->pn) == ssn)) {
			let_go(link);
		}
	}
	if (ssn != NULL) {
		uint32_t n = (uint32_t)(intptr_t)pn_session_get_context(ssn);
		conn->n_links -= n < conn->n_links ? n : conn->n_links;
		pn_session_set_context(ssn, NULL);
	}
}

void amqp_link_end_all(struct amqp_conn *conn)
{
	struct amqp_link *next;
	for (struct amqp_link *link = conn->links; link != NULL; link = next) {
		next = link->next;
		end(link);
	}
}

static void set_condition(pn_link_t *pn, const char *condition, const char *text)
{
	pn_condition_t *c = pn_link_condition(pn);
	pn_condition_set_name(c, condition);
	pn_condition_set_description(c, text);
}

void amqp_link_fail(struct amqp_link *link, enum err e, const char *condition, const char *detail)
{
	if (link->has_ended) {
		return;
	}
	char tracking[33];
	char text[TEXT_MAX];
	condition = condition != NULL ? condition : err_info(e)->amqp;
	core_error_text(link->conn->front->core, e, detail, link->path, tracking, text, sizeof text);
	log_limited(LOG_INFO, "AMQP-LINK-DETACHED",
		 "conn=%llu link=%llu kind=%s entity=%s condition=%s tracking=%s reason=%s",
		 conn_id(link->conn), (unsigned long long)link->id, link->ops->what,
		 log_quote(link->path), condition, tracking,
		 log_quote(detail != NULL && detail[0] != '\0' ? detail : err_text(e)));
	set_condition(link->pn, condition, text);
	pn_link_close(link->pn);
	end(link);
	amqp_conn_wake(link->conn);
}

void amqp_link_refuse(struct amqp_conn *conn, pn_link_t *pn, enum err e, const char *condition,
		      const char *detail, const char *entity)
{
	char tracking[33];
	char text[TEXT_MAX];
	condition = condition != NULL ? condition : err_info(e)->amqp;
	core_error_text(conn->front->core, e, detail, entity, tracking, text, sizeof text);
	log_limited(LOG_INFO, "AMQP-LINK-REFUSED", "conn=%llu name=%s entity=%s condition=%s tracking=%s reason=%s",
		 conn_id(conn), log_quote(pn_link_name(pn)), log_quote(entity), condition, tracking,
		 log_quote(detail != NULL && detail[0] != '\0' ? detail : err_text(e)));
	pn_link_set_snd_settle_mode(pn, pn_link_remote_snd_settle_mode(pn));
	pn_link_set_rcv_settle_mode(pn, pn_link_remote_rcv_settle_mode(pn));
	pn_link_open(pn);	/* with null source and target */
	set_condition(pn, condition, text);
	pn_link_close(pn);
}

/* ---- attaching ------------------------------------------------------------------ */

struct amqp_value amqp_data_read(pn_data_t *data, struct str *out)
{
	struct amqp_value none = {.type = AMQP_NULL};
	if (data == NULL || pn_data_size(data) == 0) {
		return none;
	}
	ssize_t need = pn_data_encoded_size(data);
	if (need <= 0 || need > DATA_MAX) {
		return none;
	}
	char *p = mem_alloc((size_t)need);
	ssize_t n = p != NULL ? pn_data_encode(data, p, (size_t)need) : 0;
	if (n > 0) {
		str_addn(out, p, (size_t)n);
	}
	mem_free(p);
	if (n <= 0 || out->bad) {
		return none;
	}
	struct rd r = rd_of(span_of(out->p, out->len));
	return amqp_read(&r);
}

enum err amqp_link_account(struct amqp_conn *conn, const char *path, enum auth_right right,
			   struct core_client *out)
{
	enum err e = ERR_OK;
	if (conn->flow == NULL) {
		e = core_flow_open(conn->front->core, net_stream_peer(conn->stream), &conn->flow);
	}
	if (e != ERR_OK) {
		return e;
	}
	const struct auth_grant *g = core_grants_find(&conn->grants, path, right, clock_wall_ms());
	*out = (struct core_client){
		.flow = conn->flow,
		.policy = g != NULL ? g->policy : NULL,
		.policy_hub = g != NULL ? g->policy_hub : "",
	};
	return ERR_OK;
}

/* Producer state is granted by its own rules, not by repeating it. */
static bool may_echo(pn_data_t *properties)
{
	static const char *const producer[] = {
		"com.microsoft:producer-id", "com.microsoft:producer-epoch",
		"com.microsoft:producer-sequence-number", "producer-id", "producer-epoch",
		"producer-sequence-number",
	};
	struct str encoded = {.max = DATA_MAX};
	struct amqp_value map = amqp_data_read(properties, &encoded);
	bool may = map.type == AMQP_MAP && map.count > 0;
	struct amqp_value found;
	for (size_t i = 0; may && i < sizeof producer / sizeof *producer; i++) {
		may = !amqp_map_find(&map, producer[i], &found);
	}
	str_fini(&encoded);
	return may;
}

void amqp_link_accept(struct amqp_link *link)
{
	pn_link_t *pn = link->pn;
	/* The Python SDK needs both termini, whatever it sent. */
	pn_terminus_copy(pn_link_source(pn), pn_link_remote_source(pn));
	pn_terminus_copy(pn_link_target(pn), pn_link_remote_target(pn));
	if (pn_terminus_get_type(pn_link_source(pn)) == PN_UNSPECIFIED) {
		pn_terminus_set_type(pn_link_source(pn), PN_SOURCE);
	}
	if (pn_terminus_get_type(pn_link_target(pn)) == PN_UNSPECIFIED) {
		pn_terminus_set_type(pn_link_target(pn), PN_TARGET);
	}
	if (link->source != NULL) {
		pn_terminus_set_address(pn_link_source(pn), link->source);
	}
	pn_link_set_snd_settle_mode(pn, pn_link_remote_snd_settle_mode(pn));
	pn_link_set_rcv_settle_mode(pn, pn_link_remote_rcv_settle_mode(pn));
	pn_data_t *properties = pn_link_remote_properties(pn);
	if (properties != NULL && may_echo(properties)) {
		pn_data_copy(pn_link_properties(pn), properties);
	} else {
		pn_data_put_map(pn_link_properties(pn));
	}
	pn_link_open(pn);
	if (link->expires_ms != INT64_MAX) {
		amqp_conn_tick_by(link->conn, clock_mono_ms() + link->expires_ms - clock_wall_ms());
	}
	log_debug("AMQP-ATTACHED", "conn=%llu link=%llu kind=%s entity=%s", conn_id(link->conn),
		  (unsigned long long)link->id, link->ops->what, log_quote(link->path));
}

static void attach_to(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a)
{
	bool client_sends = pn_link_is_receiver(pn);
	switch (a->kind) {
	case CORE_CBS:
	case CORE_MANAGEMENT:
		amqp_request_attach(conn, pn, a);
		return;
	case CORE_HUB:
	case CORE_PARTITION:
	case CORE_PUBLISHER:
		if (client_sends) {
			amqp_sender_attach(conn, pn, a);
			return;
		}
		amqp_link_refuse(conn, pn, ERR_NOT_ALLOWED, NULL,
				 "Receivers attach to <hub>/ConsumerGroups/<group>/Partitions/<id>.",
				 a->path);
		return;
	case CORE_READER:
		if (!client_sends) {
			amqp_receiver_attach(conn, pn, a);
			return;
		}
		amqp_link_refuse(conn, pn, ERR_NOT_ALLOWED, NULL,
				 "Senders attach to <hub>, <hub>/Partitions/<id> or "
				 "<hub>/Publishers/<name>.",
				 a->path);
		return;
	}
}

/* Whether the peer may know that the address does not exist. */
static enum err check_stranger(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a,
			       struct err_detail *d)
{
	int64_t expires;
	enum auth_right right = pn_link_is_receiver(pn) ? AUTH_SEND : AUTH_LISTEN;
	return core_grants_check(conn->front->core, &conn->grants, a->path, right, clock_wall_ms(),
				 &expires, d);
}

static void attach_address(struct amqp_conn *conn, pn_link_t *pn, pn_terminus_t *terminus)
{
	const char *text = pn_terminus_get_address(terminus);
	struct core_address a = {.path = ""};
	struct err_detail d = {""};
	if (pn_terminus_get_type(terminus) == PN_COORDINATOR) {
		amqp_link_refuse(conn, pn, ERR_NOT_IMPLEMENTED, NULL,
				 "Transactions are not offered over AMQP.", "");
		return;
	}
	if (text == NULL || text[0] == '\0') {
		amqp_link_refuse(conn, pn, ERR_INVALID, NULL, "The link has no address.", "");
		return;
	}
	enum err e = core_resolve(conn->front->core, span_str(text), &a, &d);
	if (e == ERR_OK) {
		attach_to(conn, pn, &a);
		return;
	}
	struct err_detail denied = {""};
	enum err access = check_stranger(conn, pn, &a, &denied);
	if (access != ERR_OK) {
		amqp_link_refuse(conn, pn, access, NULL, denied.text, a.path);
	} else {
		amqp_link_refuse(conn, pn, e, NULL, d.text, a.path);
	}
}

void amqp_link_attach(struct amqp_conn *conn, pn_link_t *pn)
{
	conn->n_links++;
	count_link(pn_link_session(pn), 1);
	if (!conn->is_authorised && ++conn->unauth_links > LIMIT_UNAUTH_LINKS) {
		amqp_conn_fail(conn, ERR_CONN_FORCED, NULL,
			       "Too many links were attached before the connection authorised itself.");
		return;
	}
	if (conn->is_failing) {
		return;
	}
	if (conn->n_links > conn->front->options.max_links) {
		char text[128];
		snprintf(text, sizeof text,
			 "Cannot allocate more handles. The quota of %u links of one connection is "
			 "reached.",
			 conn->front->options.max_links);
		metric_inc(METRIC_ERRORS_QUOTA);
		amqp_link_refuse(conn, pn, ERR_LIMIT, NULL, text, "");
		return;
	}
	if (pn_link_is_receiver(pn)) {
		attach_address(conn, pn, pn_link_remote_target(pn));
	} else if (pn_terminus_is_dynamic(pn_link_remote_source(pn))) {
		amqp_reply_attach_dynamic(conn, pn);
	} else {
		attach_address(conn, pn, pn_link_remote_source(pn));
	}
}

/* ---- time ------------------------------------------------------------------------- */

/* A newer token may have come since the link was attached. */
static bool renew(struct amqp_link *link, int64_t now_ms)
{
	struct amqp_conn *conn = link->conn;
	int64_t wall_ms = clock_wall_ms();
	if (link->expires_ms <= wall_ms) {
		struct err_detail d = {""};
		enum err e = core_grants_check(conn->front->core, &conn->grants, link->path,
					       link->right, wall_ms, &link->expires_ms, &d);
		if (e != ERR_OK) {
			amqp_link_fail(link, e, NULL, d.text);
			return false;
		}
	}
	if (link->expires_ms != INT64_MAX) {
		int64_t left = link->expires_ms - wall_ms;
		amqp_conn_tick_by(conn, now_ms + (left < AMQP_SLOW_TICK_MS ? left : AMQP_SLOW_TICK_MS));
	}
	return true;
}

void amqp_link_tick(struct amqp_link *link, int64_t now_ms)
{
	if (!link->has_ended && renew(link, now_ms) && link->ops->tick != NULL) {
		link->ops->tick(link, now_ms);
	}
}
