# Benchmarks that belong to no folder.
BENCHES += bench_raw
bench_raw_SRC := test/bench/bench_raw.c
bench_raw_LINK := base
bench_raw_LIBS := $(LIBS_lmdb) $(LIBS_ssl)

# What records the file operations of a server, and what cuts them (test/fault/power).
POWER_OBJ := $(patsubst %,$(B)/obj/test/fault/power/%.o,main sim image oracle probe)
POWER_LIBS := $(foreach m,store store_shard store_volume store_catalog store_types group wire base,$(B)/lib/lib$(m).a)
$(B)/fault/power_check: $(POWER_OBJ) $(POWER_LIBS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(POWER_OBJ) -Wl,--start-group $(POWER_LIBS) -Wl,--end-group $(LIBS_lmdb) $(LIBS_ssl) $(LIBS_codecs) -lpthread
$(B)/fault/power.so: test/fault/power/preload.c test/fault/power/oplog.h
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -std=gnu11 $(WARN) -O2 -g -fPIC -shared -o $@ $< -lpthread
power-bins: $(B)/fault/power_check $(B)/fault/power.so
.PHONY: power-bins
ALL_OBJ += $(POWER_OBJ)
