#include "gateway/amqp/request.h"

#include <stdio.h>
#include <string.h>

#include <proton/condition.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/session.h>
#include <proton/terminus.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

enum {
	REQUEST_CREDIT = 100,		/* as the service gives on $cbs */
	REQUEST_MAX = 32 << 10,		/* bytes of a request; a token takes up to LIMIT_TOKEN */
	REPLIES_MAX = 256,		/* that wait for credit on one link */
	PROPERTIES_REPLY_TO = 4,	/* fields of the properties section, AMQP 3.2.4 */
	PROPERTIES_CORRELATION = 5,
};

enum node { NODE_CBS, NODE_MANAGEMENT, NODE_ANY };

/* The client sends requests. */
struct request_link {
	struct amqp_link link;
	enum node node;
	struct str buffer;	/* the request being received */
	bool is_dropped;	/* it was too long */
	uint32_t owed;		/* credit to be given back */
};

struct waiting {
	struct waiting *next;
	struct str message;
};

/* The client receives replies. */
struct reply_link {
	struct amqp_link link;
	enum node node;
	char address[64];	/* made by us for a dynamic source, else "" */
	struct waiting *first, *last;	/* until there is credit */
	uint32_t n_waiting;
	uint64_t next_tag;
};

static const struct amqp_link_ops request_ops;
static const struct amqp_link_ops reply_ops;

/* ---- reading requests ---------------------------------------------------------- */

/* The value inside a section: "described" without its descriptor. */
static struct amqp_value section_value(struct span section)
{
	struct amqp_value v = {.type = AMQP_NULL};
	struct rd r = rd_of(section);
	if (section.n == 0) {
		return v;
	}
	struct amqp_value described = amqp_read(&r);
	if (described.type != AMQP_DESCRIBED) {
		return v;
	}
	r = rd_of(described.described);
	return amqp_read(&r);
}

static struct span list_field(const struct amqp_value *list, uint32_t at)
{
	struct rd r = rd_of(list->data);
	if (list->type != AMQP_LIST || at >= list->count) {
		return span_of(NULL, 0);
	}
	for (uint32_t i = 0; i < at; i++) {
		(void)amqp_skip(&r);
	}
	return amqp_skip(&r);
}

bool amqp_request_text(const struct amqp_request *q, const char *name, struct span *out)
{
	struct amqp_value v;
	if (q->properties.type != AMQP_MAP || !amqp_map_find(&q->properties, name, &v)) {
		return false;
	}
	*out = v.data;
	return amqp_is_text(&v);
}

/* ---- writing replies ----------------------------------------------------------- */

void amqp_reply_error(struct amqp_conn *conn, struct amqp_reply *a, const char *node, int32_t status,
		      const char *condition, enum err e, const char *detail, const char *entity)
{
	char tracking[33];
	a->status = status;
	a->condition = condition;
	core_error_text(conn->front->core, e, detail, entity, tracking, a->text, sizeof a->text);
	log_limited(LOG_INFO, "AMQP-REQUEST-REFUSED", "conn=%llu node=%s entity=%s status=%d tracking=%s reason=%s",
		 (unsigned long long)conn->id, node, log_quote(entity), (int)status, tracking,
		 log_quote(detail));
}

static void put_entry(struct str *out, const char *key)
{
	amqp_put_string(out, span_str(key));
}

