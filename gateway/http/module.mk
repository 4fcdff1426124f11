MODULES += http
http_SRC := $(addprefix gateway/http/,json.c head.c path.c fields.c batch_json.c manage_json.c \
	front.c daemon.c wait.c request.c routes.c authorise.c send.c command.c health.c \
	manage.c manage_backup.c manage_groups.c manage_policy.c manage_units.c error.c)

$(B)/obj/gateway/http/health.o: gateway/http/openapi.json

TESTS += http
http_TEST_SRC := $(addprefix test/unit/http/,main.c test_json.c test_head.c test_path.c \
	test_fields.c test_batch_json.c test_manage_json.c test_routes.c)
http_TEST_LINK := http wire auth base
http_TEST_LIBS := $(LIBS_codecs) $(LIBS_ssl)

TESTS += http_front
http_front_TEST_SRC := $(addprefix test/unit/http/,front_main.c test_front.c fake_core.c)
http_front_TEST_LINK := http net wire store_catalog auth base
http_front_TEST_LIBS := $(LIBS_codecs) $(LIBS_microhttpd) $(LIBS_uv) $(LIBS_ssl)

FUZZERS += fuzz_http_json
fuzz_http_json_SRC := test/fuzz/fuzz_http_json.c test/fuzz/main.c
fuzz_http_json_LINK := http wire auth base
fuzz_http_json_LIBS := $(LIBS_codecs) $(LIBS_ssl)
