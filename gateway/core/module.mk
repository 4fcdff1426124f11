MODULES += core
core_SRC := $(addprefix gateway/core/,core.c address.c grants.c sender.c readers.c)
