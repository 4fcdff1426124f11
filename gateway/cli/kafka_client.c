/* A Kafka client connection: frames over net/dial.h, versions, SASL PLAIN. */

#include "gateway/cli/kafka_client.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/net/dial.h"

enum {
	API_VERSIONS_VERSION = 3,
	SASL_HANDSHAKE_VERSION = 1,
	SASL_AUTHENTICATE_VERSION = 2,
	METADATA_VERSION = 9,
	INIT_PRODUCER_ID_VERSION = 3,
	ANSWER_MS = 60000,
	LENGTH = 4,		/* before a frame */
	AT_CORRELATION = LENGTH + 4,
	SOON_MS = 10000,	/* how long a server may say "not yet" */
	SOON_STEP_MS = 100,
	ERROR_UNKNOWN_TOPIC = 3,
	ERROR_SASL = 58,
};

#define CLIENT_ID "sluice-bench"
#define PLAIN_USER "$ConnectionString"

struct kafka_client {
	struct net_dial *dial;
	int32_t sent;		/* correlation ids: of the last request */
	int32_t answered;	/* ... and the last answer */
	int16_t first[KAFKA_API_MAX];	/* versions served; last < first: none */
	int16_t last[KAFKA_API_MAX];
	uint8_t *in;
	size_t start;
	size_t end;
	size_t cap;
	struct kafka_arena arena;
};

/* ---- errors ------------------------------------------------------------------------ */

