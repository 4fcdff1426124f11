/* ApiVersions: what is served, and what a client may take for it. */

#include <ctype.h>
#include <stdio.h>

#include "gateway/kafka/kafka_priv.h"

/* Letters and digits, inside also '.' and '-' (KIP-511). */
static bool is_software_word(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool is_edge = i == 0 || i + 1 == s.n;
		if (!isalnum(s.p[i]) && (is_edge || (s.p[i] != '.' && s.p[i] != '-' &&
						      s.p[i] != ' '))) {
			return false;
		}
	}
	return s.n > 0;
}

/* Remembered for log lines. */
static void remember_software(struct kafka_conn *c, const struct kafka_api_versions_request *q)
{
	snprintf(c->software, sizeof c->software, "%.*s %.*s",
		 (int)(q->client_software_name.s.n < 40 ? q->client_software_name.s.n : 40),
		 (const char *)q->client_software_name.s.p,
		 (int)(q->client_software_version.s.n < 20 ? q->client_software_version.s.n : 20),
		 (const char *)q->client_software_version.s.p);
}

void kafka_on_api_versions(struct kafka_request *r)
{
	const struct kafka_api_versions_request *q = r->body;
	struct kafka_api_versions_response p = {0};
	if (r->version >= 3 && (!is_software_word(q->client_software_name.s) ||
				!is_software_word(q->client_software_version.s))) {
		p.error_code = KAFKA_INVALID_REQUEST;
	} else if (r->version >= 3) {
		remember_software(r->conn, q);
	}
	uint32_t n;
	const struct kafka_api *apis = kafka_apis(&n);
	p.api_keys = kafka_alloc(r, n * sizeof *p.api_keys);
	if (p.api_keys == NULL) {
		return;
	}
	p.n_api_keys = (int32_t)n;
	for (uint32_t i = 0; i < n; i++) {
		p.api_keys[i].api_key = apis[i].key;
		/* librdkafka before 2.11.1 packs batches only where Produce 0 is offered. */
		p.api_keys[i].min_version = apis[i].advertised_first;
		p.api_keys[i].max_version = apis[i].last;
	}
	kafka_answer(r, &p);
}
