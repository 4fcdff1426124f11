/* What the peer sends: frames to changes of the client's state and callbacks. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/cli/client_priv.h"

void cli_client_fail(struct cli_client *c, enum err e, const char *fmt, ...)
{
	if (c->err == ERR_OK) {
		va_list ap;
		va_start(ap, fmt);
		(void)vsnprintf(c->text, sizeof c->text, fmt, ap);
		va_end(ap);
		c->err = e;
	}
}

enum err cli_condition_err(const char *text)
{
	size_t n = strcspn(text, " ");
	n -= n > 0 && text[n - 1] == ':';
	for (int e = ERR_OK + 1; e < ERR__COUNT; e++) {
		const char *condition = err_info((enum err)e)->amqp;
		if (strlen(condition) == n && memcmp(condition, text, n) == 0) {
			return (enum err)e;
		}
	}
	return ERR_PROTOCOL;
}

int64_t cli_busy_wait_ms(const char *text)
{
	static const char told[] = "wait ";
	int64_t seconds = 0;
	/* The reason before it may have the same word, without a number. */
	for (const char *at = strstr(text, told); at != NULL && seconds == 0; at = strstr(at, told)) {
		at += sizeof told - 1;
		for (; *at >= '0' && *at <= '9' && seconds < CLI_BUSY_MAX_S; at++) {
			seconds = seconds * 10 + (*at - '0');
		}
	}
	return (seconds > 0 ? seconds : CLI_BUSY_S) * 1000;
}

bool cli_outcome_is_busy(const char *text, int64_t *wait_ms)
{
	const char *busy = err_info(ERR_BUSY)->amqp;
	size_t n = strlen(busy);
	if (strncmp(text, busy, n) != 0 || (text[n] != ':' && text[n] != '\0')) {
		return false;
	}
	*wait_ms = cli_busy_wait_ms(text);
	return true;
}

static struct cli_session *find_session(struct cli_client *c, uint16_t remote_channel)
{
	for (uint32_t i = 0; i < c->n_sessions; i++) {
		struct cli_session *session = c->sessions[i];
		if (session->begun && session->remote_channel == remote_channel) {
			return session;
		}
	}
	return NULL;
}

static struct cli_link *find_link(struct cli_session *session, uint32_t remote_handle)
{
	for (uint32_t i = 0; i < session->n_links; i++) {
		struct cli_link *link = session->links[i];
		if (link != NULL && (link->attached || link->refused) && !link->detached &&
		    link->remote_handle == remote_handle) {
			return link;
		}
	}
	return NULL;
}

/* ---- opening ------------------------------------------------------------------ */

static bool offers(const struct amqp_value *v, const char *name)
{
	if (v->type == AMQP_SYMBOL) {
		return span_eq_str(v->data, name);
	}
	if (v->type != AMQP_ARRAY) {
		return false;
	}
	struct rd r = rd_of(v->data);
	for (uint32_t i = 0; i < v->count && !r.bad; i++) {
		struct amqp_value item = amqp_read_array_item(&r, v->item_code);
		if (amqp_is_text(&item) && span_eq_str(item.data, name)) {
			return true;
		}
	}
	return false;
}

static void on_sasl(struct cli_client *c, const struct cli_frame *f)
{
	if (f->code == WIRE_SASL_MECHANISMS) {
		const char *mechanism = offers(&f->field[0], "ANONYMOUS") ? "ANONYMOUS"
					: offers(&f->field[0], "MSSBCBS") ? "MSSBCBS"
									  : NULL;
		if (mechanism == NULL) {
			cli_client_fail(c, ERR_PROTOCOL,
					"the server offers neither ANONYMOUS nor MSSBCBS");
			return;
		}
		cli_put_sasl_init(&c->out, mechanism, c->host);
	} else if (f->code == WIRE_SASL_OUTCOME) {
		if (cli_value_u32(&f->field[0], 1) != 0) {
			cli_client_fail(c, ERR_UNAUTHORIZED, "the server refused the SASL login");
			return;
		}
		c->phase = CLI_AMQP_HEADER;
		cli_put_header(&c->out, WIRE_TYPE_AMQP);
	}
}

