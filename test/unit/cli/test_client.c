/* The client without a connection: the test feeds it what a server would send. */

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/cli/client_priv.h"

static struct cli_client *client;
static uint32_t outcome_first, outcome_last;
static char outcome_text[ERR_DETAIL_MAX];
static int outcomes;
static char message[4096];
static size_t message_len;
static int messages;

static void on_outcome(void *arg, uint32_t first, uint32_t last, const char *text)
{
	(void)arg;
	outcomes++;
	outcome_first = first;
	outcome_last = last;
	(void)snprintf(outcome_text, sizeof outcome_text, "%s", text != NULL ? text : "accepted");
}

static void on_message(void *arg, struct span m)
{
	(void)arg;
	messages++;
	ck_assert_uint_le(m.n, sizeof message);
	memcpy(message, m.p, m.n);
	message_len = m.n;
}

static const struct cli_link_events events = {.outcome = on_outcome, .message = on_message};

static void feed(struct str *s)
{
	/* As read_some does: after what is left from before. */
	memcpy(client->in + client->in_len, s->p, s->len);
	cli_client_feed(client, span_of(client->in, client->in_len + s->len));
	str_fini(s);
}

static void setup(void)
{
	struct cli_client_options o = {.host = "h", .resource = "sb://h", .key_name = "n", .key = "k"};
	ck_assert_int_eq(cli_client_make(&o, &client), ERR_OK);
	outcomes = messages = 0;
}

static void teardown(void)
{
	cli_client_close(&client);
}

/* ---- what a server says ------------------------------------------------------ */

static void server_handshake(struct str *s)
{
	cli_put_header(s, 3);
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_SASL, 0, WIRE_SASL_MECHANISMS);
	amqp_put_symbol(s, span_str("ANONYMOUS"));
	cli_frame_end(s, m, 1);
	m = cli_frame_begin(s, WIRE_TYPE_SASL, 0, WIRE_SASL_OUTCOME);
	amqp_put_ubyte(s, 0);
	cli_frame_end(s, m, 1);
	cli_put_header(s, 0);
	m = cli_frame_begin(s, WIRE_TYPE_AMQP, 0, WIRE_OPEN);
	amqp_put_string(s, span_str("server"));
	amqp_put_null(s);
	amqp_put_uint(s, 512);
	amqp_put_ushort(s, 10);
	amqp_put_uint(s, 240000);
	cli_frame_end(s, m, 5);
}

static void server_begin(struct str *s, uint16_t ours, uint16_t remote, uint32_t window)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, remote, WIRE_BEGIN);
	amqp_put_ushort(s, ours);
	amqp_put_uint(s, 0);
	amqp_put_uint(s, window);
	amqp_put_uint(s, window);
	cli_frame_end(s, m, 4);
}

static void server_attach(struct str *s, const struct cli_link *link, uint32_t handle, bool refused)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, 7, WIRE_ATTACH);
	amqp_put_string(s, span_str(link->name));
	amqp_put_uint(s, handle);
	amqp_put_bool(s, !link->receiver);
	amqp_put_null(s);
	amqp_put_null(s);
	for (int i = 0; i < 2; i++) {
		if (refused) {
			amqp_put_null(s);
		} else {
			amqp_put_descriptor(s, i == 0 ? WIRE_SOURCE : WIRE_TARGET);
			amqp_end(s, amqp_begin_list(s), 0);
		}
	}
	amqp_put_null(s);
	amqp_put_null(s);
	amqp_put_uint(s, 0);
	amqp_put_ulong(s, 100000);
	cli_frame_end(s, m, 11);
}

static void server_flow(struct str *s, uint32_t handle, uint32_t window, uint32_t credit)
{
	struct cli_flow f = {.incoming_window = window, .has_link = true, .handle = handle,
			      .credit = credit};
	cli_put_flow(s, 7, &f);
}

static void put_error(struct str *s, const char *condition, const char *text)
{
	amqp_put_descriptor(s, WIRE_ERROR);
	size_t list = amqp_begin_list(s);
	amqp_put_symbol(s, span_str(condition));
	amqp_put_string(s, span_str(text));
	amqp_end(s, list, 2);
}

static void server_disposition(struct str *s, uint32_t first, uint32_t last, bool rejected)
{
	struct cli_frame_mark m = cli_frame_begin(s, WIRE_TYPE_AMQP, 7, WIRE_DISPOSITION);
	amqp_put_bool(s, true);
	amqp_put_uint(s, first);
	amqp_put_uint(s, last);
	amqp_put_bool(s, true);
	amqp_put_descriptor(s, rejected ? WIRE_REJECTED : WIRE_ACCEPTED);
	size_t list = amqp_begin_list(s);
	if (rejected) {
		put_error(s, "com.microsoft:server-busy", "slow down");
	}
	amqp_end(s, list, rejected ? 1 : 0);
	cli_frame_end(s, m, 5);
}

