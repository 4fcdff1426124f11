MODULES += cli
cli_SRC := $(addprefix gateway/cli/,cli.c args.c target.c input.c manage.c \
	frame.c client.c client_input.c client_rpc.c client_message.c \
	http_answer.c http_client.c event_json.c \
	cmd_connection_string.c cmd_token.c cmd_hub.c cmd_group.c cmd_policy.c cmd_units.c \
	cmd_limit.c units_view.c \
	cmd_send.c cmd_receive.c cmd_bench.c cmd_backup.c cmd_verify.c bench_amqp.c bench_https.c bench_kafka.c \
	bench_kafka_read.c kafka_client.c)

TESTS += cli
cli_TEST_SRC := $(addprefix test/unit/cli/,main.c test_args.c test_client.c test_event_json.c \
	test_frame.c test_http.c test_input.c test_kafka_client.c test_target.c test_units_view.c)
cli_TEST_LINK := cli config kafka_wire wire net store store_shard store_volume store_catalog store_types auth base
cli_TEST_LIBS := $(LIBS_codecs) $(LIBS_jansson) $(LIBS_uv) $(LIBS_lmdb) $(LIBS_ssl)
