#include "gateway/cli/manage.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/sas.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/cli/http_client.h"

#define ROOT "/$management/v1"
enum {
	TOKEN_MS = 300000,
	THROTTLED_TRIES = 3,	/* of a call that is one too many in its second */
	THROTTLED_WAIT_MAX_S = 10,	/* told to wait longer, we say so instead */
};

void cli_manage_path(struct str *out, ...)
{
	va_list ap;
	str_add(out, ROOT);
	va_start(ap, out);
	for (const char *word; (word = va_arg(ap, const char *)) != NULL;) {
		str_add(out, "/");
		auth_percent_encode(span_str(word), out);
	}
	va_end(ap);
}

const char *cli_json_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s != NULL ? s : "";
}

int64_t cli_json_number(const json_t *object, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(object, key));
}

const json_t *cli_json_list(const json_t *answer, const char *key)
{
	return json_is_array(answer) ? answer : json_object_get(answer, key);
}

/* ---- calling --------------------------------------------------------------------- */

/* The error of our table with that HTTP code. */
static enum err code_err(const char *code, int status)
{
	for (int e = ERR_OK + 1; e < ERR__COUNT; e++) {
		if (strcmp(err_info((enum err)e)->http_code, code) == 0) {
			return (enum err)e;
		}
	}
	return status == 401 ? ERR_UNAUTHORIZED : status == 404 ? ERR_NOT_FOUND : ERR_INVALID;
}

static enum err answer_error(int status, const json_t *answer, struct err_detail *d)
{
	const json_t *error = json_object_get(answer, "error");
	const char *message = cli_json_text(error, "message");
	const char *tracking = cli_json_text(error, "trackingId");
	enum err e = code_err(cli_json_text(error, "code"), status);
	if (*message == '\0') {
		return err_set(d, e, "the server answers with HTTP status %d", status);
	}
	if (*tracking == '\0' || strstr(message, tracking) != NULL) {
		return err_set(d, e, "%s", message);
	}
	return err_set(d, e, "%s (tracking id %s)", message, tracking);
}

static enum err exchange_once(const struct cli_target *t, struct span request,
			      struct cli_answer *answer, struct err_detail *d)
{
	struct cli_http *http;
	enum err e = cli_http_open(t, &http, d);
	if (e == ERR_OK) {
		e = cli_http_call(http, request, answer, d);
		cli_http_close(&http);
	}
	return e;
}

/* Comes again a few times when the server has no room for the call for a moment:
 * nothing was done then. */
static enum err exchange(const struct cli_target *t, struct span request,
			 struct cli_answer *answer, struct err_detail *d)
{
	for (int tries = 1;; tries++) {
		enum err e = exchange_once(t, request, answer, d);
		if (e != ERR_OK || tries == THROTTLED_TRIES || !cli_answer_is_throttled(answer) ||
		    answer->retry_after_s > THROTTLED_WAIT_MAX_S) {
			return e;
		}
		struct timespec wait = {.tv_sec = answer->retry_after_s};
		(void)nanosleep(&wait, NULL);
	}
}

static enum err take_answer(const struct cli_answer *answer, json_t **out, struct err_detail *d)
{
	json_error_t at;
	*out = answer->body.len > 0 ? json_loadb(answer->body.p, answer->body.len, 0, &at) : NULL;
	if (answer->status >= 200 && answer->status < 300) {
		if (answer->body.len > 0 && *out == NULL) {
			return err_set(d, ERR_PROTOCOL, "the server's answer is not JSON: %s", at.text);
		}
		return ERR_OK;
	}
	enum err e = answer_error(answer->status, *out, d);
	json_decref(*out);
	*out = NULL;
	return e;
}

enum err cli_manage_call(const struct cli_target *t, const char *method, const char *path,
			 const json_t *body, json_t **out, struct err_detail *d)
{
	struct str token = {0};
	struct str request = {0};
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	size_t n = text != NULL ? strlen(text) : 0;
	struct cli_answer *answer = MEM_NEW(struct cli_answer);
	*out = NULL;
	const char *hub = *t->cs.hub != '\0' ? t->cs.hub : NULL;
	enum err e = answer == NULL || (body != NULL && text == NULL)
			     ? err_set(d, ERR_NOMEM, "out of memory")
			     : cli_target_token(t, hub, TOKEN_MS, &token, d);
	if (e == ERR_OK) {
		cli_request_head(&request, method, path, t->https_host, t->https_port, token.p,
				 n > 0 ? "Content-Type: application/json\r\n" : NULL, n);
		str_addn(&request, text, n);
		e = request.bad ? err_set(d, ERR_NOMEM, "out of memory")
				: exchange(t, span_of(request.p, request.len), answer, d);
	}
	if (e == ERR_OK) {
		e = take_answer(answer, out, d);
	}
	if (request.p != NULL) {
		crypto_wipe(request.p, request.len);
	}
	str_fini(&request);
	str_fini(&token);
	free(text);
	if (answer != NULL) {
		cli_answer_fini(answer);
	}
	mem_free(answer);
	return e;
}

int cli_manage_run(const struct cli_args *a, const char *method, const char *path,
		   const json_t *body, cli_show_fn *show)
{
	struct cli_target target;
	struct err_detail d = {{0}};
	json_t *answer = NULL;
	enum err e = cli_target_find(a, NULL, &target, &d);
	if (e == ERR_OK) {
		e = cli_manage_call(&target, method, path, body, &answer, &d);
		cli_target_fini(&target);
	}
	if (e != ERR_OK) {
		return cli_failed_err(a, e, &d);
	}
	if (cli_has(a, CLI_JSON)) {
		if (answer != NULL) {
			(void)json_dumpf(answer, stdout, JSON_INDENT(2));
			(void)fputc('\n', stdout);
		}
	} else if (show != NULL && answer != NULL) {
		show(answer);
	}
	json_decref(answer);
	return CLI_DONE;
}

/* ---- tables ------------------------------------------------------------------------- */

/* Some names were chosen by clients: none of them moves the terminal's cursor. */
static void blank_controls(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
		bool is_c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
		if (*p < ' ' || *p == 0x7f || is_c1) {
			*p = '?';
			p[is_c1] = '?';
		}
	}
}

void cli_table_add(struct cli_table *t, const char *fmt, ...)
{
	va_list ap;
	if (!mem_grow((void **)&t->cells, &t->cap, t->n + 1, sizeof *t->cells)) {
		return;
	}
	va_start(ap, fmt);
	(void)vsnprintf(t->cells[t->n], CLI_TABLE_CELL, fmt, ap);
	va_end(ap);
	blank_controls(t->cells[t->n++]);
}

void cli_table_write(struct cli_table *t, FILE *to)
{
	int width[CLI_TABLE_COLUMNS] = {0};
	for (size_t i = 0; i < t->n; i++) {
		int n = (int)strlen(t->cells[i]);
		int *w = &width[i % (size_t)t->columns];
		*w = n > *w ? n : *w;
	}
	for (size_t i = 0; i < t->n; i++) {
		bool last = (i + 1) % (size_t)t->columns == 0;
		(void)fprintf(to, "%-*s%s", last ? 0 : width[i % (size_t)t->columns], t->cells[i],
			     last ? "\n" : "  ");
	}
	mem_free(t->cells);
	*t = (struct cli_table){0};
}

void cli_table_print(struct cli_table *t)
{
	cli_table_write(t, stdout);
}