static const char *code_name(int16_t code)
{
	static const struct {
		int16_t code;
		const char *name;
	} names[] = {
		{1, "OFFSET_OUT_OF_RANGE"},
		{2, "CORRUPT_MESSAGE"},
		{3, "UNKNOWN_TOPIC_OR_PARTITION"},
		{5, "LEADER_NOT_AVAILABLE"},
		{6, "NOT_LEADER_OR_FOLLOWER"},
		{7, "REQUEST_TIMED_OUT"},
		{10, "MESSAGE_TOO_LARGE"},
		{14, "COORDINATOR_LOAD_IN_PROGRESS"},
		{15, "COORDINATOR_NOT_AVAILABLE"},
		{19, "NOT_ENOUGH_REPLICAS"},
		{29, "TOPIC_AUTHORIZATION_FAILED"},
		{31, "CLUSTER_AUTHORIZATION_FAILED"},
		{33, "UNSUPPORTED_SASL_MECHANISM"},
		{34, "ILLEGAL_SASL_STATE"},
		{35, "UNSUPPORTED_VERSION"},
		{42, "INVALID_REQUEST"},
		{43, "UNSUPPORTED_FOR_MESSAGE_FORMAT"},
		{45, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		{56, "KAFKA_STORAGE_ERROR"},
		{58, "SASL_AUTHENTICATION_FAILED"},
		{76, "UNSUPPORTED_COMPRESSION_TYPE"},
		{87, "INVALID_RECORD"},
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (names[i].code == code) {
			return names[i].name;
		}
	}
	return "";
}

enum err kafka_client_check(int16_t code, struct kafka_string why, const char *doing,
			    struct err_detail *d)
{
	if (code == 0) {
		return ERR_OK;
	}
	enum err e = code == ERROR_UNKNOWN_TOPIC ? ERR_NOT_FOUND
		     : code == ERROR_SASL	 ? ERR_UNAUTHORIZED
						 : ERR_PROTOCOL;
	const char *name = code_name(code);
	bool has_text = !why.is_null && why.s.n > 0;
	size_t n = why.s.n < 300 ? why.s.n : 300;
	return err_set(d, e, "%s: Kafka error %d%s%s%s%.*s", doing, code, *name != '\0' ? " " : "",
		       name, has_text ? ": " : "", has_text ? (int)n : 0,
		       has_text ? (const char *)why.s.p : "");
}

/* ---- frames ------------------------------------------------------------------------ */

enum err kafka_client_frame(int16_t key, int16_t version, const void *request, struct str *out,
			    struct err_detail *d)
{
	const struct kafka_api *api = kafka_api_find(key);
	assert(api != NULL);
	struct kafka_request_header head = {
		.key = key, .version = version, .client_id = kafka_string_of(span_str(CLIENT_ID))};
	struct kafka_out body = {0};
	size_t at = out->len;
	str_addn(out, "\0\0\0\0", LENGTH);
	kafka_header_write(out, api, &head);
	kafka_encode(&body, api->request, version, kafka_is_flexible(api, version), request);
	kafka_out_flatten(&body, out);
	bool bad = out->bad || body.bad;
	kafka_out_fini(&body);
	if (bad) {
		return err_set(d, ERR_NOMEM, "%s: the request cannot be encoded", api->name);
	}
	put_u32((uint8_t *)out->p + at, (uint32_t)(out->len - at - LENGTH));
	return ERR_OK;
}

enum err kafka_client_write(struct kafka_client *c, uint8_t *frame, size_t n, struct err_detail *d)
{
	c->sent++;
	put_u32(frame + AT_CORRELATION, (uint32_t)c->sent);
	return net_dial_write(c->dial, frame, n, d);
}

/* Makes room for `n` bytes from `start` on. */
static enum err make_room(struct kafka_client *c, size_t n, struct err_detail *d)
{
	if (c->start + n <= c->cap) {
		return ERR_OK;
	}
	if (n <= c->cap) {
		memmove(c->in, c->in + c->start, c->end - c->start);
	} else {
		uint8_t *bigger = mem_alloc(n);
		if (bigger == NULL) {
			return err_set(d, ERR_NOMEM, "no memory for an answer of %zu bytes", n);
		}
		memcpy(bigger, c->in + c->start, c->end - c->start);
		mem_free(c->in);
		c->in = bigger;
		c->cap = n;
	}
	c->end -= c->start;
	c->start = 0;
	return ERR_OK;
}

/* Waits until `n` bytes from `start` on are there. Only the first wait is limited
 * to wait_ms; an answer that has begun is read to its end. */
static enum err fill(struct kafka_client *c, size_t n, int wait_ms, struct err_detail *d)
{
	enum err e = make_room(c, n, d);
	while (e == ERR_OK && c->end - c->start < n) {
		size_t got;
		if (wait_ms >= 0 && c->end == c->start && !net_dial_readable(c->dial, wait_ms)) {
			return ERR_AGAIN;
		}
		e = net_dial_read(c->dial, c->in + c->end, c->cap - c->end, &got, d);
		c->end += e == ERR_OK ? got : 0;
	}
	return e;
}

static enum err next_frame(struct kafka_client *c, int wait_ms, struct span *out,
			   struct err_detail *d)
{
	if (c->start == c->end) {
		c->start = c->end = 0;
	}
	enum err e = fill(c, LENGTH, wait_ms, d);
	if (e != ERR_OK) {
		return e;
	}
	size_t n = get_u32(c->in + c->start);
	if (n < LENGTH || n > KAFKA_CLIENT_FRAME_MAX) {
		return err_set(d, ERR_PROTOCOL, "an answer of %zu bytes: is this a Kafka server?", n);
	}
	e = fill(c, LENGTH + n, -1, d);
	if (e == ERR_OK) {
		*out = span_of(c->in + c->start + LENGTH, n);
		c->start += LENGTH + n;
	}
	return e;
}

static uint32_t read_uvarint(struct rd *r)
{
	uint32_t v = 0;
	for (int shift = 0; shift < 32; shift += 7) {
		uint8_t b = rd_u8(r);
		v |= (uint32_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			break;
		}
	}
	return v;
}

enum err kafka_client_read(struct kafka_client *c, int wait_ms, int16_t key, int16_t version,
			   void *answer, struct err_detail *d)
{
	const struct kafka_api *api = kafka_api_find(key);
	struct span frame = {0};
	assert(api != NULL);
	enum err e = next_frame(c, wait_ms, &frame, d);
	if (e != ERR_OK) {
		return e;
	}
	bool flexible = kafka_is_flexible(api, version);
	struct rd r = rd_of(frame);
	int32_t correlation = (int32_t)rd_u32(&r);
	uint32_t tags = flexible && key != KAFKA_API_ApiVersions ? read_uvarint(&r) : 0;
	for (; tags > 0 && !r.bad; tags--) {
		(void)read_uvarint(&r);
		rd_skip(&r, read_uvarint(&r));
	}
	c->answered++;
	if (r.bad || correlation != c->answered) {
		return err_set(d, ERR_PROTOCOL, "%s: answer %d came instead of %d", api->name,
			       correlation, c->answered);
	}
	kafka_arena_fini(&c->arena);
	return kafka_decode(api->response, version, flexible, span_of(r.p, rd_left(&r)), &c->arena,
			    answer, d);
}

enum err kafka_client_call(struct kafka_client *c, int16_t key, int16_t version,
			   const void *request, void *answer, struct err_detail *d)
{
	struct str frame = {0};
	assert(c->sent == c->answered);
	enum err e = kafka_client_frame(key, version, request, &frame, d);
	if (e == ERR_OK) {
		e = kafka_client_write(c, (uint8_t *)frame.p, frame.len, d);
	}
	if (e == ERR_OK) {
		e = kafka_client_read(c, ANSWER_MS, key, version, answer, d);
		if (e == ERR_AGAIN) {
			e = err_set(d, ERR_TIMEOUT, "%s: no answer within %d s",
				    kafka_api_find(key)->name, ANSWER_MS / 1000);
		}
	}
	if (frame.p != NULL) {
		crypto_wipe(frame.p, frame.len);
	}
	str_fini(&frame);
	return e;
}

/* ---- opening ----------------------------------------------------------------------- */

static enum err ask_versions(struct kafka_client *c, struct err_detail *d)
{
	struct kafka_api_versions_request request = {
		.client_software_name = kafka_string_of(span_str(CLIENT_ID)),
		.client_software_version = kafka_string_of(span_str(SLUICE_VERSION)),
	};
	struct kafka_api_versions_response answer;
	enum err e = kafka_client_call(c, KAFKA_API_ApiVersions, API_VERSIONS_VERSION, &request,
				       &answer, d);
	if (e == ERR_OK) {
		e = kafka_client_check(answer.error_code, kafka_string_null(), "ApiVersions", d);
	}
	for (int32_t i = 0; e == ERR_OK && i < answer.n_api_keys; i++) {
		const struct kafka_api_versions_response_api *api = &answer.api_keys[i];
		if (api->api_key >= 0 && api->api_key < KAFKA_API_MAX) {
			c->first[api->api_key] = api->min_version;
			c->last[api->api_key] = api->max_version;
		}
	}
	return e;
}

enum err kafka_client_serves(const struct kafka_client *c, int16_t key, int16_t version,
			     struct err_detail *d)
{
	assert(key >= 0 && key < KAFKA_API_MAX);
	if (version >= c->first[key] && version <= c->last[key]) {
		return ERR_OK;
	}
	return err_set(d, ERR_VERSION, "the server does not serve %s version %d",
		       kafka_api_find(key)->name, version);
}

static enum err authenticate(struct kafka_client *c, const struct auth_connstr *given,
			     struct err_detail *d)
{
	struct kafka_sasl_handshake_request mechanism = {
		.mechanism = kafka_string_of(span_str("PLAIN"))};
	struct kafka_sasl_handshake_response offered;
	struct kafka_sasl_authenticate_response answer;
	struct str token = {0};
	struct auth_connstr cs = *given;
	enum err e = kafka_client_call(c, KAFKA_API_SaslHandshake, SASL_HANDSHAKE_VERSION, &mechanism,
				       &offered, d);
	if (e == ERR_OK) {
		e = kafka_client_check(offered.error_code, kafka_string_null(), "SaslHandshake", d);
	}
	if (e == ERR_OK) {
		cs.port = 0;	/* that of another protocol */
		/* No authorisation id, NUL, user, NUL (the literal's own), password. */
		str_addn(&token, "\0" PLAIN_USER, sizeof "\0" PLAIN_USER);
		e = auth_connstr_print(&cs, &token);
		if (e != ERR_OK) {
			(void)err_set(d, e, "the key cannot be written as a connection string");
		}
	}
	if (e == ERR_OK) {
		struct kafka_sasl_authenticate_request request = {
			.auth_bytes.s = span_of(token.p, token.len)};
		e = kafka_client_call(c, KAFKA_API_SaslAuthenticate, SASL_AUTHENTICATE_VERSION,
				      &request, &answer, d);
	}
	if (e == ERR_OK) {
		e = kafka_client_check(answer.error_code, answer.error_message, "SaslAuthenticate", d);
	}
	if (token.p != NULL) {
		crypto_wipe(token.p, token.len);
	}
	str_fini(&token);
	auth_connstr_wipe(&cs);
	return e;
}

enum err kafka_client_open(const struct cli_target *t, struct kafka_client **out,
			   struct err_detail *d)
{
	if (t->kafka_port == 0) {
		return err_set(d, ERR_INVALID, "the server of %s has no Kafka listener", t->data);
	}
	struct kafka_client *c = MEM_NEW(struct kafka_client);
	if (c == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	struct net_dial_options o = {
		.host = t->kafka_host,
		.port = t->kafka_port,
		.tls = t->kafka_tls,
		.ca_file = *t->ca != '\0' ? t->ca : NULL,
		.timeout_ms = ANSWER_MS,
	};
	memset(c->last, -1, sizeof c->last);
	c->cap = KAFKA_CLIENT_BUFFER;
	c->in = mem_alloc(c->cap);
	enum err e = c->in != NULL ? net_dial_open(&o, &c->dial, d)
				   : err_set(d, ERR_NOMEM, "out of memory");
	if (e == ERR_OK) {
		e = ask_versions(c, d);
	}
	if (e == ERR_OK && t->kafka_sasl) {
		e = authenticate(c, &t->cs, d);
	}
	if (e != ERR_OK) {
		err_wrap(d, "%s:%d", t->kafka_host, t->kafka_port);
		kafka_client_close(&c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

void kafka_client_close(struct kafka_client **at)
{
	struct kafka_client *c = *at;
	*at = NULL;
	if (c == NULL) {
		return;
	}
	net_dial_close(&c->dial);
	kafka_arena_fini(&c->arena);
	mem_free(c->in);
	mem_free(c);
}

/* ---- what senders and readers ask first ---------------------------------------------- */

/* Whether the code says "not yet" and there is time left; naps then. */
static bool is_soon(int16_t code, int64_t until_ms)
{
	enum { LEADER_NOT_AVAILABLE = 5, LOADING = 14, NOT_AVAILABLE = 15, NOT_COORDINATOR = 16 };
	if ((code != LEADER_NOT_AVAILABLE && code != LOADING && code != NOT_AVAILABLE &&
	     code != NOT_COORDINATOR) ||
	    clock_mono_ms() >= until_ms) {
		return false;
	}
	struct timespec nap = {.tv_nsec = SOON_STEP_MS * 1000000};
	(void)nanosleep(&nap, NULL);
	return true;
}

enum err kafka_client_partitions(struct kafka_client *c, const char *topic, int32_t *n,
				 struct err_detail *d)
{
	struct kafka_metadata_request_topic name = {.name = kafka_string_of(span_str(topic))};
	struct kafka_metadata_request request = {.topics = &name, .n_topics = 1};
	struct kafka_metadata_response answer;
	int64_t until = clock_mono_ms() + SOON_MS;
	enum err e = kafka_client_serves(c, KAFKA_API_Metadata, METADATA_VERSION, d);
	if (e != ERR_OK) {
		return e;
	}
	do {
		e = kafka_client_call(c, KAFKA_API_Metadata, METADATA_VERSION, &request, &answer, d);
	} while (e == ERR_OK && answer.n_topics == 1 && is_soon(answer.topics->error_code, until));
	if (e != ERR_OK) {
		return e;
	}
	if (answer.n_topics != 1) {
		return err_set(d, ERR_PROTOCOL, "Metadata: %d topics instead of one", answer.n_topics);
	}
	e = kafka_client_check(answer.topics->error_code, kafka_string_null(), "Metadata", d);
	if (e == ERR_NOT_FOUND) {
		return err_set(d, e, "the event hub \"%s\" does not exist", topic);
	}
	if (e == ERR_OK && answer.topics->n_partitions < 1) {
		e = err_set(d, ERR_PROTOCOL, "Metadata: \"%s\" has no partitions", topic);
	}
	*n = answer.topics->n_partitions;
	return e;
}

enum err kafka_client_producer(struct kafka_client *c, int64_t *id, int16_t *epoch,
			       struct err_detail *d)
{
	struct kafka_init_producer_id_request request = {.transactional_id = kafka_string_null(),
							 .transaction_timeout_ms = ANSWER_MS,
							 .producer_id = -1,
							 .producer_epoch = -1};
	struct kafka_init_producer_id_response answer;
	int64_t until = clock_mono_ms() + SOON_MS;
	enum err e = kafka_client_serves(c, KAFKA_API_InitProducerId, INIT_PRODUCER_ID_VERSION, d);
	if (e != ERR_OK) {
		return e;
	}
	do {
		e = kafka_client_call(c, KAFKA_API_InitProducerId, INIT_PRODUCER_ID_VERSION, &request,
				      &answer, d);
	} while (e == ERR_OK && is_soon(answer.error_code, until));
	if (e == ERR_OK) {
		e = kafka_client_check(answer.error_code, kafka_string_null(), "InitProducerId", d);
	}
	if (e == ERR_OK) {
		*id = answer.producer_id;
		*epoch = answer.producer_epoch;
	}
	return e;
}
