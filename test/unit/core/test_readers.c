#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "test/unit/core/core_fix.h"

static struct core_fix fix;
static char stolen_text[ERR_DETAIL_MAX];
static uint64_t stolen_link;

static void setup(void)
{
	core_fix_open(&fix);
	stolen_link = 0;
}

static void teardown(void)
{
	core_fix_close(&fix);
}

static void on_stolen(struct msg *m)
{
	struct core_stolen *s = (struct core_stolen *)m;
	memcpy(stolen_text, s->text, sizeof stolen_text);
	stolen_link = s->link_id;
	mem_free(s);
}

/* epoch < 0: none. */
static enum err open_reader(const char *address, int64_t epoch, uint64_t link, struct core_reader **out)
{
	struct core_address a;
	struct err_detail d = {""};
	ck_assert_int_eq(core_resolve(fix.core, span_str(address), &a, &d), ERR_OK);
	struct core_reader_options o = {.has_epoch = epoch >= 0,
					.epoch = epoch,
					.mailbox = &fix.reply,
					.stolen = on_stolen,
					.conn_id = 7,
					.link_id = link};
	snprintf(o.name, sizeof o.name, "r%d", (int)link);
	*out = NULL;
	return core_reader_open(fix.core, &a, &o, out, &d);
}

#define PLACE "events/ConsumerGroups/$Default/Partitions/0"
#define PLACE_OTHER_CASE "events/consumergroups/$DEFAULT/partitions/0"

START_TEST(an_equal_or_higher_level_steals)
{
	struct core_reader *a;
	struct core_reader *b;
	ck_assert_int_eq(open_reader(PLACE, 5, 1, &a), ERR_OK);
	ck_assert_int_eq(open_reader(PLACE_OTHER_CASE, 5 + _i, 2, &b), ERR_OK);
	core_fix_wait(&fix);
	ck_assert_uint_eq(stolen_link, 1);
	ck_assert_ptr_nonnull(strstr(stolen_text, "'r2'"));
	ck_assert_ptr_nonnull(strstr(stolen_text, "'r1' with epoch '5'"));
	core_reader_close(&a);
	core_reader_close(&b);
}
END_TEST

START_TEST(a_lower_level_and_none_are_refused)
{
	struct core_reader *a;
	struct core_reader *b;
	ck_assert_int_eq(open_reader(PLACE, 5, 1, &a), ERR_OK);
	ck_assert_int_eq(open_reader(PLACE, 4, 2, &b), ERR_STOLEN);
	ck_assert_int_eq(open_reader(PLACE, -1, 3, &b), ERR_STOLEN);
	core_reader_close(&a);
	ck_assert_int_eq(open_reader(PLACE, 4, 2, &b), ERR_OK);
	core_reader_close(&b);
}
END_TEST

START_TEST(an_owner_displaces_readers_without_level)
{
	struct core_reader *r[3];
	ck_assert_int_eq(open_reader(PLACE, -1, 1, &r[0]), ERR_OK);
	ck_assert_int_eq(open_reader(PLACE, -1, 1, &r[1]), ERR_OK);
	ck_assert_int_eq(open_reader(PLACE, 0, 2, &r[2]), ERR_OK);
	core_fix_wait(&fix);
	ck_assert_uint_eq(stolen_link, 1);
	ck_assert_ptr_nonnull(strstr(stolen_text, "epoch 'nil'"));
	for (int i = 0; i < 3; i++) {
		core_reader_close(&r[i]);
	}
	msg_run_all(mailbox_take(&fix.reply));
}
END_TEST

START_TEST(five_readers_without_level_per_group)
{
	struct core_reader *r[LIMIT_EPOCHLESS_READERS];
	struct core_reader *more;
	for (int i = 0; i < LIMIT_EPOCHLESS_READERS; i++) {
		ck_assert_int_eq(open_reader(PLACE, -1, (uint64_t)i, &r[i]), ERR_OK);
	}
	ck_assert_int_eq(open_reader(PLACE, -1, 9, &more), ERR_LIMIT);
	ck_assert_int_eq(open_reader("events/ConsumerGroups/audit/Partitions/0", -1, 9, &more), ERR_OK);
	core_reader_close(&more);
	ck_assert_int_eq(open_reader("events/ConsumerGroups/$Default/Partitions/1", -1, 9, &more), ERR_OK);
	core_reader_close(&more);
	core_reader_close(&r[2]);
	ck_assert_int_eq(open_reader(PLACE, -1, 9, &r[2]), ERR_OK);
	for (int i = 0; i < LIMIT_EPOCHLESS_READERS; i++) {
		core_reader_close(&r[i]);
	}
}
END_TEST

START_TEST(where_reading_begins)
{
	struct core_address a;
	struct err_detail d;
	struct core_sender *s = NULL;
	ck_assert_int_eq(core_resolve(fix.core, span_str("events/Partitions/0"), &a, &d), ERR_OK);
	ck_assert_int_eq(core_sender_open(fix.core, &a, NULL, &s), ERR_OK);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(core_fix_append(&fix, s, "x", NULL), i);
	}
	core_sender_close(&s);
	struct core_reader *r;
	ck_assert_int_eq(open_reader(PLACE, -1, 1, &r), ERR_OK);
	static const struct {
		struct core_start start;
		enum err err;
		int64_t seq;
	} rows[] = {
		{{.from = CORE_EARLIEST}, ERR_OK, 0},
		{{.from = CORE_LATEST}, ERR_OK, 3},
		{{.from = CORE_TIME}, ERR_AGAIN, 0},
		{{.from = CORE_SEQUENCE, .sequence = 1}, ERR_OK, 2},
		{{.from = CORE_SEQUENCE, .sequence = 1, .inclusive = true}, ERR_OK, 1},
		{{.from = CORE_SEQUENCE, .sequence = -1}, ERR_OK, 0},
		{{.from = CORE_SEQUENCE, .sequence = 2}, ERR_OK, 3},
		{{.from = CORE_SEQUENCE, .sequence = 3}, ERR_INVALID, 0},
		{{.from = CORE_SEQUENCE, .sequence = 3, .inclusive = true}, ERR_OK, 3},
		{{.from = CORE_SEQUENCE, .sequence = INT64_MAX}, ERR_INVALID, 0},
		{{.from = CORE_SEQUENCE, .sequence = INT64_MIN}, ERR_INVALID, 0},
		{{.from = CORE_OFFSET, .offset = "0"}, ERR_OK, 1},
		{{.from = CORE_OFFSET, .offset = "2", .inclusive = true}, ERR_OK, 2},
		{{.from = CORE_OFFSET, .offset = "abc"}, ERR_INVALID, 0},
		{{.from = CORE_OFFSET, .offset = ""}, ERR_INVALID, 0},
		{{.from = CORE_OFFSET, .offset = "9999999999999999999"}, ERR_INVALID, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t seq = 0;
		ck_assert_int_eq(core_start_at(r, &rows[i].start, &seq, &d), rows[i].err);
		if (rows[i].err == ERR_OK) {
			ck_assert_int_eq(seq, rows[i].seq);
		}
	}
	core_reader_close(&r);
}
END_TEST

Suite *readers_suite(void)
{
	Suite *s = suite_create("readers");
	TCase *t = tcase_create("owner levels");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_loop_test(t, an_equal_or_higher_level_steals, 0, 2);
	tcase_add_test(t, a_lower_level_and_none_are_refused);
	tcase_add_test(t, an_owner_displaces_readers_without_level);
	tcase_add_test(t, five_readers_without_level_per_group);
	tcase_add_test(t, where_reading_begins);
	suite_add_tcase(s, t);
	return s;
}
