MODULES += throttle
throttle_SRC := $(addprefix throttle/,bucket.c heap.c map.c rules.c scope.c gauge.c lane.c seat.c \
	debt.c serve.c sched.c figures.c calls.c)

TESTS += throttle
throttle_TEST_SRC := $(addprefix test/unit/throttle/,main.c bed.c test_bucket.c \
	test_heap.c test_lane.c test_sched.c test_figures.c test_calls.c \
	test_churn.c test_parked.c)
throttle_TEST_LINK := throttle base
throttle_TEST_LIBS := $(LIBS_ssl)

# Properties, in simulated time.
TESTS += throttle_properties
throttle_properties_TEST_SRC := $(addprefix test/unit/throttle/,test_properties.c \
	test_properties_exact.c test_properties_fair.c test_properties_nested.c \
	test_properties_change.c test_properties_refuse.c test_properties_threads.c \
	sim.c sim_scopes.c)
throttle_properties_TEST_LINK := throttle base
throttle_properties_TEST_LIBS := $(LIBS_ssl)

BENCHES += bench_throttle
bench_throttle_SRC := test/bench/bench_throttle.c
bench_throttle_LINK := throttle base
bench_throttle_LIBS := $(LIBS_ssl)