static void write_reply(const struct amqp_reply *a, struct span correlation, struct str *out)
{
	amqp_put_descriptor(out, AMQP_PROPERTIES);
	size_t mark = amqp_begin_list(out);
	for (int i = 0; i < PROPERTIES_CORRELATION; i++) {
		amqp_put_null(out);
	}
	if (correlation.n != 0) {
		amqp_put_raw(out, correlation);
	} else {
		amqp_put_null(out);
	}
	amqp_end(out, mark, PROPERTIES_CORRELATION + 1);

	amqp_put_descriptor(out, AMQP_APPLICATION_PROPERTIES);
	mark = amqp_begin_map(out);
	put_entry(out, "status-code");
	amqp_put_int(out, a->status);
	put_entry(out, "status-description");
	amqp_put_string(out, span_str(a->text));
	if (a->condition != NULL) {
		put_entry(out, "error-condition");
		amqp_put_symbol(out, span_str(a->condition));
		/* The names that other clients look for: the Python SDK shows no other text. */
		put_entry(out, "statusDescription");
		amqp_put_string(out, span_str(a->text));
		put_entry(out, "errorCondition");
		amqp_put_symbol(out, span_str(a->condition));
	}
	amqp_end(out, mark, a->condition != NULL ? 10 : 4);

	amqp_put_descriptor(out, AMQP_AMQP_VALUE);
	if (a->body.len != 0) {
		amqp_put_raw(out, span_of(a->body.p, a->body.len));
	} else {
		amqp_put_null(out);
	}
}

/* ---- reply links --------------------------------------------------------------- */

static struct reply_link *reply_of(struct amqp_link *link)
{
	return (struct reply_link *)(void *)link;
}

static void reply_flow(struct amqp_link *link)
{
	struct reply_link *r = reply_of(link);
	while (r->first != NULL && pn_link_credit(link->pn) > 0) {
		struct waiting *w = r->first;
		uint8_t tag[8];
		put_u64(tag, r->next_tag++);
		pn_delivery_t *d = pn_delivery(link->pn, pn_dtag((const char *)tag, sizeof tag));
		if (d == NULL) {
			return;
		}
		pn_link_send(link->pn, w->message.p, w->message.len);
		pn_delivery_settle(d);
		r->first = w->next;
		r->last = r->first != NULL ? r->last : NULL;
		r->n_waiting--;
		str_fini(&w->message);
		mem_free(w);
	}
	if (pn_link_get_drain(link->pn)) {
		(void)pn_link_drained(link->pn);
	}
}

/* Takes the message's bytes, also on failure. */
static void reply_post(struct reply_link *r, struct str *message)
{
	struct waiting *w = MEM_NEW(struct waiting);
	if (w == NULL || message->bad || r->n_waiting >= REPLIES_MAX) {
		bool is_full = r->n_waiting >= REPLIES_MAX;
		mem_free(w);
		str_fini(message);
		amqp_link_fail(&r->link, is_full ? ERR_LIMIT : ERR_NOMEM, NULL,
			       is_full ? "Too many replies wait for credit on this link." : "");
		return;
	}
	w->message = *message;
	if (r->last != NULL) {
		r->last->next = w;
	} else {
		r->first = w;
	}
	r->last = w;
	r->n_waiting++;
	reply_flow(&r->link);
}

static void reply_delivery(struct amqp_link *link, pn_delivery_t *d)
{
	(void)link;
	if (pn_delivery_updated(d)) {
		pn_delivery_settle(d);
	}
}

static void reply_end(struct amqp_link *link)
{
	struct reply_link *r = reply_of(link);
	while (r->first != NULL) {
		struct waiting *w = r->first;
		r->first = w->next;
		str_fini(&w->message);
		mem_free(w);
	}
	r->last = NULL;
	r->n_waiting = 0;
}

static const struct amqp_link_ops reply_ops = {
	.what = "replies",
	.size = sizeof(struct reply_link),
	.delivery = reply_delivery,
	.flow = reply_flow,
	.end = reply_end,
};

static bool equals(const char *have, struct span want)
{
	return have != NULL && want.n != 0 && span_eq_str(want, have);
}

/* How well a reply link fits, from what the clients do: by target address, by
 * source address, by link name, else the one of the same session. 0: not at
 * all. */