/* A client with an open connection and one attached link. */
static struct cli_link *attached(bool receiver)
{
	struct str s = {0};
	struct cli_link *link = NULL;
	struct cli_attach a = {.name = "l", .receiver = receiver, .source = "s", .target = "t"};
	server_handshake(&s);
	feed(&s);
	ck_assert_int_eq(client->phase, CLI_OPENED);
	ck_assert_int_eq(cli_link_new(client, &a, 10, &events, &link), ERR_OK);
	server_begin(&s, 0, 7, 1000);
	server_attach(&s, link, 4, false);
	if (!receiver) {
		server_flow(&s, 4, 1000, 3);
	}
	feed(&s);
	ck_assert_int_eq(client->err, ERR_OK);
	ck_assert(link->attached);
	client->out.len = 0;
	return link;
}

/* ---- tests ------------------------------------------------------------------------ */

static const size_t pieces[] = {1, 2, 3, 7, 100000};

START_TEST(handshake_is_read_in_pieces)
{
	struct str s = {0};
	server_handshake(&s);
	for (size_t at = 0; at < s.len; at += pieces[_i]) {
		size_t n = s.len - at < pieces[_i] ? s.len - at : pieces[_i];
		memcpy(client->in + client->in_len, s.p + at, n);
		cli_client_feed(client, span_of(client->in, client->in_len + n));
	}
	ck_assert_int_eq(client->err, ERR_OK);
	ck_assert_int_eq(client->phase, CLI_OPENED);
	ck_assert_uint_eq(client->max_frame, 512);
	ck_assert_uint_eq(client->remote_idle_ms, 240000);
	ck_assert_uint_eq(client->in_len, 0);
	/* It answered with sasl-init and, after the outcome, the AMQP header. */
	struct cli_frame f;
	uint32_t n = get_u32((const uint8_t *)client->out.p);
	ck_assert_int_eq(cli_frame_read(span_of(client->out.p, n), &f), ERR_OK);
	ck_assert_uint_eq(f.code, WIRE_SASL_INIT);
	ck_assert_uint_eq(client->out.len, n + WIRE_HEAD);
	ck_assert_mem_eq(client->out.p + n, "AMQP\0\1\0\0", WIRE_HEAD);
	str_fini(&s);
}
END_TEST

START_TEST(wrong_protocol_is_named)
{
	struct str s = {0};
	str_add(&s, "HTTP/1.1 400 Bad Request\r\n\r\n");
	feed(&s);
	ck_assert_int_eq(client->err, ERR_PROTOCOL);
	ck_assert_str_eq(client->text, "the server does not speak AMQP 1.0 here");
}
END_TEST

START_TEST(large_message_is_split_and_credit_runs_out)
{
	struct cli_link *link = attached(false);
	struct err_detail d;
	uint8_t body[1000] = {1};
	uint32_t id;
	ck_assert_uint_eq(cli_link_credit(link), 3);
	for (uint32_t i = 0; i < 3; i++) {
		ck_assert_uint_eq(cli_link_next_id(link), i);
		ck_assert_int_eq(cli_link_send(link, CLI_FORMAT_BATCH, span_of(body, sizeof body), &id, &d),
				 ERR_OK);
		ck_assert_uint_eq(id, i);
	}
	ck_assert_int_eq(cli_link_send(link, 0, span_of(body, 1), &id, &d), ERR_AGAIN);
	/* 1000 bytes in frames of 512: three each, `more` on all but the last. */
	size_t at = 0;
	size_t sum = 0;
	for (int i = 0; i < 9; i++) {
		struct cli_frame f;
		uint32_t n = get_u32((const uint8_t *)client->out.p + at);
		ck_assert_uint_le(n, 512);
		ck_assert_int_eq(cli_frame_read(span_of(client->out.p + at, n), &f), ERR_OK);
		ck_assert_uint_eq(f.field[1].u, (uint64_t)(i / 3));
		ck_assert(cli_value_true(&f.field[5]) == (i % 3 != 2));
		sum += f.payload.n;
		at += n;
	}
	ck_assert_uint_eq(at, client->out.len);
	ck_assert_uint_eq(sum, 3000);
	ck_assert_uint_eq(link->session->next_outgoing, 9);
	ck_assert_uint_eq(link->session->remote_window, 991);
}
END_TEST

