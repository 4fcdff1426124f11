/* Sending under limits, bytes in and bytes out. */

#include <string.h>

#include "base/clock.h"
#include "test/unit/amqp_front/fix.h"
#include "test/unit/amqp_front/suites.h"

enum {
	HOLD_MS = 1000,
	EVENT = 20000,
	BURST = 1 << 20,	/* one second of one unit */
	CREDIT = 300,		/* of a link without limits */
	WAIT_MS = 8000,
};

static struct amqp_fix fix;
static struct peer peer;

static void setup(void)
{
	fix_open(&fix, HOLD_MS);
	peer_open(&peer, &fix);
}

static void teardown(void)
{
	peer_drop(&peer);
	fix_close(&fix, 5000);
}

/* Until everything sent has its outcome. */
static void settle(struct peer *p)
{
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (p->unsettled > 0) {
		ck_assert_msg(clock_mono_ms() < until, "%u outcomes are missing", p->unsettled);
		peer_run(p, 10);
	}
}

static void send_all_credit(pn_link_t *link)
{
	while (pn_link_credit(link) > 0) {
		peer_send(&peer, link, EVENT);
	}
}

/* Sends whenever there is credit, `at_once` under way at most. */
static void send_for(pn_link_t *link, uint32_t at_once, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	while (clock_mono_ms() < until) {
		while (pn_link_credit(link) > 0 && peer.unsettled < at_once) {
			peer_send(&peer, link, EVENT);
		}
		peer_run(&peer, 1);
	}
}

START_TEST(without_limit_all_credit_comes_back)
{
	pn_link_t *link = peer_sender(&peer, "s");
	ck_assert_int_eq(pn_link_credit(link), CREDIT);
	send_all_credit(link);
	settle(&peer);
	ck_assert_uint_eq(peer.accepted, CREDIT);
	ck_assert_int_eq(pn_link_credit(link), CREDIT);
}
END_TEST

START_TEST(steady_sender_runs_at_its_units_without_rejection)
{
	enum { RUN_MS = 4000, AT_ONCE = 10 };
	fix_units(&fix, 1);
	pn_link_t *link = peer_sender(&peer, "s");
	int64_t began_ms = clock_mono_ms();
	send_for(link, AT_ONCE, RUN_MS);
	settle(&peer);
	int64_t took_ms = clock_mono_ms() - began_ms;
	ck_assert_uint_eq(peer.rejected, 0);
	uint64_t bytes = (uint64_t)peer.accepted * EVENT;
	uint64_t rate = (uint64_t)THROTTLE_UNIT_IN_BYTES;
	/* The bucket was full; the pacer and this thread see different clocks by a little. */
	uint64_t most = BURST + rate * (uint64_t)(took_ms + 50) / 1000 + EVENT;
	ck_assert_uint_le(bytes, most);
	ck_assert_uint_ge(bytes, most / 100 * 90);
	ck_assert_uint_eq(fix_stored(&fix), peer.accepted);
}
END_TEST

START_TEST(burst_is_rejected_as_busy_and_says_why)
{
	static const char says[] =
		"The request was terminated because the entity is being throttled. Error code : 50002. ";
	pn_link_t *link = peer_sender(&peer, "s");
	fix_units(&fix, 1);
	send_all_credit(link);	/* granted before: six times the units */
	settle(&peer);
	ck_assert_uint_gt(peer.accepted, BURST / EVENT);
	ck_assert_uint_gt(peer.rejected, CREDIT / 3);
	ck_assert_uint_eq(peer.accepted + peer.rejected, CREDIT);
	ck_assert_str_eq(peer.condition, "com.microsoft:server-busy");
	ck_assert_msg(strncmp(peer.text, says, sizeof says - 1) == 0, "%s", peer.text);
	ck_assert_ptr_nonnull(strstr(peer.text, "1048576 bytes per second in (1 throughput unit)"));
	ck_assert_ptr_nonnull(strstr(peer.text, "Please wait "));
	ck_assert_ptr_nonnull(strstr(peer.text, " seconds and try again. "));
	ck_assert_ptr_nonnull(strstr(peer.text, "TrackingId:"));
	ck_assert(peer.has_info);
	ck_assert_uint_eq(peer.detached, 0);
	ck_assert_uint_eq(fix_stored(&fix), peer.accepted);
}
END_TEST

START_TEST(credit_shrinks_under_a_limit_and_comes_back)
{
	pn_link_t *link = peer_sender(&peer, "s");
	fix_units(&fix, 1);
	send_all_credit(link);
	settle(&peer);
	/* About half of the hold time, at least one. */
	int most = HOLD_MS * (BURST / EVENT) / 1000;
	peer_run(&peer, 100);
	ck_assert_int_ge(pn_link_credit(link), 1);
	ck_assert_int_le(pn_link_credit(link), most);
	peer.rejected = 0;
	send_for(link, CREDIT, 2000);	/* all it is given */
	settle(&peer);
	ck_assert_uint_eq(peer.rejected, 0);
	fix_units(&fix, 0);
	peer_run(&peer, 1500);	/* nothing is sent: a tick looks again */
	ck_assert_int_eq(pn_link_credit(link), CREDIT);
}
END_TEST

START_TEST(new_link_gets_the_window_only)
{
	fix_units(&fix, 1);
	pn_link_t *first = peer_sender(&peer, "a");
	send_for(first, CREDIT, 1500);
	struct peer other;
	peer_open(&other, &fix);
	pn_link_t *second = peer_sender(&other, "b");
	ck_assert_int_lt(pn_link_credit(second), CREDIT);
	settle(&peer);
	peer_drop(&other);
}
END_TEST