static int fitness(const struct reply_link *r, const struct request_link *q, struct span reply_to)
{
	pn_link_t *pn = r->link.pn;
	if (r->link.has_ended || (r->node != q->node && r->node != NODE_ANY)) {
		return 0;
	}
	if (equals(pn_terminus_get_address(pn_link_remote_target(pn)), reply_to)) {
		return 5;
	}
	if (equals(pn_terminus_get_address(pn_link_source(pn)), reply_to)) {
		return 4;
	}
	if (equals(pn_link_name(pn), reply_to)) {
		return 3;
	}
	return pn_link_session(pn) == pn_link_session(q->link.pn) ? 2 : 1;
}

static struct reply_link *find_reply_link(struct request_link *q, struct span reply_to)
{
	struct reply_link *best = NULL;
	int best_fit = 0;
	for (struct amqp_link *link = q->link.conn->links; link != NULL; link = link->next) {
		if (link->ops == &reply_ops) {
			int fit = fitness(reply_of(link), q, reply_to);
			if (fit > best_fit) {
				best_fit = fit;
				best = reply_of(link);
			}
		}
	}
	return best;
}

/* ---- request links ---------------------------------------------------------------- */

static struct request_link *request_of(struct amqp_link *link)
{
	return (struct request_link *)(void *)link;
}

/* ERR_DECODE: no AMQP message. */
static enum err answer(struct request_link *l, struct span bytes, struct err_detail *d)
{
	struct amqp_conn *conn = l->link.conn;
	struct amqp_request q = {.properties = {.type = AMQP_NULL}, .body = {.type = AMQP_NULL}};
	enum err e = amqp_message_read(bytes, &q.message, d);
	if (e != ERR_OK) {
		return e;
	}
	q.properties = section_value(q.message.application_properties);
	if (q.message.body_kind == AMQP_AMQP_VALUE) {
		q.body = section_value(q.message.body);
	}
	struct amqp_value properties = section_value(q.message.properties);
	struct span reply_to = {NULL, 0};
	struct span field = list_field(&properties, PROPERTIES_REPLY_TO);
	if (field.n != 0) {
		struct rd r = rd_of(field);
		struct amqp_value v = amqp_read(&r);
		reply_to = amqp_is_text(&v) ? v.data : reply_to;
	}
	struct reply_link *to = find_reply_link(l, reply_to);
	struct amqp_reply a = {.status = 0};
	if (l->node == NODE_CBS) {
		amqp_cbs_handle(conn, &q, &a);
	} else {
		amqp_management_handle(conn, &q, &a);
	}
	if (to == NULL) {
		log_limited(LOG_INFO, "AMQP-REPLY-NOWHERE", "conn=%llu reply_to=%s", (unsigned long long)conn->id,
			 log_quote_span(reply_to).text);
	} else {
		struct str message = {.max = 0};
		write_reply(&a, list_field(&properties, 0), &message);
		reply_post(to, &message);
	}
	str_fini(&a.body);
	return ERR_OK;
}

static void settle_request(struct request_link *l, pn_delivery_t *d, enum err e, const char *detail)
{
	if (e == ERR_OK) {
		pn_delivery_update(d, PN_ACCEPTED);
	} else {
		pn_condition_t *c = pn_disposition_condition(pn_delivery_local(d));
		pn_condition_set_name(c, err_info(e)->amqp);
		pn_condition_set_description(c, detail[0] != '\0' ? detail : err_text(e));
		pn_delivery_update(d, PN_REJECTED);
	}
	pn_delivery_settle(d);
	if (++l->owed >= REQUEST_CREDIT / 2) {
		pn_link_flow(l->link.pn, (int)l->owed);
		l->owed = 0;
	}
}