static void on_open(struct cli_client *c, const struct cli_frame *f)
{
	uint32_t max = cli_value_u32(&f->field[2], UINT32_MAX);
	c->max_frame = max < WIRE_MAX_FRAME ? max : WIRE_MAX_FRAME;
	c->remote_idle_ms = cli_value_u32(&f->field[4], 0);
	if (c->max_frame < 512) {	/* AMQP 2.4.1 */
		cli_client_fail(c, ERR_PROTOCOL, "the server's frame size is below 512");
		return;
	}
	c->phase = CLI_OPENED;
}

static void on_begin(struct cli_client *c, const struct cli_frame *f)
{
	uint32_t ours = cli_value_u32(&f->field[0], UINT32_MAX);
	if (ours >= c->n_sessions) {
		cli_client_fail(c, ERR_PROTOCOL, "the server began a session nobody asked for");
		return;
	}
	struct cli_session *session = c->sessions[ours];
	session->begun = true;
	session->remote_channel = f->channel;
	session->next_incoming = cli_value_u32(&f->field[1], 0);
	session->remote_window = cli_value_u32(&f->field[2], 0);
	session->handle_max = cli_value_u32(&f->field[4], UINT32_MAX);
}

static void on_attach(struct cli_session *session, const struct cli_frame *f)
{
	struct cli_link *link = NULL;
	for (uint32_t i = 0; i < session->n_links && link == NULL; i++) {
		struct cli_link *at = session->links[i];
		if (at != NULL && !at->attached && !at->refused &&
		    amqp_is_text(&f->field[0]) && span_eq_str(f->field[0].data, at->name)) {
			link = at;
		}
	}
	if (link == NULL) {
		cli_client_fail(session->client, ERR_PROTOCOL, "the server attached an unknown link");
		return;
	}
	int64_t max;
	link->remote_handle = cli_value_u32(&f->field[1], 0);
	link->refused = f->field[link->receiver ? 5 : 6].type == AMQP_NULL;
	link->attached = !link->refused;
	link->received = cli_value_u32(&f->field[9], 0);
	link->max_message = UINT64_MAX;
	if (amqp_to_i64(&f->field[10], &max) && max > 0) {
		link->max_message = (uint64_t)max;
	}
	if (link->receiver && link->attached) {
		cli_client_put_flow(session, link);
	}
}

/* ---- links ----------------------------------------------------------------------- */

static void on_flow(struct cli_session *session, const struct cli_frame *f)
{
	/* AMQP 2.5.6: what the peer can still take, given what is on its way. */
	uint32_t next = cli_value_u32(&f->field[0], 0);
	session->remote_window = next + cli_value_u32(&f->field[1], 0) - session->next_outgoing;
	struct cli_link *link = NULL;
	if (f->field[4].type != AMQP_NULL) {
		link = find_link(session, cli_value_u32(&f->field[4], UINT32_MAX));
	}
	if (link != NULL && !link->receiver) {
		uint32_t count = cli_value_u32(&f->field[5], 0);
		link->credit = count + cli_value_u32(&f->field[6], 0) - link->delivery_count;
		if (cli_value_true(&f->field[8])) {	/* drain: nothing waits here */
			link->delivery_count += link->credit;
			link->credit = 0;
			cli_client_put_flow(session, link);
		}
	}
	if (cli_value_true(&f->field[9])) {
		cli_client_put_flow(session, link != NULL && link->receiver ? link : NULL);
	}
}

static void finish_message(struct cli_session *session, struct cli_link *link, struct span message)
{
	link->received++;
	link->since_flow++;
	link->partial = false;
	if (link->unsettled) {
		cli_put_accepted(&session->client->out, session->channel, link->delivery_id,
				 link->delivery_id);
	}
	if (link->since_flow >= link->credit_goal / 2 + 1) {
		cli_client_put_flow(session, link);
		link->since_flow = 0;
	}
	if (link->events.message != NULL) {
		link->events.message(link->events.arg, message);
	}
}