START_TEST(many_links_that_burst_together_are_held_rather_than_rejected)
{
	enum { LINKS = 10, EACH = 12, BYTES = 40000 };	/* five times a second's units */
	static struct peer many[LINKS];
	pn_link_t *link[LINKS];
	uint32_t sent[LINKS] = {0};
	fix_units(&fix, 1);
	for (int i = 0; i < LINKS; i++) {
		peer_open(&many[i], &fix);
		link[i] = peer_sender(&many[i], "s");
	}
	uint32_t accepted = 0;
	uint32_t rejected = 0;
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (accepted + rejected < LINKS * EACH) {
		ck_assert_int_lt(clock_mono_ms(), until);
		accepted = 0;
		rejected = 0;
		for (int i = 0; i < LINKS; i++) {
			while (sent[i] < EACH && pn_link_credit(link[i]) > 0) {
				peer_send(&many[i], link[i], BYTES);
				sent[i]++;
			}
			peer_run(&many[i], 1);
			accepted += many[i].accepted;
			rejected += many[i].rejected;
		}
	}
	/* With all their credit at once it were more than half; a few where one link gets
	 * ahead of the others. */
	ck_assert_uint_le(rejected, LINKS * EACH / 20);
	for (int i = 0; i < LINKS; i++) {
		peer_drop(&many[i]);
	}
}
END_TEST

START_TEST(link_detached_while_sends_are_held_leaves_them_stored)
{
	pn_link_t *link = peer_sender(&peer, "s");
	fix_units(&fix, 1);
	uint32_t n = 75;	/* half a second more than there is */
	for (uint32_t i = 0; i < n; i++) {
		peer_send(&peer, link, EVENT);
	}
	peer_run(&peer, 200);
	ck_assert_uint_gt(peer.unsettled, 0);
	pn_link_close(link);
	peer_run(&peer, 1500);
	ck_assert_uint_eq(peer.detached, 1);
	ck_assert_uint_eq(fix_stored(&fix), n);
	pn_link_t *again = peer_sender(&peer, "t");
	ck_assert_int_gt(pn_link_credit(again), 0);
}
END_TEST

START_TEST(connection_closed_while_sends_are_held_leaves_them_stored)
{
	struct peer other;
	peer_open(&other, &fix);
	pn_link_t *link = peer_sender(&other, "s");
	fix_units(&fix, 1);
	uint32_t n = 75;
	for (uint32_t i = 0; i < n; i++) {
		peer_send(&other, link, EVENT);
	}
	peer_run(&other, 200);
	ck_assert_uint_gt(other.unsettled, 0);
	peer_drop(&other);
	peer_run(&peer, 1500);
	ck_assert_uint_eq(fix_stored(&fix), n);
}
END_TEST

START_TEST(stop_waits_for_held_sends)
{
	pn_link_t *link = peer_sender(&peer, "s");
	fix_units(&fix, 1);
	uint32_t n = 75;
	for (uint32_t i = 0; i < n; i++) {
		peer_send(&peer, link, EVENT);
	}
	peer_run(&peer, 200);
	ck_assert_uint_gt(peer.unsettled, 0);
	net_drain(fix.net, 3000);
	peer_run(&peer, 500);
	ck_assert_uint_eq(peer.accepted, n);
	ck_assert(peer.is_closed);
}
END_TEST

START_TEST(stop_without_grace_frees_held_sends)
{
	pn_link_t *link = peer_sender(&peer, "s");
	fix_units(&fix, 1);
	for (uint32_t i = 0; i < 75; i++) {
		peer_send(&peer, link, EVENT);
	}
	peer_run(&peer, 200);
	ck_assert_uint_gt(peer.unsettled, 0);
	net_drain(fix.net, 0);
	core_stop_waiting(fix.core);
}
END_TEST

START_TEST(held_connection_serves_its_other_links)
{
	pn_link_t *link = peer_sender(&peer, "s");
	fix_units(&fix, 1);
	for (uint32_t i = 0; i < 75; i++) {
		peer_send(&peer, link, EVENT);
	}
	pn_link_t *receiver = peer_receiver(&peer, "r", 10, false);
	int64_t until = clock_mono_ms() + WAIT_MS;
	while (peer.received < 10) {
		ck_assert_int_lt(clock_mono_ms(), until);
		peer_run(&peer, 5);
	}
	ck_assert_uint_gt(peer.unsettled, 0);
	pn_link_close(receiver);
	settle(&peer);
}
END_TEST

Suite *sender_suite(void)
{
	Suite *s = suite_create("amqp sender");
	TCase *t = tcase_create("limits");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, without_limit_all_credit_comes_back);
	tcase_add_test(t, steady_sender_runs_at_its_units_without_rejection);
	tcase_add_test(t, burst_is_rejected_as_busy_and_says_why);
	tcase_add_test(t, credit_shrinks_under_a_limit_and_comes_back);
	tcase_add_test(t, new_link_gets_the_window_only);
	tcase_add_test(t, many_links_that_burst_together_are_held_rather_than_rejected);
	tcase_add_test(t, link_detached_while_sends_are_held_leaves_them_stored);
	tcase_add_test(t, connection_closed_while_sends_are_held_leaves_them_stored);
	tcase_add_test(t, stop_waits_for_held_sends);
	tcase_add_test(t, stop_without_grace_frees_held_sends);
	tcase_add_test(t, held_connection_serves_its_other_links);
	suite_add_tcase(s, t);
	return s;
}
