/* Receiving under limits, bytes in and bytes out. */

#include <proton/session.h>

#include "base/clock.h"
#include "test/unit/amqp_front/fix.h"
#include "test/unit/amqp_front/suites.h"

enum {
	EVENT = 50000,
	EVENTS = 160,		/* 8 MB: the burst of one unit and three seconds more */
	CREDIT = 100,
	WAIT_MS = 10000,
};

static struct amqp_fix fix;
static struct peer peer;

static void setup(void)
{
	fix_open(&fix, 1000);
	peer_open(&peer, &fix);
	pn_link_t *link = peer_sender(&peer, "s");
	for (uint32_t i = 0; i < EVENTS; i++) {
		peer_send(&peer, link, EVENT);
	}
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (peer.accepted < EVENTS) {
		ck_assert_msg(clock_mono_ms() < until, "%u of %d stored", peer.accepted, EVENTS);
		peer_run(&peer, 10);
	}
	fix_units(&fix, 1);
}

static void teardown(void)
{
	peer_drop(&peer);
	fix_close(&fix, 1000);
}

static void receive_until(struct peer *p, uint32_t n)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (p->received < n) {
		ck_assert_msg(clock_mono_ms() < until, "%u of %u received", p->received, n);
		peer_run(p, 5);
	}
}

/* The burst is spent and the reader waits its turn. */
static pn_link_t *receive_until_it_waits(struct peer *p)
{
	pn_link_t *link = peer_receiver(p, "r", CREDIT, true);
	receive_until(p, 2 * THROTTLE_UNIT_IN_BYTES / EVENT);
	peer_run(p, 50);
	ck_assert_uint_lt(p->received, EVENTS / 2);
	return link;
}

START_TEST(reader_is_delayed_and_goes_on)
{
	int64_t began_ms = clock_mono_ms();
	(void)peer_receiver(&peer, "r", CREDIT, true);
	receive_until(&peer, EVENTS);
	int64_t took_ms = clock_mono_ms() - began_ms;
	int64_t rate = THROTTLE_UNIT_OUT_BYTES;
	int64_t over = (int64_t)peer.received_bytes - rate;	/* one second of it at once */
	int64_t least_ms = (over - EVENT) * 1000 / rate;
	ck_assert_int_ge(took_ms, least_ms - 50);
	ck_assert_int_le(took_ms, least_ms * 115 / 100 + 200);
	ck_assert_uint_eq(peer.detached, 0);
}
END_TEST

START_TEST(drain_while_paying_is_answered_at_once)
{
	pn_link_t *link = receive_until_it_waits(&peer);
	peer.replenish = 0;
	ck_assert_int_gt(pn_link_credit(link), 0);
	int64_t began_ms = clock_mono_ms();
	pn_link_drain(link, 0);
	while (pn_link_credit(link) > 0) {
		ck_assert_int_lt(clock_mono_ms() - began_ms, 500);
		peer_run(&peer, 1);
	}
	uint32_t before = peer.received;
	peer_run(&peer, 300);
	ck_assert_uint_eq(peer.received, before);	/* the turn came, but no credit */
	pn_link_set_drain(link, false);
	peer.replenish = CREDIT;
	pn_link_flow(link, CREDIT);
	receive_until(&peer, EVENTS);
}
END_TEST

START_TEST(polling_with_drain_gets_everything)
{
	pn_link_t *link = peer_receiver(&peer, "r", 0, false);
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (peer.received < EVENTS) {
		ck_assert_int_lt(clock_mono_ms(), until);
		pn_link_drain(link, 20);
		while (pn_link_credit(link) > 0) {
			peer_run(&peer, 1);
		}
		peer_run(&peer, 20);
	}
}
END_TEST

START_TEST(limit_removed_lets_the_reader_go)
{
	(void)receive_until_it_waits(&peer);
	fix_units(&fix, 0);
	int64_t began_ms = clock_mono_ms();
	receive_until(&peer, EVENTS);
	ck_assert_int_lt(clock_mono_ms() - began_ms, 1000);
}
END_TEST

START_TEST(link_detached_while_its_turn_waits_leaves_the_connection)
{
	pn_link_t *link = receive_until_it_waits(&peer);
	pn_link_close(link);
	peer_run(&peer, 300);
	ck_assert_uint_eq(peer.detached, 1);
	peer.received = 0;
	(void)peer_receiver(&peer, "again", CREDIT, true);
	receive_until(&peer, EVENTS);
}
END_TEST

START_TEST(session_ended_while_a_turn_waits_leaves_the_connection)
{
	(void)receive_until_it_waits(&peer);
	pn_session_close(peer.session);
	peer_run(&peer, 100);
	pn_session_free(peer.session);
	peer.session = pn_session(peer.driver.connection);
	pn_session_open(peer.session);
	peer.received = 0;
	(void)peer_receiver(&peer, "again", CREDIT, true);
	receive_until(&peer, EVENTS);
}
END_TEST

START_TEST(connection_dropped_while_a_turn_waits_is_freed)
{
	struct peer other;
	peer_open(&other, &fix);
	(void)receive_until_it_waits(&other);
	peer_drop(&other);
	peer_run(&peer, 300);
}
END_TEST

START_TEST(stop_while_a_turn_waits_ends_it)
{
	(void)receive_until_it_waits(&peer);
	net_drain(fix.net, 1000);
	core_stop_waiting(fix.core);
}
END_TEST

START_TEST(readers_share_the_units)
{
	struct peer other;
	peer_open(&other, &fix);
	(void)peer_receiver(&peer, "r", CREDIT, true);
	(void)peer_receiver(&other, "q", CREDIT, true);
	int64_t until = clock_mono_ms() + 2500;
	while (clock_mono_ms() < until) {
		peer_run(&peer, 1);
		peer_run(&other, 1);
	}
	uint64_t sum = peer.received_bytes + other.received_bytes;
	ck_assert_uint_gt(sum, (uint64_t)THROTTLE_UNIT_OUT_BYTES * 3);
	ck_assert_uint_gt(peer.received_bytes, sum / 3);
	ck_assert_uint_gt(other.received_bytes, sum / 3);
	peer_drop(&other);
}
END_TEST

Suite *receiver_suite(void)
{
	Suite *s = suite_create("amqp receiver");
	TCase *t = tcase_create("limits");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, reader_is_delayed_and_goes_on);
	tcase_add_test(t, drain_while_paying_is_answered_at_once);
	tcase_add_test(t, polling_with_drain_gets_everything);
	tcase_add_test(t, limit_removed_lets_the_reader_go);
	tcase_add_test(t, link_detached_while_its_turn_waits_leaves_the_connection);
	tcase_add_test(t, session_ended_while_a_turn_waits_leaves_the_connection);
	tcase_add_test(t, connection_dropped_while_a_turn_waits_is_freed);
	tcase_add_test(t, stop_while_a_turn_waits_ends_it);
	tcase_add_test(t, readers_share_the_units);
	suite_add_tcase(s, t);
	return s;
}
