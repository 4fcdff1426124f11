#include "test/unit/kafka_front/sock_help.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_MS = 5000 };

int sock_dial(const char *bound)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	a.sin_port = htons((uint16_t)atoi(strrchr(bound, ':') + 1));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval t = {.tv_sec = READ_MS / 1000};
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
	int one = 1;
	ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

void sock_add(struct str *out, int16_t key, int16_t version, int32_t correlation,
		const void *body)
{
	const struct kafka_api *api = kafka_api_find(key);
	struct str bytes = {0};
	struct kafka_request_header h = {
		.key = key,
		.version = version,
		.correlation = correlation,
		.client_id = {.s = span_str("t")},
	};
	kafka_header_write(&bytes, api, &h);
	struct kafka_out o = {0};
	kafka_encode(&o, api->request, version, kafka_is_flexible(api, version), body);
	kafka_out_flatten(&o, &bytes);
	kafka_out_fini(&o);
	uint8_t size[4];
	put_u32(size, (uint32_t)bytes.len);
	str_addn(out, size, sizeof size);
	str_addn(out, bytes.p, bytes.len);
	str_fini(&bytes);
}

void sock_write_all(int fd, const void *p, size_t n)
{
	ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
}

bool sock_read_all(int fd, void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (uint8_t *)p + got, n - got);
		if (r <= 0) {
			return false;
		}
		got += (size_t)r;
	}
	return true;
}

uint32_t sock_read_frame(int fd, uint8_t *out, size_t size)
{
	uint8_t head[4];
	if (!sock_read_all(fd, head, sizeof head)) {
		return 0;
	}
	uint32_t n = get_u32(head);
	ck_assert_uint_le(n, size);
	ck_assert(sock_read_all(fd, out, n));
	return n;
}

void sock_add_login(struct str *out, const char *user, const char *password)
{
	struct kafka_sasl_handshake_request hs = {.mechanism = {.s = span_str("PLAIN")}};
	sock_add(out, 17, 1, 1, &hs);
	char token[128];
	int n = snprintf(token, sizeof token, "%c%s%c%s", 0, user, 0, password);
	struct kafka_sasl_authenticate_request q = {
		.auth_bytes = {.s = span_of(token, (size_t)n)}};
	sock_add(out, 36, 1, 2, &q);
}

int sock_login(const char *bound, const char *user, const char *password, int16_t *code)
{
	int fd = sock_dial(bound);
	struct str out = {0};
	sock_add_login(&out, user, password);
	sock_write_all(fd, out.p, out.len);
	str_fini(&out);
	uint8_t b[1024];
	ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
	ck_assert_uint_gt(sock_read_frame(fd, b, sizeof b), 0);
	*code = (int16_t)get_u16(b + 4);
	return fd;
}
