MODULES += store_catalog
store_catalog_SRC := $(addprefix store/catalog/,catalog.c catalog_name.c catalog_check.c \
	catalog_apply.c catalog_codec.c catalog_rows.c catalog_limit.c catalog_units.c)

TESTS += store_catalog
store_catalog_TEST_SRC := $(addprefix test/unit/store_catalog/,main.c catalog_build.c \
	test_catalog.c test_catalog_check.c test_catalog_apply.c test_catalog_codec.c \
	test_catalog_rows.c test_catalog_limit.c test_catalog_units.c)
store_catalog_TEST_LINK := store_catalog base

FUZZERS += fuzz_catalog
fuzz_catalog_SRC := test/fuzz/fuzz_catalog.c test/fuzz/main.c
fuzz_catalog_LINK := store_catalog base
