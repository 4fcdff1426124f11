#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "test/unit/store_catalog/catalog_build.h"

Suite *catalog_codec_suite(void);

/* Every field at its limit. */
static struct catalog_command full(enum catalog_op op)
{
	struct catalog_command cmd = {
		.op = op,
		.now_ms = INT64_MAX,
		.partitions = UINT32_MAX,
		.has_retention = true,
		.retention_ms = INT64_MIN,
		.has_retention_bytes = true,
		.retention_bytes = UINT64_MAX,
		.has_cleanup = true,
		.cleanup = CATALOG_COMPACT_DELETE,
		.policy.rights = 7,
		.must_be_new = true,
		.producer_ids = UINT32_MAX,
		.units_by = CATALOG_UNITS_BY_LOAD,
		.has_units = true,
		.has_inflate_max = true,
		.has_deflate_after = true,
		.units_was = UINT32_MAX,
		.units = {.units = UINT32_MAX, .inflate_max = UINT32_MAX - 1,
			  .deflate_after_ms = INT64_MAX, .settings_units = UINT32_MAX - 2,
			  .settings_inflate_max = UINT32_MAX - 3,
			  .settings_deflate_after_ms = INT64_MIN},
		.limit = {.kind = CATALOG_LIMIT_CLIENT, .in_bytes = UINT64_MAX,
			  .in_events = UINT64_MAX - 1, .out_bytes = UINT64_MAX - 2,
			  .out_events = UINT64_MAX - 3},
	};
	build_text(cmd.limit.name, CATALOG_LIMIT_NAME, 'l');
	build_text(cmd.hub, LIMIT_HUB_NAME, 'h');
	build_text(cmd.group, LIMIT_GROUP_NAME, 'g');
	build_text(cmd.policy.name, LIMIT_POLICY_NAME, 'p');
	build_text(cmd.policy.primary, LIMIT_POLICY_KEY, '1');
	build_text(cmd.policy.secondary, LIMIT_POLICY_KEY, '2');
	return cmd;
}

static void assert_units(const struct catalog_command *a, const struct catalog_command *b)
{
	ck_assert_int_eq(a->units_by, b->units_by);
	ck_assert_int_eq(a->has_units, b->has_units);
	ck_assert_int_eq(a->has_inflate_max, b->has_inflate_max);
	ck_assert_int_eq(a->has_deflate_after, b->has_deflate_after);
	ck_assert_uint_eq(a->units_was, b->units_was);
	ck_assert_uint_eq(a->units.units, b->units.units);
	ck_assert_uint_eq(a->units.inflate_max, b->units.inflate_max);
	ck_assert_int_eq(a->units.deflate_after_ms, b->units.deflate_after_ms);
	ck_assert_uint_eq(a->units.settings_units, b->units.settings_units);
	ck_assert_uint_eq(a->units.settings_inflate_max, b->units.settings_inflate_max);
	ck_assert_int_eq(a->units.settings_deflate_after_ms, b->units.settings_deflate_after_ms);
	ck_assert_int_eq(a->limit.kind, b->limit.kind);
	ck_assert_str_eq(a->limit.name, b->limit.name);
	ck_assert_uint_eq(a->limit.in_bytes, b->limit.in_bytes);
	ck_assert_uint_eq(a->limit.in_events, b->limit.in_events);
	ck_assert_uint_eq(a->limit.out_bytes, b->limit.out_bytes);
	ck_assert_uint_eq(a->limit.out_events, b->limit.out_events);
}

static void assert_round_trip(const struct catalog_command *cmd)
{
	struct str s = {0};
	ck_assert_int_eq(catalog_encode(cmd, &s), ERR_OK);
	struct catalog_command back;
	ck_assert_int_eq(catalog_decode(span_of(s.p, s.len), &back), ERR_OK);
	ck_assert_int_eq(back.op, cmd->op);
	ck_assert_int_eq(back.now_ms, cmd->now_ms);
	ck_assert_str_eq(back.hub, cmd->hub);
	ck_assert_uint_eq(back.partitions, cmd->partitions);
	ck_assert_int_eq(back.has_retention, cmd->has_retention);
	ck_assert_int_eq(back.retention_ms, cmd->retention_ms);
	ck_assert_int_eq(back.has_retention_bytes, cmd->has_retention_bytes);
	ck_assert_uint_eq(back.retention_bytes, cmd->retention_bytes);
	ck_assert_int_eq(back.has_cleanup, cmd->has_cleanup);
	ck_assert_int_eq(back.cleanup, cmd->cleanup);
	ck_assert_str_eq(back.group, cmd->group);
	ck_assert_str_eq(back.policy.name, cmd->policy.name);
	ck_assert_uint_eq(back.policy.rights, cmd->policy.rights);
	ck_assert_str_eq(back.policy.primary, cmd->policy.primary);
	ck_assert_str_eq(back.policy.secondary, cmd->policy.secondary);
	ck_assert_int_eq(back.must_be_new, cmd->must_be_new);
	ck_assert_uint_eq(back.producer_ids, cmd->producer_ids);
	assert_units(&back, cmd);
	str_fini(&s);
}

