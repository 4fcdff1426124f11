# The form events have in the log, and Kafka's; tests of the former stand with
# the taps in test/unit/amqp.
MODULES += wire
wire_SRC := $(addprefix gateway/wire/,codec.c codec_value.c codec_write.c event.c event_out.c \
	event_sections.c inflate.c inflate_stream.c inflate_snappy.c deflate.c records.c \
	records_iter.c to_kafka.c kafka_value.c compact.c)

TESTS += wire
wire_TEST_SRC := $(addprefix test/unit/wire/,main.c help.c golden.c test_inflate.c test_records.c \
	test_records_iter.c test_to_kafka.c test_kafka_value.c test_compact.c)
wire_TEST_LINK := wire base
wire_TEST_LIBS := $(LIBS_codecs) $(LIBS_ssl)

FUZZERS += fuzz_records fuzz_to_kafka fuzz_compact
fuzz_compact_SRC := test/fuzz/fuzz_compact.c test/fuzz/main.c
fuzz_compact_LINK := wire base
fuzz_compact_LIBS := $(LIBS_codecs) $(LIBS_ssl)
fuzz_records_SRC := test/fuzz/fuzz_records.c test/fuzz/main.c
fuzz_records_LINK := wire base
fuzz_records_LIBS := $(LIBS_codecs) $(LIBS_ssl)
fuzz_to_kafka_SRC := test/fuzz/fuzz_to_kafka.c test/fuzz/main.c
fuzz_to_kafka_LINK := wire base
fuzz_to_kafka_LIBS := $(LIBS_codecs) $(LIBS_ssl)

BENCHES += bench_records
bench_records_SRC := test/bench/bench_records.c
bench_records_LINK := wire base
bench_records_LIBS := $(LIBS_codecs) $(LIBS_ssl)
