#include "gateway/amqp/conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/logger.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/transport.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "gateway/amqp/link.h"

enum {
	CONN_MAGIC = 0x414d5143,
	WIRE_PIECE = 64 << 10,		/* output gathered before it goes to the stream */
	WIRE_KEEP = 16 << 10,		/* a larger buffer is given back */
	TEXT_MAX = ERR_DETAIL_MAX + 256,
};

static unsigned long long id_of(const struct amqp_conn *conn)
{
	return (unsigned long long)conn->id;
}

/* ---- life ----------------------------------------------------------------- */

static void conn_free(struct amqp_conn *conn)
{
	assert(conn->links == NULL);
	conn->magic = 0;
	mem_free(conn);
}

void amqp_conn_release(struct amqp_conn *conn)
{
	assert(conn->outstanding > 0);
	conn->outstanding--;
	if (conn->stream == NULL && conn->outstanding == 0) {
		conn_free(conn);
	}
}

struct amqp_conn *amqp_conn_find(uint64_t id)
{
	struct amqp_loop *loop = amqp_loop_here();
	struct amqp_conn *conn = loop != NULL ? loop->conns : NULL;
	while (conn != NULL && conn->id != id) {
		conn = conn->next;
	}
	return conn;
}

static void list_on_loop(struct amqp_conn *conn)
{
	conn->next = conn->loop->conns;
	if (conn->next != NULL) {
		conn->next->prev = conn;
	}
	conn->loop->conns = conn;
}

static void unlist_from_loop(struct amqp_conn *conn)
{
	if (conn->next != NULL) {
		conn->next->prev = conn->prev;
	}
	if (conn->prev != NULL) {
		conn->prev->next = conn->next;
	} else {
		conn->loop->conns = conn->next;
	}
	conn->next = NULL;
	conn->prev = NULL;
}

void amqp_conn_wake(struct amqp_conn *conn)
{
	if (!conn->wake_posted && conn->stream != NULL) {
		conn->wake_posted = true;
		conn->outstanding++;
		mailbox_post(conn->mailbox, &conn->wake);
	}
}

void amqp_conn_tick_by(struct amqp_conn *conn, int64_t at_ms)
{
	if (at_ms < conn->tick_ms && conn->stream != NULL) {
		conn->tick_ms = at_ms;
		net_stream_tick_at(conn->stream, at_ms);
	}
}

bool amqp_conn_has_room(const struct amqp_conn *conn)
{
	return conn->stream != NULL && net_stream_queued(conn->stream) < NET_QUEUE_HIGH;
}

enum err amqp_conn_grant(struct amqp_conn *conn, const struct auth_grant *grant)
{
	enum err e = core_grants_add(&conn->grants, grant);
	if (e == ERR_OK && !conn->is_authorised) {
		conn->is_authorised = true;
		net_stream_authorised(conn->stream);
	}
	return e;
}

/* `hard`: nothing more is read; the peer may not be able to follow any more. */
static void say_goodbye(struct amqp_conn *conn, enum err e, const char *condition,
			const char *detail, bool hard)
{
	if (conn->is_failing || conn->stream == NULL) {
		return;
	}
	char tracking[33];
	char text[TEXT_MAX];
	core_error_text(conn->front->core, e, detail, "", tracking, text, sizeof text);
	condition = condition != NULL ? condition : err_info(e)->amqp;
	log_limited(LOG_INFO, "AMQP-CONNECTION-ENDED", "conn=%llu peer=%s condition=%s tracking=%s reason=%s",
		 id_of(conn), net_stream_peer(conn->stream), condition, tracking,
		 log_quote(detail != NULL ? detail : err_text(e)));
	conn->is_failing = true;
	conn->close_by_ms = clock_mono_ms() + AMQP_CLOSE_WAIT_MS;
	amqp_conn_tick_by(conn, conn->close_by_ms);
	if (conn->is_open && !hard) {
		pn_condition_t *c = pn_connection_condition(conn->driver.connection);
		pn_condition_set_name(c, condition);
		pn_condition_set_description(c, text);
		pn_connection_close(conn->driver.connection);
	} else {
		pn_connection_driver_errorf(&conn->driver, condition, "%s", text);
		pn_connection_driver_read_close(&conn->driver);
	}
	amqp_link_end_all(conn);
}

void amqp_conn_fail(struct amqp_conn *conn, enum err e, const char *condition, const char *detail)
{
	say_goodbye(conn, e, condition, detail, false);
}

/* ---- Proton's events -------------------------------------------------------- */