static void request_delivery(struct amqp_link *link, pn_delivery_t *d)
{
	struct request_link *l = request_of(link);
	struct amqp_conn *conn = link->conn;
	if (!pn_delivery_readable(d) || conn->frame == NULL ||
	    conn->frame->performative != AMQP_TRANSFER) {
		return;
	}
	if (pn_delivery_aborted(d)) {
		str_fini(&l->buffer);
		l->is_dropped = false;
		pn_delivery_settle(d);
		l->owed++;
		return;
	}
	if (pn_link_remote_credit(link->pn) < 0) {
		amqp_link_fail(link, ERR_LIMIT, "amqp:link:transfer-limit-exceeded",
			       "More requests were sent than the link had credit for.");
		return;
	}
	if (!l->is_dropped) {
		str_addn(&l->buffer, conn->payload.p, conn->payload.n);
		l->is_dropped = l->buffer.bad;
	}
	if (pn_delivery_partial(d)) {
		return;
	}
	pn_link_advance(link->pn);
	struct err_detail text = {""};
	enum err e = ERR_TOO_LARGE;
	if (!l->is_dropped) {
		e = answer(l, span_of(l->buffer.p, l->buffer.len), &text);
	}
	l->is_dropped = false;
	crypto_wipe(l->buffer.p, l->buffer.len);	/* it may hold a token */
	str_fini(&l->buffer);
	l->buffer.bad = false;
	if (!link->has_ended) {
		settle_request(l, d, e, text.text);
	}
}

static void request_end(struct amqp_link *link)
{
	str_fini(&request_of(link)->buffer);
}

static const struct amqp_link_ops request_ops = {
	.what = "requests",
	.size = sizeof(struct request_link),
	.delivery = request_delivery,
	.end = request_end,
};

/* ---- attaching ----------------------------------------------------------------------- */

/* One pair a connection, as the service has it. */
static bool cbs_is_open(const struct amqp_conn *conn, const struct amqp_link_ops *ops)
{
	for (const struct amqp_link *link = conn->links; link != NULL; link = link->next) {
		if (link->ops != ops || link->has_ended) {
			continue;
		}
		enum node node = ops == &request_ops ? ((const struct request_link *)(const void *)link)->node
						     : ((const struct reply_link *)(const void *)link)->node;
		if (node == NODE_CBS) {
			return true;
		}
	}
	return false;
}

void amqp_request_attach(struct amqp_conn *conn, pn_link_t *pn, const struct core_address *a)
{
	bool client_sends = pn_link_is_receiver(pn);
	const struct amqp_link_ops *ops = client_sends ? &request_ops : &reply_ops;
	enum node node = a->kind == CORE_CBS ? NODE_CBS : NODE_MANAGEMENT;
	if (node == NODE_CBS && cbs_is_open(conn, ops)) {
		amqp_link_refuse(conn, pn, ERR_NOT_ALLOWED, NULL,
				 "$cbs node has already been opened.", a->path);
		return;
	}
	struct amqp_link *link = amqp_link_new(conn, pn, ops, a->path);
	if (link == NULL) {
		amqp_link_refuse(conn, pn, ERR_NOMEM, NULL, "", a->path);
		return;
	}
	pn_link_set_max_message_size(pn, UINT64_MAX);
	if (client_sends) {
		request_of(link)->node = node;
		request_of(link)->buffer.max = REQUEST_MAX;
		amqp_link_accept(link);
		pn_link_flow(pn, REQUEST_CREDIT);
	} else {
		reply_of(link)->node = node;
		amqp_link_accept(link);
	}
}

void amqp_reply_attach_dynamic(struct amqp_conn *conn, pn_link_t *pn)
{
	struct amqp_link *link = amqp_link_new(conn, pn, &reply_ops, "$reply");
	if (link == NULL) {
		amqp_link_refuse(conn, pn, ERR_NOMEM, NULL, "", "$reply");
		return;
	}
	struct reply_link *r = reply_of(link);
	uint8_t uuid[16];
	char text[CRYPTO_UUID_TEXT];
	crypto_uuid(uuid);
	crypto_uuid_text(uuid, text);
	snprintf(r->address, sizeof r->address, "$reply-%s", text);
	link->source = r->address;
	r->node = NODE_ANY;
	pn_link_set_max_message_size(pn, UINT64_MAX);
	amqp_link_accept(link);
}
