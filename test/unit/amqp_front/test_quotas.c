/* Quotas of connections, links and management calls, bytes in and bytes out. */

#include <string.h>

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/session.h>
#include <proton/terminus.h>

#include "base/clock.h"
#include "gateway/wire/codec.h"
#include "test/unit/amqp_front/fix.h"
#include "test/unit/amqp_front/suites.h"

enum { WAIT_MS = 10000, LINKS = 3, EVENT = 100 };

static struct amqp_fix fix;
static struct peer peer;

static void setup(void)
{
	fix_quotas = (struct fix_quotas){
		.max_connections = 1,
		.max_links = LINKS,
		.management_rate = 1,
	};
	fix_open(&fix, 1000);
	fix_quotas = (struct fix_quotas){0};
	peer_open(&peer, &fix);
}

static void teardown(void)
{
	peer_drop(&peer);
	fix_close(&fix, 1000);
}

static void send_one(struct peer *p, pn_link_t *link)
{
	uint32_t before = p->accepted;
	peer_send(p, link, EVENT);
	for (int64_t until = clock_mono_ms() + WAIT_MS; p->accepted == before;) {
		ck_assert(clock_mono_ms() < until);
		peer_run(p, 5);
	}
}

static void expect_limit(pn_condition_t *c, const char *part)
{
	ck_assert_str_eq(pn_condition_get_name(c), "amqp:resource-limit-exceeded");
	ck_assert_ptr_nonnull(strstr(pn_condition_get_description(c), part));
}

START_TEST(a_link_beyond_the_quota_is_refused)
{
	pn_link_t *first = peer_sender(&peer, "0");
	pn_link_t *second = peer_sender(&peer, "1");
	peer_sender(&peer, "2");
	pn_link_t *more = pn_sender(peer.session, "3");
	pn_terminus_set_address(pn_link_target(more), "events/Partitions/0");
	pn_link_open(more);
	for (int64_t until = clock_mono_ms() + WAIT_MS; peer.detached == 0;) {
		ck_assert(clock_mono_ms() < until);
		peer_run(&peer, 5);
	}
	expect_limit(pn_link_remote_condition(more), "quota of 3 links");
	send_one(&peer, first);
	/* Those that are closed count no longer. */
	pn_link_close(more);
	pn_link_close(second);
	peer_run(&peer, 50);
	send_one(&peer, peer_sender(&peer, "4"));
}
END_TEST

START_TEST(a_connection_beyond_the_quota_is_told)
{
	pn_link_t *link = peer_sender(&peer, "s");
	struct peer other;
	peer_open(&other, &fix);
	for (int64_t until = clock_mono_ms() + WAIT_MS; !other.is_closed;) {
		ck_assert(clock_mono_ms() < until);
		peer_run(&other, 5);
	}
	expect_limit(pn_connection_remote_condition(other.driver.connection), "quota of 1 connections");
	peer_drop(&other);
	send_one(&peer, link);
}
END_TEST

static void put_pair(struct str *out, const char *key, const char *value)
{
	amqp_put_string(out, span_str(key));
	amqp_put_string(out, span_str(value));
}

/* Asks for the hub, and gives what came back. */
static struct span ask(pn_link_t *to)
{
	struct str m = {0};
	amqp_put_descriptor(&m, AMQP_PROPERTIES);
	size_t mark = amqp_begin_list(&m);
	amqp_put_string(&m, span_str("id"));
	amqp_put_null(&m);
	amqp_put_null(&m);
	amqp_put_null(&m);
	amqp_put_string(&m, span_str("here"));
	amqp_end(&m, mark, 5);
	amqp_put_descriptor(&m, AMQP_APPLICATION_PROPERTIES);
	mark = amqp_begin_map(&m);
	put_pair(&m, "operation", "READ");
	put_pair(&m, "type", "com.microsoft:eventhub");
	put_pair(&m, "name", "events");
	amqp_end(&m, mark, 6);
	amqp_put_descriptor(&m, AMQP_AMQP_VALUE);
	amqp_put_null(&m);
	ck_assert(!m.bad);
	uint8_t tag[8];
	put_u64(tag, peer.next_tag++);
	(void)pn_delivery(to, pn_dtag((const char *)tag, sizeof tag));
	ck_assert_int_eq(pn_link_send(to, m.p, m.len), (ssize_t)m.len);
	pn_link_advance(to);
	peer.unsettled++;
	str_fini(&m);
	uint32_t before = peer.received;
	for (int64_t until = clock_mono_ms() + WAIT_MS; peer.received == before;) {
		ck_assert(clock_mono_ms() < until);
		peer_run(&peer, 5);
	}
	return span_of(peer.last, peer.last_len);
}

static bool has(struct span s, const char *text)
{
	return memmem(s.p, s.n, text, strlen(text)) != NULL;
}

START_TEST(management_beyond_its_rate_is_refused)
{
	pn_link_t *from = pn_receiver(peer.session, "replies");
	pn_terminus_set_address(pn_link_source(from), "$management");
	pn_terminus_set_address(pn_link_target(from), "here");
	pn_link_open(from);
	pn_link_flow(from, 200);
	pn_link_t *to = pn_sender(peer.session, "requests");
	pn_terminus_set_address(pn_link_target(to), "$management");
	pn_link_open(to);
	for (int64_t until = clock_mono_ms() + WAIT_MS; pn_link_credit(to) == 0;) {
		ck_assert(clock_mono_ms() < until);
		peer_run(&peer, 5);
	}
	ck_assert(has(ask(to), "partition_ids"));
	/* A slow machine may get another in between. */
	struct span reply = ask(to);
	for (int i = 0; i < 50 && has(reply, "partition_ids"); i++) {
		reply = ask(to);
	}
	static const char *const parts[] = {"status-description", "error-condition", "errorCondition",
					    "com.microsoft:server-busy", "50008"};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		ck_assert_msg(has(reply, parts[i]), "%s", parts[i]);
	}
	/* And in time again. */
	for (int64_t until = clock_mono_ms() + WAIT_MS; !has(ask(to), "partition_ids");) {
		ck_assert(clock_mono_ms() < until);
		peer_run(&peer, 100);
	}
}
END_TEST

Suite *quotas_suite(void)
{
	Suite *s = suite_create("quotas");
	TCase *t = tcase_create("quotas");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_link_beyond_the_quota_is_refused);
	tcase_add_test(t, a_connection_beyond_the_quota_is_told);
	tcase_add_test(t, management_beyond_its_rate_is_refused);
	suite_add_tcase(s, t);
	return s;
}
