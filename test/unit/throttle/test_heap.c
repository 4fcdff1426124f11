#include "throttle/heap.h"

#include <stdlib.h>

#include "test/unit/throttle/suites.h"

enum { NODES = 500 };

static struct throttle_node nodes[NODES];
static uint64_t seed = 42;

static uint64_t next_random(void)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return seed >> 33;
}

/* The least key that is in, of equal ones the first. */
static struct throttle_node *least(void)
{
	struct throttle_node *found = NULL;
	for (size_t i = 0; i < NODES; i++) {
		struct throttle_node *n = &nodes[i];
		if (n->is_in && (found == NULL || (int64_t)(n->key - found->key) < 0 ||
				 (n->key == found->key && n->order < found->order))) {
			found = n;
		}
	}
	return found;
}

START_TEST(heap_of_random_adds_and_removals_has_the_least_on_top)
{
	struct throttle_heap h = {0};
	/* Keys around the wrap. */
	const uint64_t base = _i == 0 ? 0 : UINT64_MAX - 50;
	for (int step = 0; step < 20000; step++) {
		struct throttle_node *n = &nodes[next_random() % NODES];
		if (next_random() % 4 == 0 && h.top != NULL) {
			n = h.top;
		}
		if (n->is_in) {
			throttle_heap_remove(&h, n);
		} else {
			throttle_heap_add(&h, n, base + next_random() % 100);
		}
		if (step % 10 == 0) {
			ck_assert_ptr_eq(h.top, least());
		}
	}
	while (h.top != NULL) {
		ck_assert_ptr_eq(h.top, least());
		throttle_heap_remove(&h, h.top);
	}
	ck_assert_uint_eq(h.n, 0);
}
END_TEST

START_TEST(heap_serves_equal_keys_in_order_of_arrival)
{
	struct throttle_heap h = {0};
	for (size_t i = 0; i < NODES; i++) {
		throttle_heap_add(&h, &nodes[i], 5);
	}
	for (size_t i = 0; i < NODES; i++) {
		ck_assert_ptr_eq(h.top, &nodes[i]);
		throttle_heap_remove(&h, h.top);
	}
}
END_TEST

Suite *heap_suite(void)
{
	Suite *s = suite_create("heap");
	TCase *t = tcase_create("heap");
	tcase_add_loop_test(t, heap_of_random_adds_and_removals_has_the_least_on_top, 0, 2);
	tcase_add_test(t, heap_serves_equal_keys_in_order_of_arrival);
	suite_add_tcase(s, t);
	return s;
}
