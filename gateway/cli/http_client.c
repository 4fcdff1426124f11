#include "gateway/cli/http_client.h"

#include <string.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "base/mem.h"
#include "gateway/cli/target.h"
#include "gateway/net/dial.h"

enum { READ_SIZE = 16 << 10, HTTPS_PORT = 443 };

struct cli_http {
	const struct cli_target *target;
	struct net_dial *dial;
	size_t have;		/* bytes read beyond the last answer */
	uint8_t buffer[READ_SIZE];
};

void cli_request_head(struct str *out, const char *method, const char *path, const char *host,
		      int port, const char *authorization, const char *extra, size_t body_bytes)
{
	bool is_v6 = strchr(host, ':') != NULL;
	str_printf(out, "%s %s HTTP/1.1\r\nHost: %s%s%s", method, path, is_v6 ? "[" : "", host,
		   is_v6 ? "]" : "");
	if (port != HTTPS_PORT) {
		str_printf(out, ":%d", port);
	}
	str_printf(out, "\r\nUser-Agent: sluice/%s\r\n", SLUICE_VERSION);
	if (authorization != NULL) {
		str_printf(out, "Authorization: %s\r\n", authorization);
	}
	str_add(out, extra != NULL ? extra : "");
	if (body_bytes > 0 || strcmp(method, "GET") != 0) {
		str_printf(out, "Content-Length: %zu\r\n", body_bytes);
	}
	str_add(out, "\r\n");
}

static enum err connect_to(struct cli_http *h, struct err_detail *d)
{
	struct net_dial_options o = {
		.host = h->target->https_host,
		.port = h->target->https_port,
		.tls = true,
		.ca_file = *h->target->ca != '\0' ? h->target->ca : NULL,
		.timeout_ms = h->target->timeout_ms,
	};
	h->have = 0;
	enum err e = net_dial_open(&o, &h->dial, d);
	if (e != ERR_OK) {
		err_wrap(d, "%s:%d", o.host, o.port);
	}
	return e;
}

enum err cli_http_open(const struct cli_target *t, struct cli_http **out, struct err_detail *d)
{
	if (t->https_port == 0) {
		return err_set(d, ERR_INVALID, "the server of %s has no HTTPS listener", t->data);
	}
	struct cli_http *h = MEM_NEW(struct cli_http);
	if (h == NULL) {
		return err_set(d, ERR_NOMEM, "out of memory");
	}
	h->target = t;
	enum err e = connect_to(h, d);
	if (e != ERR_OK) {
		cli_http_close(&h);
		return e;
	}
	*out = h;
	return ERR_OK;
}

void cli_http_close(struct cli_http **h)
{
	if (*h != NULL) {
		net_dial_close(&(*h)->dial);
		mem_free(*h);
		*h = NULL;
	}
}

static enum err read_answer(struct cli_http *h, struct cli_answer *answer, struct err_detail *d)
{
	cli_answer_start(answer);
	for (;;) {
		size_t used = 0;
		enum err e = cli_answer_feed(answer, span_of(h->buffer, h->have), &used);
		h->have -= used;
		memmove(h->buffer, h->buffer + used, h->have);
		if (e != ERR_OK) {
			return err_set(d, e, "the server's answer is not HTTP/1.1 or too large");
		}
		if (answer->state == CLI_HTTP_DONE) {
			return ERR_OK;
		}
		e = net_dial_read(h->dial, h->buffer, sizeof h->buffer, &h->have, d);
		if (e == ERR_EOF) {
			e = cli_answer_end(answer);
			if (e != ERR_OK) {
				e = err_set(d, e, "the server closed the connection");
			}
			return e;
		}
		if (e != ERR_OK) {
			return e;
		}
	}
}

enum err cli_http_call(struct cli_http *h, struct span request, struct cli_answer *answer,
		       struct err_detail *d)
{
	enum err e = h->dial == NULL ? connect_to(h, d) : ERR_OK;
	if (e == ERR_OK) {
		e = net_dial_write(h->dial, request.p, request.n, d);
		/* A server that refuses early may have answered before it closed. */
		if (e == ERR_OK || e == ERR_IO) {
			struct err_detail why = {{0}};
			enum err r = read_answer(h, answer, e == ERR_OK ? d : &why);
			e = e == ERR_OK || r == ERR_OK ? r : e;
		}
	}
	if (e != ERR_OK || answer->close) {
		net_dial_close(&h->dial);
	}
	return e;
}

enum err cli_target_token(const struct cli_target *t, const char *hub, int64_t ttl_ms,
			  struct str *out, struct err_detail *d)
{
	char resource[LIMIT_HUB_NAME + 300];
	if (*t->cs.signature != '\0') {
		str_add(out, t->cs.signature);
		return ERR_OK;
	}
	if (*t->cs.key == '\0') {
		return err_set(d, ERR_INVALID, "the connection string has no key");
	}
	(void)snprintf(resource, sizeof resource, "sb://%s%s%s", t->cs.host, hub != NULL ? "/" : "",
		       hub != NULL ? hub : "");
	enum err e = auth_sas_make(resource, t->cs.key_name, t->cs.key,
				   (clock_wall_ms() + ttl_ms) / 1000, out);
	return e == ERR_OK ? ERR_OK : err_set(d, e, "the token cannot be made: %s", err_text(e));
}
