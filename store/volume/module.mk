MODULES += store_volume
store_volume_SRC := $(addprefix store/volume/,record.c file.c env.c index.c idx_write.c \
	idx_read.c table.c segment.c create.c walk.c recover.c writer.c reader.c seek.c sealer.c \
	volume.c replay.c state.c)

TESTS += store_volume
store_volume_TEST_SRC := test/lib/fake_sync.c $(addprefix test/unit/store_volume/,main.c bed.c test_record.c \
	test_index.c test_idx.c test_volume.c test_seek.c test_roll.c test_recover.c test_damage.c \
	test_kill.c test_fault.c test_concurrent.c test_state.c)
store_volume_TEST_LINK := store_volume store_types base
store_volume_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

BENCHES += bench_volume
bench_volume_SRC := test/bench/bench_volume.c
bench_volume_LINK := store_volume store_types base
bench_volume_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

FUZZERS += fuzz_record
fuzz_record_SRC := test/fuzz/fuzz_record.c test/fuzz/main.c
fuzz_record_LINK := store_volume store_types base
fuzz_record_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
