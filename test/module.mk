# Benchmarks that belong to no folder.
BENCHES += bench_raw
bench_raw_SRC := test/bench/bench_raw.c
bench_raw_LINK := base
bench_raw_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
