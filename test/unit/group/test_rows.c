#include "gateway/group/rows.h"

#include <stdlib.h>

#include "base/mem.h"
#include "test/unit/group/machine_bed.h"

static struct mbed bed;

static void setup(void)
{
	mb_init(&bed, 0, 100);
	struct req *v[2];
	mb_stable(&bed, 2, v);
	ck_code(mb_join(&bed, (struct join_how){.id = mb_id(v[1])}), GROUP_OK);
}

static void teardown(void)
{
	mb_fini(&bed);
}

static enum err decode(const uint8_t *p, size_t n, struct group *g)
{
	return group_row_decode(span_str("g"), span_of(p, n), &bed.config, bed.g.hooks, &bed, g);
}

START_TEST(a_group_survives_its_row)
{
	struct group g;
	ck_assert_int_eq(decode(bed.row->data, bed.row->len, &g), ERR_OK);
	ck_assert_int_eq(g.state, GROUP_STABLE);
	ck_assert_uint_eq(g.n_members, 2);
	ck_assert_str_eq(txt(g.protocol_type), "consumer");
	ck_assert_str_eq(txt(g.protocol), "range");
	ck_assert_ptr_eq(g.leader, g.members[0]);
	for (size_t i = 0; i < 2; i++) {
		const struct group_member *a = g.members[i], *b = bed.g.members[i];
		ck_assert(span_eq(a->id, b->id));
		ck_assert_ptr_null(a->instance_id.p);
		ck_assert(span_eq(a->client_id, b->client_id));
		ck_assert(span_eq(a->client_host, b->client_host));
		ck_assert(span_eq(a->assignment, b->assignment));
	}
	struct buf *again = NULL;
	ck_assert_int_eq(group_row_encode(&g, &again), ERR_OK);
	ck_assert_uint_eq(again->len, bed.row->len);
	ck_assert_mem_eq(again->data, bed.row->data, again->len);
	buf_drop(&again);
	group_fini(&g);
}
END_TEST

START_TEST(cut_and_changed_rows_are_refused_or_harmless)
{
	struct group g;
	for (uint32_t n = 0; n < bed.row->len; n++) {
		uint8_t *p = (uint8_t *)mem_dup(bed.row->data, n);
		ck_assert_int_ne(decode(p, n, &g), ERR_OK);
		mem_free(p);
	}
	uint8_t *p = (uint8_t *)mem_dup(bed.row->data, bed.row->len);
	for (uint32_t i = 0; i < bed.row->len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			p[i] ^= (uint8_t)(1U << bit);
			enum err e = decode(p, bed.row->len, &g);
			if (e == ERR_OK) {
				group_resume(&g, 5);
				group_fini(&g);
			} else {
				ck_assert_int_eq(e, i == 0 ? ERR_VERSION : ERR_CORRUPT);
			}
			p[i] ^= (uint8_t)(1U << bit);
		}
	}
	mem_free(p);
}
END_TEST

START_TEST(memory_may_run_out_while_reading)
{
	struct group g;
	bool fired = true;
	for (long n = 1; fired; n++) {
		mem_fault_at(n);
		enum err e = decode(bed.row->data, bed.row->len, &g);
		fired = mem_fault_fired();
		mem_fault_at(0);
		ck_assert_int_eq(e, fired ? ERR_NOMEM : ERR_OK);
	}
	group_fini(&g);
}
END_TEST

START_TEST(offsets_survive_their_row)
{
	uint8_t key[64], content[64];
	struct wr k = wr_of(key, sizeof key), c = wr_of(content, sizeof content);
	struct group_offset_row in = {.offset = INT64_MAX - 5,
				      .leader_epoch = -1,
				      .commit_ms = 1700000000000,
				      .metadata = span_str("note")};
	group_offset_key_encode(&k, span_str("my group"), (struct store_part){7, 1023});
	group_offset_content_encode(&c, &in);
	ck_assert_uint_eq(wr_len(&k), GROUP_OFFSET_KEY_FIXED + 8);
	ck_assert_uint_eq(wr_len(&c), GROUP_OFFSET_CONTENT_FIXED + 4);
	struct group_offset_row out;
	ck_assert_int_eq(group_offset_row_decode(span_of(key, wr_len(&k)),
						 span_of(content, wr_len(&c)), &out),
			 ERR_OK);
	ck_assert_str_eq(txt(out.group), "my group");
	ck_assert_uint_eq(out.part.hub_id, 7);
	ck_assert_uint_eq(out.part.partition, 1023);
	ck_assert_int_eq(out.offset, in.offset);
	ck_assert_int_eq(out.leader_epoch, -1);
	ck_assert_int_eq(out.commit_ms, in.commit_ms);
	ck_assert_str_eq(txt(out.metadata), "note");
	for (size_t n = 0; n < wr_len(&k); n++) {
		ck_assert_int_eq(group_offset_row_decode(span_of(key, n),
							 span_of(content, wr_len(&c)), &out),
				 ERR_CORRUPT);
	}
	for (size_t n = 0; n < GROUP_OFFSET_CONTENT_FIXED; n++) {
		ck_assert_int_eq(group_offset_row_decode(span_of(key, wr_len(&k)),
							 span_of(content, n), &out),
				 ERR_CORRUPT);
	}
	content[0] = 2;
	ck_assert_int_eq(group_offset_row_decode(span_of(key, wr_len(&k)),
						 span_of(content, wr_len(&c)), &out),
			 ERR_VERSION);
}
END_TEST

Suite *rows_suite(void)
{
	Suite *s = suite_create("rows");
	TCase *t = tcase_create("rows");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_group_survives_its_row);
	tcase_add_test(t, cut_and_changed_rows_are_refused_or_harmless);
	tcase_add_test(t, memory_may_run_out_while_reading);
	tcase_add_test(t, offsets_survive_their_row);
	suite_add_tcase(s, t);
	return s;
}
