MODULES += core
core_SRC := $(addprefix gateway/core/,core.c address.c grants.c sender.c readers.c fetch.c producer_id.c)

TESTS += core
core_TEST_SRC := $(addprefix test/unit/core/,main.c core_fix.c test_address.c test_grants.c \
	test_readers.c test_sender.c test_producer_id.c)
core_TEST_LINK := core store store_shard store_catalog store_volume store_types auth throttle base
core_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
