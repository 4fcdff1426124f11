MODULES += auth
auth_SRC := $(addprefix auth/,policy.c path.c grant.c sas.c password.c connstr.c)

TESTS += auth
auth_TEST_SRC := $(addprefix test/unit/auth/,main.c source.c test_policy.c test_path.c \
	test_grant.c test_sas.c test_password.c test_connstr.c)
auth_TEST_LINK := auth base
auth_TEST_LIBS := $(LIBS_ssl)

FUZZERS += fuzz_sas
fuzz_sas_SRC := test/fuzz/fuzz_sas.c test/fuzz/main.c
fuzz_sas_LINK := auth base
fuzz_sas_LIBS := $(LIBS_ssl)
