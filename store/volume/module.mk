MODULES += store_volume
store_volume_SRC := $(addprefix store/volume/,record.c file.c env.c index.c idx_write.c \
	idx_read.c table.c manifest.c segment.c create.c walk.c listing.c recover.c space.c \
	replace.c cut.c writer.c reader.c seek.c sealer.c \
	volume.c replay.c state.c state_pages.c export.c export_read.c \
	scrub.c verify.c verify_child.c verify_idx.c verify_parts.c verify_records.c verify_segment.c \
	verify_state.c keymap.c clean.c clean_copy.c clean_out.c clean_plan.c clean_read.c compact.c \
	compact_mark.c compact_write.c)

TESTS += store_volume store_damage
store_volume_TEST_BED := test/lib/fake_sync.c test/lib/fake_write.c test/lib/fake_pwrite.c \
	$(addprefix test/unit/store_volume/,bed.c cleaned.c)
store_volume_TEST_SRC := $(store_volume_TEST_BED) \
	$(addprefix test/unit/store_volume/,main.c test_record.c test_index.c test_manifest.c \
	test_space.c test_replace.c test_idx.c test_volume.c test_seek.c test_roll.c test_recover.c \
	test_kill.c test_fault.c test_concurrent.c test_keymap.c test_clean.c test_compact.c)
store_damage_TEST_SRC := $(store_volume_TEST_BED) \
	$(addprefix test/unit/store_volume/,main_damage.c test_damage.c ruin.c test_verify.c \
	test_scrub.c test_state.c test_export.c)
store_damage_TEST_LINK := store_volume store_types base
store_damage_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
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

FUZZERS += fuzz_volume
fuzz_volume_SRC := test/fuzz/fuzz_volume.c test/unit/store_volume/bed.c \
	test/unit/store_volume/ruin.c
fuzz_volume_LINK := store_volume store_types base
fuzz_volume_LIBS := $(LIBS_lmdb) $(LIBS_ssl) $(LIBS_check)

FUZZERS += fuzz_manifest
fuzz_manifest_SRC := test/fuzz/fuzz_manifest.c test/fuzz/main.c
fuzz_manifest_LINK := store_volume store_types base
fuzz_manifest_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
