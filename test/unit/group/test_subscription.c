#include "gateway/group/subscription.h"

#include "test/unit/group/machine_bed.h"

static const uint8_t two[] = {0, 1, 0, 0, 0, 2, 0, 1, 'a', 0, 3, 'h', 'u', 'b', 0, 0, 0, 0};

START_TEST(topics_are_found)
{
	struct span m = span_of(two, sizeof two);
	ck_assert_int_eq(subscription_has(m, span_str("hub")), SUBSCRIPTION_YES);
	ck_assert_int_eq(subscription_has(m, span_str("a")), SUBSCRIPTION_YES);
	ck_assert_int_eq(subscription_has(m, span_str("b")), SUBSCRIPTION_NO);
	ck_assert_int_eq(subscription_has(m, span_str("hu")), SUBSCRIPTION_NO);
	/* Hubs are found without case, so a client may write their names in any. */
	ck_assert_int_eq(subscription_has(m, span_str("Hub")), SUBSCRIPTION_YES);
}
END_TEST

START_TEST(cut_metadata_is_unreadable)
{
	for (size_t n = 0; n < sizeof two - 4; n++) {
		ck_assert_int_eq(subscription_has(span_of(two, n), span_str("z")),
				 SUBSCRIPTION_UNREADABLE);
	}
	static const uint8_t negative[] = {0, 1, 0xff, 0xff, 0xff, 0xff};
	ck_assert_int_eq(subscription_has(span_of(negative, sizeof negative), span_str("z")),
			 SUBSCRIPTION_UNREADABLE);
	static const uint8_t many[] = {0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0};
	ck_assert_int_eq(subscription_has(span_of(many, sizeof many), span_str("z")),
			 SUBSCRIPTION_UNREADABLE);
}
END_TEST

Suite *subscription_suite(void)
{
	Suite *s = suite_create("subscription");
	TCase *t = tcase_create("subscription");
	tcase_add_test(t, topics_are_found);
	tcase_add_test(t, cut_metadata_is_unreadable);
	suite_add_tcase(s, t);
	return s;
}