static void on_transfer(struct cli_session *session, const struct cli_frame *f)
{
	struct cli_client *c = session->client;
	session->next_incoming++;
	struct cli_link *link = find_link(session, cli_value_u32(&f->field[0], UINT32_MAX));
	if (link == NULL || !link->receiver) {
		return;	/* detached meanwhile */
	}
	bool more = cli_value_true(&f->field[5]);
	if (!link->partial) {
		link->delivery_id = cli_value_u32(&f->field[1], 0);
		link->unsettled = !cli_value_true(&f->field[4]);
		link->message.len = 0;
		if (!more) {
			finish_message(session, link, f->payload);
			return;
		}
	}
	link->partial = true;
	link->unsettled = link->unsettled && !cli_value_true(&f->field[4]);
	if (cli_value_true(&f->field[9])) {	/* aborted */
		link->partial = false;
		link->received++;
		return;
	}
	str_addn(&link->message, f->payload.p, f->payload.n);
	if (link->message.bad) {
		cli_client_fail(c, ERR_TOO_LARGE, "a received message is too large");
		return;
	}
	if (!more) {
		finish_message(session, link, span_of(link->message.p, link->message.len));
	}
}

static void outcome_text(const struct amqp_value *state, char *out, size_t size)
{
	struct amqp_value error;
	switch (cli_list_read(state, &error, 1)) {
	case WIRE_REJECTED:
		if (!cli_error_text(&error, out, size)) {
			(void)snprintf(out, size, "rejected without a reason");
		}
		break;
	case WIRE_RELEASED:
		(void)snprintf(out, size, "released: the server did not take the events");
		break;
	case WIRE_MODIFIED:
		(void)snprintf(out, size, "modified: the server did not take the events");
		break;
	default:
		(void)snprintf(out, size, "settled without an outcome");
	}
}

static void on_disposition(struct cli_session *session, const struct cli_frame *f)
{
	struct cli_link *link = session->sender;
	if (!cli_value_true(&f->field[0]) || link == NULL || link->events.outcome == NULL) {
		return;
	}
	uint32_t first = cli_value_u32(&f->field[1], 0);
	uint32_t last = cli_value_u32(&f->field[2], first);
	struct amqp_value none;
	uint64_t code = cli_list_read(&f->field[4], &none, 1);
	uint32_t behind = session->next_delivery - first;
	if (behind > INT32_MAX || last - first >= behind) {
		cli_client_fail(session->client, ERR_PROTOCOL,
				"the server settled deliveries that were never sent");
		return;
	}
	if (code == WIRE_RECEIVED && !cli_value_true(&f->field[3])) {
		return;
	}
	if (code == WIRE_ACCEPTED) {
		link->events.outcome(link->events.arg, first, last, NULL);
		return;
	}
	char text[ERR_DETAIL_MAX];
	outcome_text(&f->field[4], text, sizeof text);
	link->events.outcome(link->events.arg, first, last, text);
}

static void on_detach(struct cli_session *session, const struct cli_frame *f)
{
	struct cli_link *link = find_link(session, cli_value_u32(&f->field[0], UINT32_MAX));
	if (link == NULL) {
		return;
	}
	link->detached = true;
	if (!cli_error_text(&f->field[2], link->text, sizeof link->text)) {
		(void)snprintf(link->text, sizeof link->text, "the server closed the link");
	}
	link->err = cli_condition_err(link->text);
	cli_put_detach(&session->client->out, session->channel, link->handle);
}