/* There are too many connections already: this one was let in to be told so. */
static void end_surplus(struct amqp_conn *conn)
{
	char text[ERR_DETAIL_MAX];
	snprintf(text, sizeof text,
		 "ConnectionsQuotaExceeded for namespace: %.100s. The quota of %d connections is "
		 "reached. Please close connections that are not needed and try again.",
		 core_host(conn->front->core), net_stream_max_connections(conn->stream));
	metric_inc(METRIC_ERRORS_QUOTA);
	amqp_conn_fail(conn, ERR_LIMIT, NULL, text);
}

static void on_connection_open(struct amqp_conn *conn, pn_connection_t *pn)
{
	conn->is_open = true;
	const char *container = pn_connection_remote_container(pn);
	const char *host = pn_connection_remote_hostname(pn);
	log_debug("AMQP-OPEN", "conn=%llu peer=%s container=%s host=%s", id_of(conn),
		  net_stream_peer(conn->stream), log_quote(container != NULL ? container : ""),
		  log_quote(host != NULL ? host : ""));
	pn_connection_set_container(pn, conn->front->container);
	pn_connection_open(pn);
	amqp_conn_tick_by(conn, clock_mono_ms() + AMQP_FAST_TICK_MS);	/* its idle timeout is known */
	if (net_stream_is_surplus(conn->stream)) {
		end_surplus(conn);
	}
}

static void on_session_open(struct amqp_conn *conn, pn_session_t *ssn)
{
	conn->n_sessions++;
	if (conn->n_sessions > LIMIT_AMQP_SESSIONS) {
		amqp_conn_fail(conn, ERR_LIMIT, NULL, "Too many sessions on one connection.");
		return;
	}
	pn_session_set_incoming_capacity(ssn, 0);	/* link credit bounds what comes in */
	pn_session_open(ssn);
}

static void on_session_end(struct amqp_conn *conn, pn_session_t *ssn)
{
	amqp_link_end_session(conn, ssn);
	conn->n_sessions -= conn->n_sessions > 0;
	pn_session_close(ssn);
	pn_session_free(ssn);	/* and its links */
}

static void on_delivery(pn_delivery_t *d)
{
	pn_link_t *pn = pn_delivery_link(d);
	struct amqp_link *link = pn_link_get_context(pn);
	if (link != NULL && !link->has_ended && link->ops->delivery != NULL) {
		link->ops->delivery(link, d);
	} else if (pn_link_is_sender(pn)) {
		if (pn_delivery_updated(d)) {
			pn_delivery_settle(d);
		}
	} else if (pn_delivery_readable(d)) {
		pn_delivery_settle(d);	/* Proton drops the rest of it */
	}
}

static void on_link_flow(pn_link_t *pn)
{
	struct amqp_link *link = pn_link_get_context(pn);
	if (link != NULL && !link->has_ended && link->ops->flow != NULL) {
		link->ops->flow(link);
	}
}

static void on_transport_error(struct amqp_conn *conn)
{
	pn_condition_t *c = pn_transport_condition(conn->driver.transport);
	const char *name = pn_condition_get_name(c);
	const char *text = pn_condition_get_description(c);
	if (!conn->is_failing) {
		log_limited(LOG_INFO, "AMQP-PROTOCOL-ERROR", "conn=%llu peer=%s condition=%s reason=%s",
			 id_of(conn), net_stream_peer(conn->stream), log_quote(name != NULL ? name : ""),
			 log_quote(text != NULL ? text : ""));
		conn->is_failing = true;
		conn->close_by_ms = clock_mono_ms() + AMQP_CLOSE_WAIT_MS;
		amqp_conn_tick_by(conn, conn->close_by_ms);
	}
	amqp_link_end_all(conn);
}

static void on_event(struct amqp_conn *conn, pn_event_t *e)
{
	switch (pn_event_type(e)) {
	case PN_CONNECTION_REMOTE_OPEN:
		on_connection_open(conn, pn_event_connection(e));
		break;
	case PN_CONNECTION_REMOTE_CLOSE:
		amqp_link_end_all(conn);
		pn_connection_close(pn_event_connection(e));
		break;
	case PN_SESSION_REMOTE_OPEN:
		on_session_open(conn, pn_event_session(e));
		break;
	case PN_SESSION_REMOTE_CLOSE:
		on_session_end(conn, pn_event_session(e));
		break;
	case PN_LINK_REMOTE_OPEN:
		amqp_link_attach(conn, pn_event_link(e));
		break;
	case PN_LINK_REMOTE_CLOSE:
		amqp_link_unbind(conn, pn_event_link(e), true);
		break;
	case PN_LINK_REMOTE_DETACH:
		amqp_link_unbind(conn, pn_event_link(e), false);
		break;
	case PN_LINK_FLOW:
		on_link_flow(pn_event_link(e));
		break;
	case PN_DELIVERY:
		on_delivery(pn_event_delivery(e));
		break;
	case PN_TRANSPORT_ERROR:
		on_transport_error(conn);
		break;
	default:
		break;
	}
}

