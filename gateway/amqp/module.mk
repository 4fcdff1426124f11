# amqp_wire: the pure half: the frame taps. Bytes in, bytes out.
MODULES += amqp_wire
amqp_wire_SRC := $(addprefix gateway/amqp/,tap_in.c tap_out.c)

TESTS += amqp_wire
amqp_wire_TEST_SRC := $(addprefix test/unit/amqp/,wire_main.c wire_help.c golden.c \
	test_codec.c test_event.c test_event_out.c test_tap_in.c test_tap_out.c)
amqp_wire_TEST_LINK := amqp_wire wire base
amqp_wire_TEST_LIBS := $(LIBS_codecs) $(LIBS_ssl)

FUZZERS += fuzz_amqp_codec fuzz_amqp_message fuzz_amqp_tap
fuzz_amqp_codec_SRC := test/fuzz/fuzz_amqp_codec.c test/fuzz/main.c
fuzz_amqp_codec_LINK := amqp_wire wire base
fuzz_amqp_codec_LIBS := $(LIBS_codecs) $(LIBS_ssl)
fuzz_amqp_message_SRC := test/fuzz/fuzz_amqp_message.c test/fuzz/main.c
fuzz_amqp_message_LINK := amqp_wire wire base
fuzz_amqp_message_LIBS := $(LIBS_codecs) $(LIBS_ssl)
fuzz_amqp_tap_SRC := test/fuzz/fuzz_amqp_tap.c test/fuzz/main.c
fuzz_amqp_tap_LINK := amqp_wire wire base
fuzz_amqp_tap_LIBS := $(LIBS_codecs) $(LIBS_ssl)

# amqp: the Proton half: connections, links and nodes.
MODULES += amqp
amqp_SRC := $(addprefix gateway/amqp/,front.c conn.c sasl.c guard.c link.c sender.c receiver.c \
	filter.c request.c cbs.c management.c)

TESTS += amqp_front
amqp_front_TEST_SRC := $(addprefix test/unit/amqp_front/,main.c test_filter.c test_guard.c)
amqp_front_TEST_LINK := amqp amqp_wire wire auth base
amqp_front_TEST_LIBS := $(LIBS_codecs) $(LIBS_proton) $(LIBS_ssl)

# Whole connections over a real core and store.
TESTS += amqp_limits
amqp_limits_TEST_SRC := $(addprefix test/unit/amqp_front/,limits_main.c fix.c peer.c test_sender.c \
	test_receiver.c test_quotas.c)
amqp_limits_TEST_LINK := amqp amqp_wire wire core net store store_shard store_catalog store_volume \
	store_types auth throttle base
amqp_limits_TEST_LIBS := $(LIBS_codecs) $(LIBS_proton) $(LIBS_uv) $(LIBS_lmdb) $(LIBS_ssl)

FUZZERS += fuzz_amqp_guard
fuzz_amqp_guard_SRC := test/fuzz/fuzz_amqp_guard.c test/fuzz/main.c
fuzz_amqp_guard_LINK := amqp amqp_wire wire auth base
fuzz_amqp_guard_LIBS := $(LIBS_codecs) $(LIBS_proton) $(LIBS_ssl)
