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
	};
	build_text(cmd.hub, LIMIT_HUB_NAME, 'h');
	build_text(cmd.group, LIMIT_GROUP_NAME, 'g');
	build_text(cmd.policy.name, LIMIT_POLICY_NAME, 'p');
	build_text(cmd.policy.primary, LIMIT_POLICY_KEY, '1');
	build_text(cmd.policy.secondary, LIMIT_POLICY_KEY, '2');
	return cmd;
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
	str_fini(&s);
}

START_TEST(every_command_round_trips)
{
	for (int op = CATALOG_HUB_CREATE; op <= CATALOG_PRODUCER_IDS; op++) {
		struct catalog_command cmd = full((enum catalog_op)op);
		assert_round_trip(&cmd);
		cmd = (struct catalog_command){.op = (enum catalog_op)op};
		assert_round_trip(&cmd);
	}
}
END_TEST

START_TEST(version_1_is_read_without_producer_ids)
{
	struct str s = {0};
	struct catalog_command back;
	for (int op = CATALOG_HUB_CREATE; op <= CATALOG_PRODUCER_IDS; op++) {
		struct catalog_command cmd = full((enum catalog_op)op);
		ck_assert_int_eq(catalog_encode(&cmd, &s), ERR_OK);
		s.p[0] = 1;
		/* The operation came with version 2. */
		enum err want = op <= CATALOG_POLICY_DELETE ? ERR_OK : ERR_DECODE;
		ck_assert_int_eq(catalog_decode(span_of(s.p, s.len - 4), &back), want);
		ck_assert_uint_eq(back.producer_ids, 0);
		ck_assert_int_eq(catalog_decode(span_of(s.p, s.len), &back), ERR_DECODE);
		s.p[0] = 3;
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
	tcase_add_test(t, version_1_is_read_without_producer_ids);
	tcase_add_test(t, truncated_command_is_refused_at_every_byte);
	tcase_add_test(t, changed_bytes_never_break_the_decoder);
	tcase_add_test(t, text_without_end_is_not_encoded);
	tcase_add_test(t, encode_reports_short_memory);
	suite_add_tcase(s, t);
	return s;
}
