/* The HTTPS half of the load generator: the same request over a kept-alive
 * connection, one at a time. */

#include <string.h>

#include "auth/sas.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/cli/bench_priv.h"
#include "gateway/cli/http_client.h"

enum { TOKEN_SPARE_MS = 600000 };

#define BATCH_TYPE "Content-Type: application/vnd.microsoft.servicebus.json\r\n"
#define SINGLE_TYPE "Content-Type: application/octet-stream\r\n"

static void put_body(const struct bench *b, struct str *out)
{
	str_add(out, b->mode == BENCH_SINGLE ? "" : "[");
	for (uint64_t i = 0; i < b->batch; i++) {
		if (b->mode != BENCH_SINGLE) {
			str_add(out, i > 0 ? ",{\"Body\":\"" : "{\"Body\":\"");
		}
		size_t at = out->len;
		for (uint64_t k = 0; k < b->size; k++) {
			str_addn(out, "x", 1);
		}
		if (!out->bad) {
			bench_fill((uint8_t *)out->p + at, b->size);
		}
		str_add(out, b->mode == BENCH_SINGLE ? "" : "\"}");
	}
	str_add(out, b->mode == BENCH_SINGLE ? "" : "]");
}

static enum err make_request(const struct bench *b, struct str *out, struct err_detail *d)
{
	struct str token = {0};
	struct str body = {0};
	struct str path = {0};
	enum err e = cli_target_token(&b->target, b->hub,
				      (int64_t)b->duration_ms + TOKEN_SPARE_MS, &token, d);
	if (e == ERR_OK) {
		put_body(b, &body);
		str_add(&path, "/");
		auth_percent_encode(span_str(b->hub), &path);
		str_add(&path, "/messages");
		if (path.bad || body.bad) {
			e = err_set(d, ERR_NOMEM, "out of memory");
		}
	}
	if (e == ERR_OK) {
		cli_request_head(out, "POST", path.p, b->target.https_host, b->target.https_port,
				 token.p, b->mode == BENCH_SINGLE ? SINGLE_TYPE : BATCH_TYPE, body.len);
		str_addn(out, body.p, body.len);
		e = out->bad ? err_set(d, ERR_NOMEM, "out of memory") : ERR_OK;
	}
	str_fini(&token);
	str_fini(&body);
	str_fini(&path);
	return e;
}

/* Why a send was refused: the answer's first characters. */
static void on_refused(struct bench_worker *w, const struct cli_answer *answer)
{
	char text[ERR_DETAIL_MAX];
	(void)snprintf(text, sizeof text, "HTTP status %d %.*s", answer->status,
		       (int)(answer->body.len < 300 ? answer->body.len : 300),
		       answer->body.p != NULL ? answer->body.p : "");
	bench_error(w, w->bench->batch, text);
}

static enum err send_all(struct bench_worker *w, struct cli_http *http, struct span request,
			 struct cli_answer *answer, struct err_detail *d)
{
	const struct bench *b = w->bench;
	for (uint64_t sends = 0;; sends++) {
		int64_t now = clock_mono_ns();
		int64_t at = bench_planned_ns(w, sends);
		if (now >= b->end_ns || at >= b->end_ns) {
			return ERR_OK;
		}
		int64_t told = bench_told_ns(w, now);
		for (int64_t until = at > now + told ? at : now + told; until > now;
		     now = clock_mono_ns()) {
			bench_nap(until - now);
		}
		if (now >= b->end_ns) {
			return ERR_OK;
		}
		enum err e = cli_http_call(http, request, answer, d);
		if (e != ERR_OK) {
			return e;
		}
		if (answer->status == 201) {
			bench_acked(w, b->rate > 0 ? at : now, clock_mono_ns());
		} else if (cli_answer_is_throttled(answer)) {
			bench_throttled(w, (int64_t)answer->retry_after_s * 1000);
		} else {
			on_refused(w, answer);
		}
	}
}

void *bench_https_run(void *arg)
{
	struct bench_worker *w = arg;
	struct err_detail d = {{0}};
	struct str request = {.max = 8 * LIMIT_MESSAGE};
	struct cli_http *http = NULL;
	struct cli_answer *answer = MEM_NEW(struct cli_answer);
	enum err e = answer != NULL ? make_request(w->bench, &request, &d)
				    : err_set(&d, ERR_NOMEM, "out of memory");
	if (e == ERR_OK) {
		e = cli_http_open(&w->bench->target, &http, &d);
	}
	w->failed = e != ERR_OK;
	if (w->failed) {
		bench_error(w, 0, d.text);
	}
	if (bench_wait_start(w) && e == ERR_OK) {
		e = send_all(w, http, span_of(request.p, request.len), answer, &d);
		if (e != ERR_OK) {
			w->failed = true;
			bench_error(w, w->bench->batch, d.text);
		}
	}
	cli_http_close(&http);
	if (request.p != NULL) {
		crypto_wipe(request.p, request.len);
	}
	str_fini(&request);
	if (answer != NULL) {
		cli_answer_fini(answer);
	}
	mem_free(answer);
	return NULL;
}