START_TEST(session_window_holds_sends_back)
{
	struct cli_link *link = attached(false);
	struct err_detail d;
	struct str s = {0};
	uint8_t body[1000] = {1};
	uint32_t id;
	server_flow(&s, 4, 2, 3);
	feed(&s);
	ck_assert_int_eq(cli_link_send(link, 0, span_of(body, sizeof body), &id, &d), ERR_AGAIN);
	ck_assert_int_eq(cli_link_send(link, 0, span_of(body, 100), &id, &d), ERR_OK);
	ck_assert_int_eq(cli_link_send(link, 0, span_of(body, 100), &id, &d), ERR_OK);
	ck_assert_int_eq(cli_link_send(link, 0, span_of(body, 100), &id, &d), ERR_AGAIN);
	ck_assert_int_eq(cli_link_send(link, 0, span_of(body, 100001), &id, &d), ERR_TOO_LARGE);
}
END_TEST

START_TEST(dispositions_cover_ranges)
{
	struct cli_link *link = attached(false);
	struct err_detail d;
	struct str s = {0};
	uint32_t id;
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(cli_link_send(link, 0, span_str("x"), &id, &d), ERR_OK);
	}
	server_disposition(&s, 0, 1, false);
	feed(&s);
	ck_assert_int_eq(outcomes, 1);
	ck_assert_uint_eq(outcome_first, 0);
	ck_assert_uint_eq(outcome_last, 1);
	ck_assert_str_eq(outcome_text, "accepted");
	server_disposition(&s, 2, 2, true);
	feed(&s);
	ck_assert_int_eq(outcomes, 2);
	ck_assert_str_eq(outcome_text, "com.microsoft:server-busy: slow down");
	server_disposition(&s, 2, 3, false);	/* 3 was never sent */
	feed(&s);
	ck_assert_int_eq(outcomes, 2);
	ck_assert_int_eq(client->err, ERR_PROTOCOL);
}
END_TEST

START_TEST(refused_link_gives_the_servers_words)
{
	struct str s = {0};
	struct err_detail d;
	struct cli_link *link = NULL;
	struct cli_attach a = {.name = "l", .receiver = true, .source = "s", .target = "t"};
	server_handshake(&s);
	feed(&s);
	ck_assert_int_eq(cli_link_new(client, &a, 10, &events, &link), ERR_OK);
	server_begin(&s, 0, 7, 1000);
	server_attach(&s, link, 4, true);
	struct cli_frame_mark m = cli_frame_begin(&s, WIRE_TYPE_AMQP, 7, WIRE_DETACH);
	amqp_put_uint(&s, 4);
	amqp_put_bool(&s, true);
	put_error(&s, "amqp:not-found", "no such hub");
	cli_frame_end(&s, m, 3);
	feed(&s);
	ck_assert(!link->attached);
	ck_assert_int_eq(cli_link_state(link, &d), ERR_NOT_FOUND);
	ck_assert_str_eq(d.text, "amqp:not-found: no such hub");
	ck_assert_int_eq(client->err, ERR_OK);
}
END_TEST

START_TEST(close_ends_everything)
{
	struct cli_link *link = attached(false);
	struct str s = {0};
	struct err_detail d;
	uint32_t id;
	struct cli_frame_mark m = cli_frame_begin(&s, WIRE_TYPE_AMQP, 0, WIRE_CLOSE);
	put_error(&s, "amqp:connection:forced", "idle");
	cli_frame_end(&s, m, 1);
	feed(&s);
	ck_assert_int_eq(cli_link_send(link, 0, span_str("x"), &id, &d), client->err);
	ck_assert_int_ne(client->err, ERR_OK);
	ck_assert_str_eq(d.text, "amqp:connection:forced: idle");
}
END_TEST

START_TEST(message_is_joined_and_acknowledged)
{
	(void)attached(true);
	struct str s = {0};
	struct cli_transfer t = {.handle = 4, .delivery_id = 9, .more = true};
	cli_put_transfer(&s, 7, &t, span_str("abc"));
	cli_put_heartbeat(&s);
	t.more = false;
	cli_put_transfer(&s, 7, &t, span_str("def"));
	feed(&s);
	ck_assert_int_eq(messages, 1);
	ck_assert_uint_eq(message_len, 6);
	ck_assert_mem_eq(message, "abcdef", 6);
	struct cli_frame f;
	ck_assert_int_eq(cli_frame_read(span_of(client->out.p, client->out.len), &f), ERR_OK);
	ck_assert_uint_eq(f.code, WIRE_DISPOSITION);
	ck_assert_uint_eq(f.field[1].u, 9);
}
END_TEST

START_TEST(credit_is_topped_up_at_half)
{
	struct cli_link *link = attached(true);
	struct str s = {0};
	struct cli_transfer t = {.handle = 4, .settled = true};
	for (int i = 0; i < 5; i++) {
		cli_put_transfer(&s, 7, &t, span_str("x"));
	}
	feed(&s);
	ck_assert_int_eq(messages, 5);
	ck_assert_uint_eq(client->out.len, 0);
	cli_put_transfer(&s, 7, &t, span_str("x"));
	feed(&s);
	struct cli_frame f;
	ck_assert_int_eq(cli_frame_read(span_of(client->out.p, client->out.len), &f), ERR_OK);
	ck_assert_uint_eq(f.code, WIRE_FLOW);
	ck_assert_uint_eq(cli_value_u32(&f.field[0], 0), 6);
	ck_assert_uint_eq(cli_value_u32(&f.field[5], 0), 6);
	ck_assert_uint_eq(cli_value_u32(&f.field[6], 0), 10);
	ck_assert_uint_eq(link->received, 6);
}
END_TEST

