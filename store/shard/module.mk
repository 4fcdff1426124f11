MODULES += store_shard
store_shard_SRC := $(addprefix store/shard/,core.c disk.c propose.c merge.c apply.c command.c \
	partition.c cache.c registry.c read.c recover.c save.c saver.c exports.c rows.c start.c retention.c producer.c)

# Over a volume in memory, which the test holds and releases.
TESTS += store_shard
store_shard_TEST_SRC := store/types.c test/lib/fake_volume.c test/lib/fake_state.c test/lib/store_ops.c \
	$(addprefix test/unit/store_shard/,main.c shard_bed.c test_merge.c test_propose.c \
	test_partition.c test_command.c test_recover.c test_saver.c test_exports.c test_rows.c test_producer.c \
	test_trim.c test_retention.c test_volumes.c)
store_shard_TEST_LINK := store_shard store_volume store_catalog base
store_shard_TEST_LIBS := $(LIBS_lmdb)
