MODULES += config
config_SRC := $(addprefix gateway/,config.c config_values.c config_file.c units.c)

TESTS += config
config_TEST_SRC := $(addprefix test/unit/config/,main.c test_config.c test_config_file.c \
	test_units.c)
config_TEST_LINK := config base
config_TEST_LIBS := $(LIBS_jansson) $(LIBS_ssl)

MODULES += main
main_SRC := $(addprefix gateway/,main.c server.c found.c)
