MODULES += net
net_SRC := $(addprefix gateway/net/,net.c loop.c wheel.c address.c listen.c queue.c stream.c \
	stream_io.c tls_stream.c tls.c devcert.c dial.c dial_ctx.c)

TESTS += net
net_TEST_SRC := $(addprefix test/unit/net/,main.c fixture.c test_wheel.c test_queue.c \
	test_stream.c test_limits.c test_tls.c test_devcert.c test_dial.c)
net_TEST_LINK := net base
net_TEST_LIBS := $(LIBS_uv) $(LIBS_ssl)
