MODULES += core
core_SRC := $(addprefix gateway/core/,core.c address.c grants.c sender.c readers.c fetch.c producer_id.c \
	lanes.c reading.c pacer.c units.c quota.c scopes.c)

TESTS += core
core_TEST_SRC := $(addprefix test/unit/core/,main.c core_fix.c test_address.c test_grants.c \
	test_readers.c test_sender.c test_producer_id.c test_pacer.c test_lanes.c test_reading.c \
	test_units.c test_quota.c test_scopes.c test_load.c)
core_TEST_LINK := core store store_shard store_catalog store_volume store_types auth throttle base
core_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
