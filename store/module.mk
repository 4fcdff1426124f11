# store_types: what the folders of the store and their callers share.
MODULES += store_types
store_types_SRC := store/types.c

MODULES += store
store_SRC := $(addprefix store/,store.c dir.c dirs.c dir_version.c backup.c backup_list.c backup_set.c backup_copy.c backup_dir.c backup_restore.c verify.c)

TESTS += store
store_TEST_SRC := test/lib/fake_sync.c test/lib/store_ops.c $(addprefix test/unit/store/,main.c store_bed.c \
	test_dir.c test_dirs.c test_volumes.c test_backup.c test_backup_dir.c test_store.c \
	test_restart.c test_saved.c test_concurrent.c test_producer.c test_lost.c test_retention.c \
	test_verify.c)
store_TEST_LINK := store store_shard store_volume store_catalog store_types base
store_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

BENCHES += bench_store
bench_store_SRC := $(addprefix test/bench/,bench_store.c bench_store_load.c bench_store_read.c)
bench_store_LINK := store store_shard store_volume store_catalog store_types base
bench_store_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

TESTS += store_model
store_model_TEST_SRC := test/lib/store_ops.c test/unit/store_model/main.c
store_model_TEST_LINK := store store_shard store_volume store_catalog store_types base
store_model_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
