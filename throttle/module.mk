MODULES += throttle
throttle_SRC := throttle/throttle.c

TESTS += throttle
throttle_TEST_SRC := $(addprefix test/unit/throttle/,main.c test_throttle.c)
throttle_TEST_LINK := throttle base
throttle_TEST_LIBS := $(LIBS_ssl)
