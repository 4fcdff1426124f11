# kafka_wire: the pure half: Kafka's messages. Bytes in, bytes out.
MODULES += kafka_wire
kafka_wire_SRC := $(addprefix gateway/kafka/,messages.c codec.c codec_decode.c codec_encode.c \
	codec_random.c)

TESTS += kafka_wire
kafka_wire_TEST_SRC := $(addprefix test/unit/kafka/,wire_main.c codec_help.c test_codec.c \
	test_codec_errors.c test_messages.c test_frames.c)
kafka_wire_TEST_LINK := kafka_wire base
kafka_wire_TEST_LIBS := $(LIBS_ssl)

FUZZERS += fuzz_kafka_codec
fuzz_kafka_codec_SRC := test/fuzz/fuzz_kafka_codec.c test/fuzz/main.c
fuzz_kafka_codec_LINK := kafka_wire base
fuzz_kafka_codec_LIBS := $(LIBS_ssl)

# kafka: the front: connections and handlers.
MODULES += kafka
kafka_SRC := $(addprefix gateway/kafka/,front.c conn.c request.c topic.c api_versions.c sasl.c \
	capacity.c lag.c)
kafka_SRC += $(addprefix gateway/kafka/,produce.c producer_id.c fetch.c fetch_read.c fetch_pay.c \
	fetch_wait.c list_offsets.c leader_epoch.c)
kafka_SRC += $(addprefix gateway/kafka/,handlers.c metadata.c membership.c offsets.c group_admin.c \
	topic_admin.c settings.c configs.c alter_configs.c delete_records.c)

TESTS += kafka_front
kafka_front_TEST_SRC := $(addprefix test/unit/kafka_front/,main.c fix.c read_hook.c test_conn.c)
kafka_front_TEST_SRC += $(addprefix test/unit/kafka_front/,data_help.c test_produce.c test_fetch.c \
	test_fetch_wait.c test_list_offsets.c)
kafka_front_TEST_SRC += $(addprefix test/unit/kafka_front/,faults.c test_metadata.c test_groups.c \
	test_admin.c test_paced.c test_settings.c test_delete_records.c test_compacted.c \
	sock_help.c test_throttle.c test_mute.c)
kafka_front_TEST_LINK := kafka kafka_wire group core net wire store store_shard store_catalog \
	store_volume store_types auth throttle base
kafka_front_TEST_LIBS := $(LIBS_uv) $(LIBS_lmdb) $(LIBS_ssl) $(LIBS_codecs)
