# Sluice. One non-recursive Makefile; each folder lists its own sources in
# module.mk. `make help` lists the targets.

VERSION := 0.1.0
FLAVOR ?= release
prefix ?= /usr/local
PREFIX ?= $(prefix)
DESTDIR ?=
sysconfdir ?= /etc
CC := gcc
PKG_CONFIG ?= pkg-config

# Every flavour has its own object tree, so that switching needs no clean.
B ?= build/$(FLAVOR)

WARN := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wcast-qual -Wwrite-strings -Wvla -Wformat=2
ifeq ($(WERROR),1)
WARN += -Werror
endif
CPPFLAGS_ALL := -I. -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' $(CPPFLAGS)
CFLAGS_release := -O2 -g -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS_asan := -fsanitize=address,undefined
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_tsan := -fsanitize=thread
CFLAGS_ALL := -std=gnu11 $(WARN) $(CFLAGS_$(FLAVOR)) $(CFLAGS)
LDFLAGS_ALL := $(LDFLAGS_$(FLAVOR)) $(LDFLAGS)

LIBS_uv := -luv
LIBS_ssl := -lssl -lcrypto
LIBS_lmdb := -llmdb
LIBS_proton := -lqpid-proton
LIBS_microhttpd := -lmicrohttpd
LIBS_jansson := -ljansson
LIBS_codecs := -lz -lsnappy -llz4 -lzstd
LIBS_check := $(shell $(PKG_CONFIG) --libs check 2>/dev/null || echo -lcheck)

all: build/sluice
.PHONY: all

# A module.mk says:
#   MODULES += name            name of the static library
#   name_SRC := a.c b.c        its sources
#   TESTS += name              unit test runner, with
#   name_TEST_SRC, name_TEST_LINK (modules, top first), name_TEST_LIBS
MODULES :=
TESTS :=
BENCHES :=
FUZZERS :=
MODULE_MKS := $(wildcard */module.mk */*/module.mk)
include $(MODULE_MKS)

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
lib = $(B)/lib/lib$(1).a

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define MODULE_RULE
$(call lib,$(1)): $(call obj,$($(1)_SRC))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$^
ALL_OBJ += $(call obj,$($(1)_SRC))
endef
$(foreach m,$(MODULES),$(eval $(call MODULE_RULE,$(m))))

define TEST_RULE
$(B)/test/test_$(1): $(call obj,$($(1)_TEST_SRC)) $(foreach m,$($(1)_TEST_LINK),$(call lib,$(m)))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $(call obj,$($(1)_TEST_SRC)) -Wl,--start-group $(foreach m,$($(1)_TEST_LINK),$(call lib,$(m))) -Wl,--end-group $($(1)_TEST_LIBS) $$(LIBS_check) -lpthread
ALL_OBJ += $(call obj,$($(1)_TEST_SRC))
endef
$(foreach t,$(TESTS),$(eval $(call TEST_RULE,$(t))))

define TOOL_RULE
$(B)/$(2)/$(1): $(call obj,$($(1)_SRC)) $(foreach m,$($(1)_LINK),$(call lib,$(m)))
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS_ALL) -o $$@ $(call obj,$($(1)_SRC)) -Wl,--start-group $(foreach m,$($(1)_LINK),$(call lib,$(m))) -Wl,--end-group $($(1)_LIBS) -lpthread
ALL_OBJ += $(call obj,$($(1)_SRC))
endef
$(foreach t,$(BENCHES),$(eval $(call TOOL_RULE,$(t),bench)))
$(foreach t,$(FUZZERS),$(eval $(call TOOL_RULE,$(t),fuzz)))

SLUICE_LIBS := $(LIBS_proton) $(LIBS_microhttpd) $(LIBS_jansson) $(LIBS_uv) $(LIBS_ssl) $(LIBS_lmdb) $(LIBS_codecs)
$(B)/sluice: $(foreach m,$(MODULES),$(call lib,$(m)))
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ -Wl,--whole-archive $(call lib,main) -Wl,--no-whole-archive -Wl,--start-group $^ -Wl,--end-group $(SLUICE_LIBS) -lpthread
build/sluice: build/release/sluice
	@cp -f $< $@.new && mv -f $@.new $@

UNIT_BINS := $(foreach t,$(TESTS),$(B)/test/test_$(t))
unit-bins: $(UNIT_BINS)
fuzz-bins: $(foreach t,$(FUZZERS),$(B)/fuzz/$(t))
bench-bins: $(foreach t,$(BENCHES),$(B)/bench/$(t))
.PHONY: unit-bins fuzz-bins bench-bins

# ---- what a user runs --------------------------------------------------

# Installs what the build needs (Debian packages), once; with root or sudo,
# otherwise it prints the one line to run.
deps:
	@deploy/deps.sh build
deps-test:
	@deploy/deps.sh test
run: deps
	@$(MAKE) --no-print-directory -s -j$$(nproc) build/sluice
	@deploy/run.sh
.PHONY: deps deps-test run

# ---- tests: each layer alone, or all ----------------------------------

test: deps-test
	@test/run.sh all
test-unit test-integration test-interop test-fault test-fuzz test-sim test-bench-smoke: deps-test
	@test/run.sh $(@:test-%=%)
asan tsan:
	@test/run.sh unit-$@
soak: deps-test
	@test/run.sh soak

sim: deps-test
	@test/run.sh sim-long
fuzz:
	@test/fuzz/run.sh
bench: deps-test
	@test/bench/run.sh
.PHONY: test test-unit test-integration test-interop test-fault test-fuzz test-sim test-bench-smoke \
	asan tsan soak sim fuzz bench

lint:
	@test/lint.sh
format:
	clang-format -i $$(git ls-files '*.c' '*.h')
.PHONY: lint format

# ---- install -----------------------------------------------------------

install: build/sluice
	install -D -m 0755 build/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -D -m 0644 deploy/sluice.1 $(DESTDIR)$(PREFIX)/share/man/man1/sluice.1
	install -D -m 0644 deploy/sluice.service $(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	install -D -m 0644 deploy/sluice.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/sluice.conf
	install -D -m 0644 deploy/sluice.json $(DESTDIR)$(sysconfdir)/sluice/sluice.json
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/sluice $(DESTDIR)$(PREFIX)/share/man/man1/sluice.1 \
		$(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service \
		$(DESTDIR)$(PREFIX)/lib/sysusers.d/sluice.conf
dist:
	@mkdir -p build
	git archive --format=tar.gz --prefix=sluice-$(VERSION)/ -o build/sluice-$(VERSION).tar.gz HEAD
.PHONY: install uninstall dist

clean:
	rm -rf build
.PHONY: clean

Q ?= @
-include $(sort $(ALL_OBJ:.o=.d))