static void drain_events(struct amqp_conn *conn)
{
	pn_event_t *e;
	while ((e = pn_connection_driver_next_event(&conn->driver)) != NULL) {
		on_event(conn, e);
	}
}

/* ---- output ----------------------------------------------------------------- */

static bool send_wire(struct amqp_conn *conn)
{
	if (conn->wire.len == 0) {
		return true;
	}
	enum err e = net_stream_write(conn->stream, conn->wire.p, conn->wire.len);
	conn->wire.len = 0;
	return e == ERR_OK || e == ERR_EOF;	/* EOF: it is closing anyway */
}

/* Moves what Proton has to say into the stream's queue, as far as there is
 * room. True when something was moved. */
static bool write_output(struct amqp_conn *conn)
{
	bool moved = false;
	while (net_stream_queued(conn->stream) < NET_QUEUE_HIGH) {
		pn_bytes_t b = pn_connection_driver_write_buffer(&conn->driver);
		if (b.size == 0) {
			break;
		}
		enum err e = amqp_tap_out_write(&conn->out, span_of(b.start, b.size), &conn->wire);
		pn_connection_driver_write_done(&conn->driver, b.size);
		moved = true;
		if (e == ERR_OK && conn->wire.bad) {
			e = ERR_NOMEM;
		}
		if (e != ERR_OK || (conn->wire.len >= WIRE_PIECE && !send_wire(conn))) {
			net_stream_abort(conn->stream);	/* the frames are out of step */
			return false;
		}
	}
	if (!send_wire(conn)) {
		net_stream_abort(conn->stream);
	}
	if (conn->wire.cap > WIRE_KEEP) {
		str_fini(&conn->wire);
	}
	return moved;
}

/* One turn of each receiver that has something to do. */
static void push_receivers(struct amqp_conn *conn)
{
	struct amqp_link *last = conn->ready_last;
	struct amqp_link *link;
	while ((link = amqp_link_next_ready(conn)) != NULL) {
		bool is_last = link == last;
		link->ops->push(link);
		if (is_last) {
			break;
		}
	}
}

static void pace_reading(struct amqp_conn *conn)
{
	bool full = net_stream_queued(conn->stream) >= NET_QUEUE_HIGH;
	if (full && !conn->is_paused) {
		conn->is_paused = true;
		net_stream_pause(conn->stream);
	}
}

static void finish_if_done(struct amqp_conn *conn)
{
	if (conn->is_stopping && conn->sends == 0 && !conn->is_failing) {
		amqp_conn_fail(conn, ERR_CONN_FORCED, NULL, "The server is stopping.");
		drain_events(conn);
		(void)write_output(conn);
		drain_events(conn);
	}
	if (pn_transport_closed(conn->driver.transport)) {
		net_stream_close(conn->stream);
	}
}

/* Everything that is to be done after input, completions or new room. */
static void run(struct amqp_conn *conn)
{
	for (int round = 0; round < AMQP_ROUNDS; round++) {
		if (amqp_conn_has_room(conn)) {
			push_receivers(conn);
		}
		bool moved = write_output(conn);
		drain_events(conn);
		if (moved) {
			amqp_link_unblock(conn);	/* sessions have room again */
		} else if (conn->ready == NULL || !amqp_conn_has_room(conn)) {
			break;
		}
	}
	if (conn->ready != NULL && amqp_conn_has_room(conn)) {
		amqp_conn_wake(conn);
	}
	pace_reading(conn);
	finish_if_done(conn);
}

static void on_wake(struct msg *m)
{
	struct amqp_conn *conn = AMQP_OWNER(struct amqp_conn, m, wake);
	assert(conn->magic == CONN_MAGIC);
	conn->wake_posted = false;
	if (conn->stream != NULL) {
		run(conn);
	}
	amqp_conn_release(conn);
}

/* ---- input -------------------------------------------------------------------- */

/* Gives one unit to Proton, a transfer without its payload, and handles what it
 * makes of it. */
