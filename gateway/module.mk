MODULES += config
config_SRC := $(addprefix gateway/,config.c config_values.c config_file.c units.c)

TESTS += config
config_TEST_SRC := $(addprefix test/unit/config/,main.c test_config.c test_config_file.c \
	test_units.c)
config_TEST_LINK := config base
config_TEST_LIBS := $(LIBS_jansson) $(LIBS_ssl)

MODULES += main
main_SRC := $(addprefix gateway/,main.c server.c found.c)

# What a start founds, over a real store in a directory of its own.
TESTS += found
found_TEST_SRC := test/lib/store_ops.c test/unit/store/store_bed.c gateway/found.c \
	$(addprefix test/unit/found/,main.c test_found.c)
found_TEST_LINK := auth store store_shard store_volume store_catalog store_types base
found_TEST_LIBS := $(LIBS_lmdb) $(LIBS_ssl)
