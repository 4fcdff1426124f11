# store_types: what the folders of the store and their callers share.
MODULES += store_types
store_types_SRC := store/types.c

MODULES += store
store_SRC := $(addprefix store/,store.c dir.c dir_version.c)

TESTS += store
store_TEST_SRC := test/lib/fake_sync.c test/lib/store_ops.c $(addprefix test/unit/store/,main.c store_bed.c \
	test_dir.c test_store.c test_restart.c test_saved.c test_concurrent.c test_producer.c)
store_TEST_LINK := store store_shard store_volume store_catalog store_types base
store_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

BENCHES += bench_store
bench_store_SRC := test/bench/bench_store.c
bench_store_LINK := store store_shard store_volume store_catalog store_types base
bench_store_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
