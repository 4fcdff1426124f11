#ifndef GATEWAY_CLI_KAFKA_CLIENT_H
#define GATEWAY_CLI_KAFKA_CLIENT_H

/* A Kafka client for the load generator: one blocking connection to one broker,
 * built on net/dial.h and the messages of gateway/kafka. Requests are called
 * one by one, or written as bytes and their answers read in order. One thread
 * uses one at a time. */

#include "gateway/cli/target.h"
#include "gateway/kafka/messages.h"

enum {
	KAFKA_CLIENT_FRAME_MAX = 128 << 20,	/* one answer */
	KAFKA_CLIENT_BUFFER = 64 << 10,		/* what is read at once; grows to a frame */
};

struct kafka_client;

/* Connects, asks for the versions, and authenticates with PLAIN unless the target
 * says otherwise. Errors: those of net_dial_open; ERR_UNAUTHORIZED, ERR_PROTOCOL. */
enum err kafka_client_open(const struct cli_target *t, struct kafka_client **out,
			   struct err_detail *d) MUST_CHECK;
void kafka_client_close(struct kafka_client **c);

/* ERR_VERSION unless the server serves this version of the API. */
enum err kafka_client_serves(const struct kafka_client *c, int16_t key, int16_t version,
			     struct err_detail *d) MUST_CHECK;

/* One request and its answer. `answer` borrows from the client until the next
 * call or read. Not while answers are outstanding. */
enum err kafka_client_call(struct kafka_client *c, int16_t key, int16_t version,
			   const void *request, void *answer, struct err_detail *d) MUST_CHECK;

/* Appends the whole frame of a request: length, header, body; flattened. */
enum err kafka_client_frame(int16_t key, int16_t version, const void *request, struct str *out,
			    struct err_detail *d) MUST_CHECK;
/* Gives a frame its correlation id and writes it. */
enum err kafka_client_write(struct kafka_client *c, uint8_t *frame, size_t n,
			    struct err_detail *d) MUST_CHECK;
/* The answer to the oldest unanswered request, which was of this API and version;
 * `answer` as above. ERR_AGAIN: none within wait_ms (0 = look only). */
enum err kafka_client_read(struct kafka_client *c, int wait_ms, int16_t key, int16_t version,
			   void *answer, struct err_detail *d) MUST_CHECK;

/* The partitions of a topic; *n at least 1. ERR_NOT_FOUND. */
enum err kafka_client_partitions(struct kafka_client *c, const char *topic, int32_t *n,
				 struct err_detail *d) MUST_CHECK;
/* A number for an idempotent producer. */
enum err kafka_client_producer(struct kafka_client *c, int64_t *id, int16_t *epoch,
			       struct err_detail *d) MUST_CHECK;
/* ERR_OK for 0, else an error whose detail names the code. `why` may be null. */
enum err kafka_client_check(int16_t code, struct kafka_string why, const char *doing,
			    struct err_detail *d) MUST_CHECK;

#endif