START_TEST(every_command_round_trips)
{
	for (int op = CATALOG_HUB_CREATE; op <= CATALOG_LIMIT_DELETE; op++) {
		struct catalog_command cmd = full((enum catalog_op)op);
		assert_round_trip(&cmd);
		cmd = (struct catalog_command){.op = (enum catalog_op)op};
		assert_round_trip(&cmd);
	}
}
END_TEST

/* What each version added to the end, and its last operation. */
START_TEST(older_versions_are_read_without_what_came_later)
{
	enum {
		PRODUCER_IDS = 4,
		UNITS = 1 + 4 + (4 + 4 + 8) + (4 + 4 + 8),
		LIMIT = 1 + 2 + CATALOG_LIMIT_NAME + 4 * 8,
	};
	static const struct {
		char version;
		size_t lacks;
		int last;
	} old[] = {
		{1, PRODUCER_IDS + UNITS + LIMIT, CATALOG_POLICY_DELETE},
		{2, UNITS + LIMIT, CATALOG_PRODUCER_IDS},
	};
	struct str s = {0};
	struct catalog_command back;
	for (int op = CATALOG_HUB_CREATE; op <= CATALOG_LIMIT_DELETE; op++) {
		struct catalog_command cmd = full((enum catalog_op)op);
		ck_assert_int_eq(catalog_encode(&cmd, &s), ERR_OK);
		for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
			struct span in = span_of(s.p, s.len - old[i].lacks);
			s.p[0] = old[i].version;
			s.p[2] = 127;	/* flags that came with version 3 */
			ck_assert_int_eq(catalog_decode(in, &back), ERR_DECODE);
			s.p[2] = 15;
			enum err want = op <= old[i].last ? ERR_OK : ERR_DECODE;
			ck_assert_int_eq(catalog_decode(in, &back), want);
			if (want == ERR_OK) {
				ck_assert_uint_eq(back.producer_ids, i == 0 ? 0 : UINT32_MAX);
				assert_units(&back, &(struct catalog_command){0});
			}
			ck_assert_int_eq(catalog_decode(span_of(s.p, s.len), &back), ERR_DECODE);
		}
		s.p[0] = 4;
		ck_assert_int_eq(catalog_decode(span_of(s.p, s.len), &back), ERR_DECODE);
		str_fini(&s);
	}
}
END_TEST

START_TEST(truncated_command_is_refused_at_every_byte)
{
	struct catalog_command cmd = full(CATALOG_POLICY_PUT);
	struct str s = {0};
	ck_assert_int_eq(catalog_encode(&cmd, &s), ERR_OK);
	struct catalog_command back;
	for (size_t n = 0; n < s.len; n++) {
		/* An exact block, so that reading past it is seen. */
		void *part = mem_dup(s.p, n);
		ck_assert_int_eq(catalog_decode(span_of(part, n), &back), ERR_DECODE);
		mem_free(part);
	}
	str_addn(&s, "", 1);
	ck_assert_int_eq(catalog_decode(span_of(s.p, s.len), &back), ERR_DECODE);
	str_fini(&s);
}
END_TEST

START_TEST(changed_bytes_never_break_the_decoder)
{
	struct catalog_command cmd = build_policy("orders", "p", 1);
	struct str s = {0};
	ck_assert_int_eq(catalog_encode(&cmd, &s), ERR_OK);
	struct catalog_command back;
	for (size_t i = 0; i < s.len; i++) {
		for (int v = 0; v < 256; v++) {
			char old = s.p[i];
			s.p[i] = (char)v;
			enum err e = catalog_decode(span_of(s.p, s.len), &back);
			ck_assert(e == ERR_OK || e == ERR_DECODE);
			s.p[i] = old;
		}
	}
	str_fini(&s);
}
END_TEST

START_TEST(text_without_end_is_not_encoded)
{
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE};
	memset(cmd.hub, 'x', sizeof cmd.hub);
	struct str s = {0};
	ck_assert_int_eq(catalog_encode(&cmd, &s), ERR_INVALID);
	cmd = (struct catalog_command){.op = CATALOG_LIMIT_PUT};
	memset(cmd.limit.name, 'x', sizeof cmd.limit.name);
	ck_assert_int_eq(catalog_encode(&cmd, &s), ERR_INVALID);
	str_fini(&s);
}
END_TEST

START_TEST(encode_reports_short_memory)
{
	struct catalog_command cmd = full(CATALOG_POLICY_PUT);
	for (long n = 1;; n++) {
		struct str s = {0};
		mem_fault_at(n);
		enum err e = catalog_encode(&cmd, &s);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		str_fini(&s);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
		if (!fired) {
			break;
		}
	}
}
END_TEST

Suite *catalog_codec_suite(void)
{
	Suite *s = suite_create("catalog_codec");
	TCase *t = tcase_create("codec");
	tcase_add_test(t, every_command_round_trips);
	tcase_add_test(t, older_versions_are_read_without_what_came_later);
	tcase_add_test(t, truncated_command_is_refused_at_every_byte);
	tcase_add_test(t, changed_bytes_never_break_the_decoder);
	tcase_add_test(t, text_without_end_is_not_encoded);
	tcase_add_test(t, encode_reports_short_memory);
	suite_add_tcase(s, t);
	return s;
}
