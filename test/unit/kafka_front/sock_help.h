#ifndef TEST_UNIT_KAFKA_FRONT_SOCK_HELP_H
#define TEST_UNIT_KAFKA_FRONT_SOCK_HELP_H

/* A client of bytes: blocking sockets to a front that listens at `bound`
 * ("ADDR:PORT"), frames written and read whole. */

#include "test/unit/kafka_front/fix.h"

int sock_dial(const char *bound);
/* Appends a framed request. */
void sock_add(struct str *out, int16_t key, int16_t version, int32_t correlation, const void *body);
void sock_add_login(struct str *out, const char *user, const char *password);
void sock_write_all(int fd, const void *p, size_t n);
bool sock_read_all(int fd, void *p, size_t n);
/* The next frame's length; its bytes in `out`. 0: the connection ended. */
uint32_t sock_read_frame(int fd, uint8_t *out, size_t size);
/* A connection that asked to authenticate, and what it was told. */
int sock_login(const char *bound, const char *user, const char *password, int16_t *code);

#endif
