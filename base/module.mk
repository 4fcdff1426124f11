MODULES += base
base_SRC := $(addprefix base/,err.c mem.c bytes.c lock.c mailbox.c clock.c log.c crypto.c \
	crc32c.c keyhash.c batch.c hist.c metrics.c)

TESTS += base
base_TEST_SRC := $(addprefix test/unit/base/,main.c test_err.c test_mem.c test_bytes.c test_lock.c \
	test_mailbox.c test_clock.c test_log.c test_crypto.c test_crc32c.c test_keyhash.c \
	test_batch.c test_budget.c test_hist.c test_metrics.c)
base_TEST_LINK := base
base_TEST_LIBS := $(LIBS_ssl)

FUZZERS += fuzz_batch
fuzz_batch_SRC := test/fuzz/fuzz_batch.c test/fuzz/main.c
fuzz_batch_LINK := base
fuzz_batch_LIBS := $(LIBS_ssl)