static void feed(struct amqp_conn *conn, const struct amqp_tap_frame *frame,
		 const struct amqp_guard_verdict *verdict)
{
	struct span left = verdict->bytes;
	conn->frame = frame;
	conn->payload = verdict->payload;
	while (left.n > 0 && !pn_connection_driver_read_closed(&conn->driver)) {
		pn_rwbytes_t b = pn_connection_driver_read_buffer_sized(&conn->driver, left.n);
		size_t n = b.size < left.n ? b.size : left.n;
		if (n == 0) {
			break;
		}
		memcpy(b.start, left.p, n);
		pn_connection_driver_read_done(&conn->driver, n);
		left = span_of(left.p + n, left.n - n);
		drain_events(conn);
	}
	conn->frame = NULL;
	conn->payload = span_of(NULL, 0);
	if (frame->performative == AMQP_FLOW) {
		amqp_link_unblock(conn);	/* the session's window may have moved */
	}
	/* Proton takes nothing after SASL before the outcome is written. */
	if (frame->kind == AMQP_TAP_HEADER || frame->is_sasl) {
		(void)write_output(conn);
		drain_events(conn);
	}
}

static bool is_within_unauthorised_limit(struct amqp_conn *conn, size_t n)
{
	if (conn->is_authorised) {
		return true;
	}
	conn->unauth_bytes += n;
	if (conn->unauth_bytes <= LIMIT_UNAUTH_BYTES) {
		return true;
	}
	char text[96];
	snprintf(text, sizeof text, "The connection sent more than %d bytes without authorising itself.",
		 LIMIT_UNAUTH_BYTES);
	say_goodbye(conn, ERR_CONN_FORCED, NULL, text, true);
	return false;
}

static void on_received(void *arg, const uint8_t *p, size_t n)
{
	struct amqp_conn *conn = arg;
	assert(conn->magic == CONN_MAGIC);
	struct span in = span_of(p, n);
	struct amqp_tap_frame frame;
	struct err_detail d = {""};
	while (in.n > 0 && !pn_connection_driver_read_closed(&conn->driver)) {
		enum err e = amqp_tap_in_next(&conn->in, &in, &frame, &d);
		if (e == ERR_OK && frame.kind == AMQP_TAP_MORE) {
			break;
		}
		struct amqp_guard_verdict verdict = {.drop = false};
		if (e == ERR_OK) {
			e = amqp_guard_check(&conn->guard, &frame, &verdict, &d);
		}
		if (e != ERR_OK) {
			say_goodbye(conn, e, e == ERR_TOO_LARGE ? "amqp:connection:framing-error" : NULL,
				    d.text, true);
			break;
		}
		if (!is_within_unauthorised_limit(conn, frame.bytes.n)) {
			break;
		}
		if (!verdict.drop) {
			feed(conn, &frame, &verdict);
		}
	}
	drain_events(conn);
	run(conn);
}

static void on_writable(void *arg)
{
	struct amqp_conn *conn = arg;
	assert(conn->magic == CONN_MAGIC);
	if (conn->is_paused) {
		conn->is_paused = false;
		net_stream_resume(conn->stream);
	}
	amqp_link_unblock(conn);
	run(conn);
}

/* ---- time -------------------------------------------------------------------- */

/* Idle times of both sides. Proton learns of output only when it is ticked, so
 * it is asked several times within the peer's timeout. */
static void tick_transport(struct amqp_conn *conn, int64_t now_ms)
{
	if (conn->is_paused) {
		return;	/* we do not read: the peer's silence is our doing */
	}
	pn_transport_t *t = conn->driver.transport;
	int64_t next = pn_transport_tick(t, now_ms);
	pn_millis_t remote = pn_transport_get_remote_idle_timeout(t);
	if (remote > 0) {
		int64_t step = remote / 8 > AMQP_FAST_TICK_MS / 2 ? remote / 8 : AMQP_FAST_TICK_MS / 2;
		amqp_conn_tick_by(conn, now_ms + step);
	}
	if (next > 0) {
		amqp_conn_tick_by(conn, next > now_ms + NET_TICK_MS ? next : now_ms + NET_TICK_MS);
	}
}

static void tick_unauthorised(struct amqp_conn *conn, int64_t now_ms)
{
	int64_t until = conn->opened_ms + LIMIT_UNAUTH_MS;
	if (conn->is_authorised) {
		return;
	}
	if (now_ms >= until) {
		amqp_conn_fail(conn, ERR_CONN_FORCED, NULL,
			       "The connection did not authorise itself within 20 seconds.");
	} else {
		amqp_conn_tick_by(conn, until);
	}
}

