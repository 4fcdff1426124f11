#include <stdio.h>
#include <string.h>

#include "base/keyhash.h"
#include "test/unit/core/core_fix.h"

static struct core_fix fix;

static void setup(void)
{
	core_fix_open(&fix);
}

static void teardown(void)
{
	core_fix_close(&fix);
}

static struct core_sender *open_sender(const char *address, struct core_address *a)
{
	struct err_detail d;
	struct core_sender *s = NULL;
	ck_assert_int_eq(core_resolve(fix.core, span_str(address), a, &d), ERR_OK);
	ck_assert_int_eq(core_sender_open(fix.core, a, NULL, &s), ERR_OK);
	return s;
}

static int64_t next_seq(uint32_t hub, uint32_t partition)
{
	struct store_position pos;
	ck_assert_int_eq(core_position(fix.core, hub, partition, &pos), ERR_OK);
	return pos.next_seq;
}

START_TEST(round_robin_visits_every_partition)
{
	struct core_address a;
	struct core_sender *s = open_sender("events", &a);
	for (int i = 0; i < 8; i++) {
		core_fix_append(&fix, s, "x", NULL);
	}
	for (uint32_t p = 0; p < 4; p++) {
		ck_assert_int_eq(next_seq(a.hub_id, p), 2);
	}
	core_sender_close(&s);
}
END_TEST

START_TEST(a_key_decides_and_a_fixed_partition_wins)
{
	struct core_address a;
	struct core_sender *s = open_sender("events", &a);
	uint32_t p = keyhash_partition(span_str("device-0001"), 4);
	core_fix_append(&fix, s, "x", "device-0001");
	core_fix_append(&fix, s, "x", "device-0001");
	ck_assert_int_eq(next_seq(a.hub_id, p), 2);
	core_sender_close(&s);
	uint32_t other = (p + 1) % 4;
	char address[32];
	snprintf(address, sizeof address, "events/Partitions/%u", other);
	s = open_sender(address, &a);
	core_fix_append(&fix, s, "x", "device-0001");
	ck_assert_int_eq(next_seq(a.hub_id, other), 1);
	core_sender_close(&s);
}
END_TEST

START_TEST(a_deleted_hub_takes_nothing)
{
	struct core_address a;
	struct core_sender *s = open_sender("a/b", &a);
	struct catalog_command del = {.op = CATALOG_HUB_DELETE, .hub = "a/b"};
	ck_assert_int_eq(core_fix_command(&fix, &del), ERR_OK);
	struct store_position pos;
	ck_assert_int_eq(core_position(fix.core, a.hub_id, 0, &pos), ERR_NOT_FOUND);
	core_sender_close(&s);
}
END_TEST

static enum err append_without_key(struct core_sender *s)
{
	struct batch_builder b;
	struct span value = span_str("x");
	struct core_append a = {.op = {.events = 1, .encoding = BATCH_AMQP}};
	batch_builder_init(&b, 10, 1000);
	batch_builder_add(&b, &value, 1);
	ck_assert_int_eq(batch_builder_finish(&b, &a.op.batch), ERR_OK);
	a.op.batch_len = a.op.batch->len;
	enum err e = core_append(s, &a);
	buf_drop(&a.op.batch);
	return e;
}

START_TEST(a_compacted_hub_needs_keys)
{
	struct core_address a;
	struct catalog_command cmd = {.op = CATALOG_HUB_UPDATE,
				      .hub = "events",
				      .has_cleanup = true,
				      .cleanup = CATALOG_COMPACT_DELETE};
	ck_assert_int_eq(core_fix_command(&fix, &cmd), ERR_OK);
	struct core_sender *s = open_sender("events", &a);
	ck_assert_int_eq(append_without_key(s), ERR_INVALID);
	core_fix_append(&fix, s, "x", "k");
	core_sender_close(&s);
}
END_TEST

static void on_command(struct msg *m)
{
	(void)m;
}

/* What hubs get of which nothing was said, and that something may be said. */
START_TEST(hubs_get_the_default_retention)
{
	struct core *core = NULL;
	struct core_options o = {
		.store = fix.store, .host = "h", .inflight_max_bytes = 1 << 20, .default_retention_ms = 5000};
	ck_assert_int_eq(core_new(&o, &core), ERR_OK);
	ck_assert_int_eq(core_default_retention(core), 5000);
	for (int i = 0; i < 2; i++) {
		struct store_command op = {.reply_to = &fix.reply,
					   .done = on_command,
					   .command = {.op = CATALOG_HUB_CREATE,
						       .partitions = 1,
						       .has_retention = i == 1}};
		snprintf(op.command.hub, sizeof op.command.hub, "made-%d", i);
		core_command(core, &op);
		core_fix_wait(&fix);
		ck_assert_int_eq(op.err, ERR_OK);
		const struct catalog *cat = core_catalog(core);
		ck_assert_int_eq(catalog_hub_find(cat, span_str(op.command.hub))->retention_ms,
				 i == 0 ? 5000 : 0);
		catalog_drop(&cat);
	}
	core_free(&core);
}
END_TEST

Suite *sender_suite(void)
{
	Suite *s = suite_create("sender");
	TCase *t = tcase_create("routing");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, round_robin_visits_every_partition);
	tcase_add_test(t, a_key_decides_and_a_fixed_partition_wins);
	tcase_add_test(t, a_compacted_hub_needs_keys);
	tcase_add_test(t, hubs_get_the_default_retention);
	tcase_add_test(t, a_deleted_hub_takes_nothing);
	suite_add_tcase(s, t);
	return s;
}