START_TEST(hostile_frames_are_refused)
{
	struct str s = {0};
	static const uint8_t huge[WIRE_HEAD] = {0x7f, 0xff, 0xff, 0xff, 2, 0, 0, 0};
	static const uint8_t tiny[WIRE_HEAD] = {0, 0, 0, 7, 2, 0, 0, 0};
	(void)attached(true);
	str_addn(&s, _i == 0 ? huge : tiny, WIRE_HEAD);
	feed(&s);
	ck_assert_int_eq(client->err, ERR_PROTOCOL);
}
END_TEST

START_TEST(frame_without_session_is_refused)
{
	struct str s = {0};
	(void)attached(true);
	cli_put_detach(&s, 9, 0);
	feed(&s);
	ck_assert_int_eq(client->err, ERR_PROTOCOL);
}
END_TEST

START_TEST(condition_becomes_our_error)
{
	ck_assert_int_eq(cli_condition_err("amqp:not-found: x"), ERR_NOT_FOUND);
	ck_assert_int_eq(cli_condition_err("amqp:unauthorized-access"), ERR_UNAUTHORIZED);
	ck_assert_int_eq(cli_condition_err("x:y: z"), ERR_PROTOCOL);
	ck_assert_int_eq(cli_condition_err(""), ERR_PROTOCOL);
}
END_TEST

START_TEST(making_survives_each_failed_allocation)
{
	struct cli_client_options o = {.host = "h", .resource = "sb://h", .key_name = "n", .key = "k"};
	for (long n = 1;; n++) {
		struct cli_client *c = NULL;
		mem_fault_at(n);
		enum err e = cli_client_make(&o, &c);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		if (!fired) {
			ck_assert_int_eq(e, ERR_OK);
			cli_client_close(&c);
			return;
		}
		ck_assert_int_eq(e, ERR_NOMEM);
	}
}
END_TEST

static const struct {
	const char *text;
	bool is_busy;
	int64_t wait_ms;
} busy[] = {
	{"com.microsoft:server-busy: The request was terminated because the entity is being "
	 "throttled. Error code : 50002. Please wait 7 seconds and try again. TrackingId:x", true, 7000},
	{"com.microsoft:server-busy: Please wait 0 seconds", true, 4000},
	{"com.microsoft:server-busy: no time is told", true, 4000},
	{"com.microsoft:server-busy: The bound of what may wait for the hub's limit is reached. "
	 "Please wait 9 seconds and try again. ", true, 9000},
	{"com.microsoft:server-busy", true, 4000},
	{"com.microsoft:server-busyness: Please wait 7 seconds", false, 0},
	{"com.microsoft:timeout: Please wait 7 seconds", false, 0},
	{"released: the server did not take the events", false, 0},
	{"", false, 0},
};

START_TEST(busy_outcome_says_when_to_come_again)
{
	int64_t wait_ms = 0;
	ck_assert_int_eq(cli_outcome_is_busy(busy[_i].text, &wait_ms), busy[_i].is_busy);
	ck_assert_int_eq(wait_ms, busy[_i].wait_ms);
}
END_TEST

Suite *client_suite(void);
Suite *client_suite(void)
{
	Suite *s = suite_create("client");
	TCase *t = tcase_create("all");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, handshake_is_read_in_pieces, 0, (int)(sizeof pieces / sizeof *pieces));
	tcase_add_test(t, wrong_protocol_is_named);
	tcase_add_test(t, large_message_is_split_and_credit_runs_out);
	tcase_add_test(t, session_window_holds_sends_back);
	tcase_add_test(t, dispositions_cover_ranges);
	tcase_add_test(t, refused_link_gives_the_servers_words);
	tcase_add_test(t, close_ends_everything);
	tcase_add_test(t, message_is_joined_and_acknowledged);
	tcase_add_test(t, credit_is_topped_up_at_half);
	tcase_add_loop_test(t, hostile_frames_are_refused, 0, 2);
	tcase_add_test(t, frame_without_session_is_refused);
	tcase_add_test(t, condition_becomes_our_error);
	tcase_add_test(t, making_survives_each_failed_allocation);
	tcase_add_loop_test(t, busy_outcome_says_when_to_come_again, 0,
			    (int)(sizeof busy / sizeof *busy));
	suite_add_tcase(s, t);
	return s;
}
