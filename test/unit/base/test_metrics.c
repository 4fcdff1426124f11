#include "base/metrics.h"

#include "base/mem.h"
#include "suites.h"

START_TEST(metrics_count_up_and_down)
{
	int64_t before = metric_get(METRIC_CONNECTIONS_ACTIVE);
	metric_inc(METRIC_CONNECTIONS_ACTIVE);
	metric_add(METRIC_CONNECTIONS_ACTIVE, 4);
	metric_add(METRIC_CONNECTIONS_ACTIVE, -2);
	ck_assert_int_eq(metric_get(METRIC_CONNECTIONS_ACTIVE), before + 3);
	metric_add(METRIC_CONNECTIONS_ACTIVE, -3);
}
END_TEST

START_TEST(page_holds_every_metric)
{
	struct str s = {0};
	metric_add(METRIC_EVENTS_IN, 42);
	hist_add(metric_ack_latency(), 300000);
	hist_add(metric_commit_latency(), 1);
	hist_add(metric_commit_bytes(), 5000);
	metrics_render(&s);
	ck_assert(!s.bad);
	static const char *const names[] = {
#define METRIC(id, kind, name, help) "# TYPE " name " " #kind "\n" name " ",
#include "base/metrics.def"
#undef METRIC
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ck_assert_msg(strstr(s.p, names[i]) != NULL, "%s", names[i]);
	}
	ck_assert_ptr_nonnull(strstr(s.p, "sluice_incoming_events_total 42\n"));
	ck_assert_ptr_nonnull(strstr(s.p, "sluice_send_latency_seconds_bucket{le=\"0.00025\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(s.p, "sluice_send_latency_seconds_bucket{le=\"0.0005\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(s.p, "sluice_send_latency_seconds_bucket{le=\"+Inf\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(s.p, "sluice_store_commit_bytes_count 1\n"));
	ck_assert_int_eq(s.p[s.len - 1], '\n');
	str_fini(&s);
}
END_TEST

START_TEST(page_without_memory_is_marked)
{
	for (long n = 1; n < 100; n++) {
		struct str s = {0};
		mem_fault_at(n);
		metrics_render(&s);
		bool fired = mem_fault_fired();
		mem_fault_at(0);
		bool bad = s.bad;
		str_fini(&s);
		ck_assert_int_eq(bad, fired);
		if (!fired) {
			ck_assert_int_gt(n, 5);
			return;
		}
	}
	ck_abort_msg("allocations without end");
}
END_TEST

Suite *metrics_suite(void)
{
	Suite *s = suite_create("metrics");
	TCase *t = tcase_create("metrics");
	tcase_add_test(t, metrics_count_up_and_down);
	tcase_add_test(t, page_holds_every_metric);
	tcase_add_test(t, page_without_memory_is_marked);
	suite_add_tcase(s, t);
	return s;
}
