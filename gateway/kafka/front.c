/* What all connections share, and what clients are told to connect to. */

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/kafka/kafka_priv.h"

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text form is of this program's own making. */
static void parse_uuid(const char *text, uint8_t out[16])
{
	size_t n = 0;
	for (; *text != '\0' && n < 32; text++) {
		int digit = hex_digit(*text);
		if (digit >= 0) {
			out[n / 2] = (uint8_t)(out[n / 2] << 4 | digit);
			n++;
		}
	}
	assert(n == 32);
}

/* Kafka prints ids as 22 characters of URL-safe base64. */
static void make_cluster_id(struct kafka_front *f)
{
	char text[32];
	enum err e = crypto_base64_encode(span_of(f->store_uuid, sizeof f->store_uuid), text,
					  sizeof text);
	assert(e == ERR_OK);
	(void)e;
	for (size_t i = 0; i < 22; i++) {
		char c = text[i];
		f->cluster_id[i] = c == '+' ? '-' : c == '/' ? '_' : c;
	}
	f->cluster_id[22] = '\0';
}

enum err kafka_front_new(const struct kafka_options *o, struct kafka_front **out)
{
	struct kafka_front *f = MEM_NEW(struct kafka_front);
	if (f == NULL) {
		return ERR_NOMEM;
	}
	f->magic = KAFKA_FRONT_MAGIC;
	f->options = *o;
	f->core = o->core;
	f->groups = o->groups;
	int64_t lag_ms = KAFKA_ANSWER_MS - (int64_t)o->throttle_max_ms;
	f->lag_max_ms = lag_ms > KAFKA_LAG_LEAST_MS ? lag_ms : KAFKA_LAG_LEAST_MS;
	char uuid[CRYPTO_UUID_TEXT];
	store_uuid_text(core_store(o->core), uuid);
	parse_uuid(uuid, f->store_uuid);
	make_cluster_id(f);
	budget_init(&f->partials, core_inflight(o->core)->max / 2);
	budget_init(&f->answers, core_inflight(o->core)->max);
	*out = f;
	return ERR_OK;
}

void kafka_front_free(struct kafka_front **fp)
{
	struct kafka_front *f = *fp;
	*fp = NULL;
	if (f == NULL) {
		return;
	}
	assert(f->magic == KAFKA_FRONT_MAGIC);
	while (f->listeners != NULL) {
		struct kafka_listener *next = f->listeners->next;
		mem_free(f->listeners);
		f->listeners = next;
	}
	f->magic = 0;
	mem_free(f);
}

enum err kafka_listener_new(struct kafka_front *f, struct kafka_listener **out)
{
	struct kafka_listener *l = MEM_NEW(struct kafka_listener);
	if (l == NULL) {
		return ERR_NOMEM;
	}
	l->front = f;
	l->next = f->listeners;
	f->listeners = l;
	*out = l;
	return ERR_OK;
}

enum err kafka_listener_advertise(struct kafka_listener *l, const char *host, uint16_t port)
{
	if (strlen(host) > KAFKA_HOST_MAX) {
		return ERR_INVALID;
	}
	snprintf(l->host, sizeof l->host, "%s", host);
	l->port = port;
	return ERR_OK;
}