static void on_session_frame(struct cli_client *c, const struct cli_frame *f)
{
	struct cli_session *session = find_session(c, f->channel);
	if (session == NULL) {
		cli_client_fail(c, ERR_PROTOCOL, "a frame on channel %u, which has no session",
				f->channel);
		return;
	}
	switch (f->code) {
	case WIRE_ATTACH:
		on_attach(session, f);
		break;
	case WIRE_FLOW:
		on_flow(session, f);
		break;
	case WIRE_TRANSFER:
		on_transfer(session, f);
		break;
	case WIRE_DISPOSITION:
		on_disposition(session, f);
		break;
	case WIRE_DETACH:
		on_detach(session, f);
		break;
	case WIRE_END: {
		char text[ERR_DETAIL_MAX] = "the server ended the session";
		(void)cli_error_text(&f->field[0], text, sizeof text);
		session->ended = true;
		cli_client_fail(c, cli_condition_err(text), "%s", text);
		break;
	}
	default:
		cli_client_fail(c, ERR_PROTOCOL, "unknown frame 0x%" PRIx64, f->code);
	}
}

static void on_close(struct cli_client *c, const struct cli_frame *f)
{
	char text[ERR_DETAIL_MAX] = "the server closed the connection";
	(void)cli_error_text(&f->field[0], text, sizeof text);
	cli_client_fail(c, cli_condition_err(text), "%s", text);
	if (c->phase != CLI_CLOSED) {
		cli_put_close(&c->out);
		c->phase = CLI_CLOSED;
	}
}

static void on_frame(struct cli_client *c, struct span bytes)
{
	struct cli_frame f;
	if (cli_frame_read(bytes, &f) != ERR_OK) {
		cli_client_fail(c, ERR_PROTOCOL, "the server sent a malformed frame");
		return;
	}
	if (f.code == UINT64_MAX) {
		return;	/* heartbeat */
	}
	if ((f.type == WIRE_TYPE_SASL) != (c->phase == CLI_SASL)) {
		cli_client_fail(c, ERR_PROTOCOL, "the server sent a frame out of turn");
	} else if (f.type == WIRE_TYPE_SASL) {
		on_sasl(c, &f);
	} else if (f.code == WIRE_OPEN) {
		on_open(c, &f);
	} else if (f.code == WIRE_CLOSE) {
		on_close(c, &f);
	} else if (f.code == WIRE_BEGIN) {
		on_begin(c, &f);
	} else {
		on_session_frame(c, &f);
	}
}

/* ---- bytes -------------------------------------------------------------------------- */

/* One header or frame from the start of `in`; its size, or 0 when it is not
 * whole yet. */
static size_t take_one(struct cli_client *c, struct span in)
{
	if (in.n < WIRE_HEAD) {
		return 0;
	}
	if (c->phase == CLI_SASL_HEADER || c->phase == CLI_AMQP_HEADER) {
		uint8_t want = c->phase == CLI_SASL_HEADER ? 3 : 0;
		if (memcmp(in.p, "AMQP", 4) != 0 || in.p[4] != want) {
			cli_client_fail(c, ERR_PROTOCOL, "the server does not speak AMQP 1.0 here");
		}
		c->phase = c->phase == CLI_SASL_HEADER ? CLI_SASL : CLI_OPENING;
		return WIRE_HEAD;
	}
	uint32_t size = get_u32(in.p);
	if (size < WIRE_HEAD || size > WIRE_MAX_FRAME) {
		cli_client_fail(c, ERR_PROTOCOL, "the server sent a frame of %u bytes", size);
		return 0;
	}
	if (size > in.n) {
		return 0;
	}
	on_frame(c, span_of(in.p, size));
	return size;
}

void cli_client_feed(struct cli_client *c, struct span bytes)
{
	size_t at = 0;
	while (c->err == ERR_OK) {
		size_t n = take_one(c, span_of(bytes.p + at, bytes.n - at));
		if (n == 0) {
			break;
		}
		at += n;
	}
	c->in_len = c->err == ERR_OK ? bytes.n - at : 0;
	memmove(c->in, bytes.p + at, c->in_len);
}
