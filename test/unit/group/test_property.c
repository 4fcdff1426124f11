/* Random clients over thousands of simulated seconds. What must hold:
 * generations only grow; in one generation a member has one assignment, and no
 * two hold the same; every parked request is answered by its time; who keeps
 * sending heartbeats is not lost. */

#include <stdio.h>
#include <stdlib.h>

#include "test/unit/group/machine_bed.h"

enum { CLIENTS = 6, STEPS = 6000, SESSION = 6000, REBALANCE = 9000 };

enum phase { OUT, JOINING, SYNCING, IN };

struct client {
	enum phase phase;
	char id[128];
	const char *instance;
	int32_t generation;
	bool leads;
	int64_t asleep_until;
	int64_t beat_at;
	struct req *waits;
	char held[32];		/* assignment of `generation` */
};

static struct mbed bed;
static struct client clients[CLIENTS];
static unsigned seed;
static int32_t latest;

static unsigned dice(unsigned n)
{
	seed = seed * 1103515245U + 12345U;
	return (seed >> 16) % n;
}

static void out(struct client *c, bool forgets)
{
	c->phase = OUT;
	c->waits = NULL;
	if (forgets) {
		c->id[0] = '\0';
	}
}

static void join(struct client *c)
{
	c->waits = mb_join(&bed, (struct join_how){.id = c->id,
						   .instance = c->instance,
						   .version = dice(4) == 0 ? 3 : 9,
						   .protocols = dice(2) == 0 ? "range,rr" : "rr,range",
						   .metadata = dice(8) == 0 ? "n" : "m",
						   .session_ms = SESSION,
						   .rebalance_ms = REBALANCE});
	c->phase = JOINING;
}

static void sync(struct client *c)
{
	struct req *r = c->waits;
	const char *a[2 * CLIENTS + 1] = {NULL};
	char bytes[CLIENTS][32];
	for (uint32_t i = 0; c->leads && i < r->op.u.join.n_members; i++) {
		snprintf(bytes[i], sizeof bytes[i], "%d/%u", c->generation, i);
		a[2 * i] = txt(r->op.u.join.members[i].member_id);
		a[2 * i + 1] = bytes[i];
	}
	c->waits = mb_sync(&bed, r, a);
	c->phase = SYNCING;
}

static void joined(struct client *c)
{
	struct req *r = c->waits;
	switch (r->op.code) {
	case GROUP_OK:
		snprintf(c->id, sizeof c->id, "%s", mb_id(r));
		c->generation = r->op.u.join.generation;
		c->leads = span_eq(r->op.u.join.leader, r->op.u.join.member_id) &&
			   !r->op.u.join.skip_assignment;
		ck_assert_int_ge(c->generation, latest);
		latest = c->generation;
		if (dice(20) != 0) {
			sync(c);
		} else {
			out(c, false);	/* a client that hangs after its join */
		}
		break;
	case GROUP_MEMBER_ID_REQUIRED:
		snprintf(c->id, sizeof c->id, "%s", mb_id(r));
		out(c, false);
		break;
	default:
		out(c, r->op.code == GROUP_UNKNOWN_MEMBER ||
				r->op.code == GROUP_FENCED_INSTANCE);
	}
}

static void synced(struct client *c)
{
	struct req *r = c->waits;
	if (r->op.code != GROUP_OK) {
		out(c, r->op.code == GROUP_UNKNOWN_MEMBER || r->op.code == GROUP_FENCED_INSTANCE);
		return;
	}
	snprintf(c->held, sizeof c->held, "%s", txt(r->op.u.sync.assignment));
	for (size_t i = 0; i < CLIENTS; i++) {
		const struct client *o = &clients[i];
		if (o != c && o->phase == IN && o->generation == c->generation &&
		    strcmp(o->id, c->id) != 0) {
			ck_assert(c->held[0] == '\0' || strcmp(o->held, c->held) != 0);
		}
	}
	ck_assert(c->held[0] == '\0' || atoi(c->held) == c->generation);
	c->phase = IN;
	c->waits = NULL;
	c->beat_at = r->answered_ms + 2000;
}

static void beat(struct client *c)
{
	int64_t silence = bed.now - c->beat_at + 2000;
	struct req *r = mb_heartbeat(&bed, c->id, c->instance, c->generation);
	c->beat_at = bed.now + 2000;
	switch (r->op.code) {
	case GROUP_OK:
		break;
	case GROUP_REBALANCE:
		join(c);
		break;
	case GROUP_UNKNOWN_MEMBER:
		/* Only the silent, and members whose rebalance passed without them. */
		ck_assert(silence >= SESSION);
		out(c, true);
		break;
	case GROUP_FENCED_INSTANCE:
		out(c, true);
		break;
	default:
		ck_assert_int_eq(r->op.code, GROUP_ILLEGAL_GENERATION);
		out(c, false);
	}
}

static void step(struct client *c)
{
	if (c->asleep_until > bed.now) {
		return;
	}
	if (c->waits != NULL && c->waits->answers == 0) {
		int64_t waited = bed.now - c->waits->asked_ms;
		ck_assert_int_le(waited, c->phase == JOINING ? 2 * REBALANCE + 3 * SESSION
							     : REBALANCE + 1000);
		return;
	}
	switch (c->phase) {
	case OUT:
		if (dice(3) == 0) {
			join(c);
		}
		break;
	case JOINING:
		joined(c);
		break;
	case SYNCING:
		synced(c);
		break;
	case IN:
		if (dice(400) == 0) {
			mb_leave(&bed, c->id, c->instance);
			out(c, true);
		} else if (dice(300) == 0) {
			c->asleep_until = bed.now + dice(3 * SESSION);
		} else if (dice(300) == 0) {
			out(c, c->instance != NULL);	/* restarts */
		} else if (bed.now >= c->beat_at) {
			beat(c);
		}
		break;
	}
}

/* Requests that were answered long ago are of no use. */
static void forget(void)
{
	struct req **at = &bed.all;
	while (*at != NULL) {
		struct req *r = *at;
		bool in_use = r->answers == 0;
		for (size_t i = 0; i < CLIENTS; i++) {
			in_use = in_use || clients[i].waits == r;
		}
		if (in_use) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		groups_op_fini(&r->op);
		free(r);
	}
}

START_TEST(random_clients_are_served)
{
	seed = (unsigned)_i * 7919U + 1;
	latest = 0;
	memset(clients, 0, sizeof clients);
	clients[4].instance = "i4";
	clients[5].instance = "i5";
	mb_init(&bed, _i % 2 == 0 ? 0 : 3000, CLIENTS * 2);
	int32_t generation = 0;
	for (int i = 0; i < STEPS; i++) {
		bed.save_err = dice(60) == 0 ? ERR_QUOTA : ERR_OK;
		for (size_t c = 0; c < CLIENTS; c++) {
			step(&clients[c]);
		}
		ck_assert_int_ge(bed.g.generation, generation);
		generation = bed.g.generation;
		mb_pass(&bed, 100 + dice(900));
		forget();
	}
	ck_assert_int_gt(generation, 10);
	mb_fini(&bed);
}
END_TEST

Suite *property_suite(void)
{
	Suite *s = suite_create("property");
	TCase *t = tcase_create("property");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, random_clients_are_served, 0, 6);
	suite_add_tcase(s, t);
	return s;
}