static void on_tick(void *arg, int64_t now_ms)
{
	struct amqp_conn *conn = arg;
	assert(conn->magic == CONN_MAGIC);
	conn->tick_ms = INT64_MAX;
	if (conn->is_failing && now_ms >= conn->close_by_ms) {
		net_stream_close(conn->stream);
		return;
	}
	if (conn->is_failing) {
		amqp_conn_tick_by(conn, conn->close_by_ms);
	}
	amqp_conn_tick_by(conn, now_ms + AMQP_SLOW_TICK_MS);
	tick_unauthorised(conn, now_ms);
	tick_transport(conn, now_ms);
	drain_events(conn);
	struct amqp_link *next;
	for (struct amqp_link *link = conn->links; link != NULL; link = next) {
		next = link->next;
		amqp_link_tick(link, now_ms);
	}
	drain_events(conn);
	run(conn);
}

/* ---- the seam to net ------------------------------------------------------------ */

/* Proton's own lines: what matters reaches us as events. */
static void on_proton_log(intptr_t context, pn_log_subsystem_t subsystem, pn_log_level_t level,
			  const char *message)
{
	(void)subsystem;
	(void)level;
	log_debug("AMQP-PROTON", "conn=%lld text=%s", (long long)context, log_quote(message));
}

static bool setup_driver(struct amqp_conn *conn)
{
	if (pn_connection_driver_init(&conn->driver, NULL, NULL) != 0) {
		return false;
	}
	pn_transport_t *t = conn->driver.transport;
	const struct amqp_options *o = &conn->front->options;
	pn_transport_set_server(t);
	pn_logger_set_log_sink(pn_transport_logger(t), on_proton_log, (intptr_t)conn->id);
	pn_transport_set_max_frame(t, LIMIT_AMQP_FRAME);
	pn_transport_set_channel_max(t, LIMIT_AMQP_SESSIONS - 1);
	pn_transport_set_idle_timeout(t, 2 * o->idle_timeout_ms);	/* half of it is advertised */
	pn_transport_require_auth(t, false);	/* peers without SASL claim their rights at $cbs */
	amqp_sasl_setup(conn);
	drain_events(conn);	/* binds */
	return true;
}

static enum err on_opened(void *ctx, struct net_stream *s, void **out)
{
	struct amqp_front *f = ctx;
	struct amqp_conn *conn = MEM_NEW(struct amqp_conn);
	if (conn == NULL) {
		return ERR_NOMEM;
	}
	conn->magic = CONN_MAGIC;
	conn->id = net_stream_id(s);
	conn->front = f;
	conn->stream = s;
	conn->loop = amqp_loop_enter(f, net_stream_loop(s));
	conn->mailbox = net_loop_mailbox(net_stream_loop(s));
	conn->wake.run = on_wake;
	conn->opened_ms = clock_mono_ms();
	conn->tick_ms = INT64_MAX;
	amqp_tap_in_init(&conn->in, LIMIT_AMQP_FRAME);
	amqp_tap_out_init(&conn->out);
	if (conn->loop == NULL || !setup_driver(conn)) {
		amqp_tap_in_fini(&conn->in);
		amqp_tap_out_fini(&conn->out);
		mem_free(conn);
		return ERR_NOMEM;
	}
	list_on_loop(conn);
	*out = conn;
	amqp_conn_tick_by(conn, conn->opened_ms + AMQP_FAST_TICK_MS);
	return ERR_OK;
}

static void on_closed(void *arg, enum err reason)
{
	struct amqp_conn *conn = arg;
	assert(conn->magic == CONN_MAGIC);
	log_debug("AMQP-CLOSED", "conn=%llu reason=%s", id_of(conn), err_info(reason)->name);
	unlist_from_loop(conn);
	amqp_link_end_session(conn, NULL);
	pn_connection_driver_destroy(&conn->driver);
	amqp_tap_in_fini(&conn->in);
	amqp_tap_out_fini(&conn->out);
	amqp_guard_fini(&conn->guard);
	str_fini(&conn->wire);
	core_grants_fini(&conn->grants);
	core_flow_close(&conn->flow);
	conn->stream = NULL;
	if (conn->outstanding == 0) {
		conn_free(conn);
	}
}

static void on_stopping(void *arg)
{
	struct amqp_conn *conn = arg;
	assert(conn->magic == CONN_MAGIC);
	conn->is_stopping = true;
	if (!conn->is_open) {
		net_stream_close(conn->stream);
		return;
	}
	run(conn);
}

const struct net_protocol amqp_protocol = {
	.name = "amqp",
	.opened = on_opened,
	.received = on_received,
	.writable = on_writable,
	.tick = on_tick,
	.closed = on_closed,
	.stopping = on_stopping,
};
