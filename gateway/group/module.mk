# The group machine is pure (machine.c, members.c, join.c, sync.c, subscription.c,
# rows.c); the rest is the coordinator thread around it.
MODULES += group
group_SRC := $(addprefix gateway/group/,machine.c members.c join.c sync.c rows.c subscription.c \
	op_memory.c groups.c table.c serve.c offsets.c committed.c admin.c load.c expire.c)

# Over a store of the test's own making, which delays and fails writes on demand.
TESTS += group
group_TEST_SRC := $(addprefix test/unit/group/,main.c machine_bed.c test_join.c test_sync.c \
	test_static.c test_machine.c test_rows.c test_subscription.c test_property.c \
	fake_store.c groups_bed.c test_groups.c test_offsets.c test_faults.c)
group_TEST_LINK := group store_catalog store_types base
group_TEST_LIBS := $(LIBS_ssl)

# Over a real store in a directory of its own.
TESTS += group_store
group_store_TEST_SRC := $(addprefix test/unit/group/,store_main.c groups_bed.c test_durable.c)
group_store_TEST_LINK := group store store_shard store_volume store_catalog store_types base
group_store_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

FUZZERS += fuzz_group_rows
fuzz_group_rows_SRC := test/fuzz/fuzz_group_rows.c test/fuzz/main.c
fuzz_group_rows_LINK := group store_catalog store_types base
fuzz_group_rows_LIBS := $(LIBS_ssl)
