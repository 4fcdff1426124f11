/* Backups: the store is asked to hold still what a copy needs, and says what that is.
 * Who copies does so by himself, from the data directories on this machine, renews
 * the hold meanwhile, and ends it. */

#include <inttypes.h>
#include <limits.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "gateway/http/http_priv.h"
#include "gateway/http/json.h"

enum {
	BACKUP_TTL_S = 60,		/* held so long without being renewed */
	BACKUP_BEGIN_S = 600,		/* the log is sealed within it */
	BACKUP_REPLY_MAX = 64 << 20,	/* half a million files */
};

struct begin {
	struct store_pin op;
	struct http_wait wait;
	struct store *store;
};

/* A number as text: an id has more digits than a JSON number is sure to keep. */
static enum err id_of(struct http_request *r, uint64_t *out)
{
	char text[32];
	char *end = text;
	*out = 0;
	if (http_path_decode(r->params.v[0], text, sizeof text) == ERR_OK && text[0] >= '0' &&
	    text[0] <= '9') {
		*out = strtoull(text, &end, 10);
	}
	if (end == text || *end != '\0') {
		http_fail(r, ERR_NOT_FOUND, "There is no such backup under way.");
		return ERR_NOT_FOUND;
	}
	return ERR_OK;
}

/* ---- the answer --------------------------------------------------------------------- */

static void put_directories(const struct store *s, struct str *out)
{
	str_add(out, "\"directories\":[");
	for (uint32_t i = 0; i < store_volumes(s); i++) {
		/* As it is called from elsewhere; the server may have been told it in
		 * terms of where it was started. */
		char *real = realpath(store_volume_dir(s, i), NULL);
		str_add(out, i > 0 ? "," : "");
		http_json_put(out, span_str(real != NULL ? real : store_volume_dir(s, i)));
		free(real);
	}
	str_add(out, "]");
}

/* The next word of a line, up to a blank or its end. */
static struct span word(struct span *line)
{
	const uint8_t *blank = memchr(line->p, ' ', line->n);
	size_t n = blank != NULL ? (size_t)(blank - line->p) : line->n;
	struct span out = span_of(line->p, n);
	size_t taken = blank != NULL ? n + 1 : n;
	*line = span_of(line->p + taken, line->n - taken);
	return out;
}

static void put_file(struct span line, struct str *out)
{
	struct span volume = word(&line);
	struct span path = word(&line);
	struct span size = word(&line);
	struct span crc = word(&line);
	str_printf(out, "{\"volume\":%.*s,\"path\":", (int)volume.n, (const char *)volume.p);
	http_json_put(out, path);
	str_printf(out, ",\"size\":%.*s,\"crc32c\":", (int)size.n, (const char *)size.p);
	http_json_put(out, crc);
	str_add(out, ",\"source\":");
	http_json_put(out, line);
	str_add(out, "}");
}

static void put_files(const struct str *files, struct str *out)
{
	struct span left = span_of(files->p, files->len);
	const char *comma = "";
	str_add(out, ",\"files\":[");
	while (left.n > 0 && !out->bad) {
		const uint8_t *end = memchr(left.p, '\n', left.n);
		size_t n = end != NULL ? (size_t)(end - left.p) : left.n;
		str_add(out, comma);
		put_file(span_of(left.p, n), out);
		comma = ",";
		n += end != NULL ? 1 : 0;
		left = span_of(left.p + n, left.n - n);
	}
	str_add(out, "]");
}

/* ---- the calls ------------------------------------------------------------------------ */

static bool has_gone(struct http_wait *w)
{
	lock_take(&w->front->lock);
	bool gone = w->request == NULL;
	lock_give(&w->front->lock);
	return gone;
}

static void on_pinned(struct msg *m)
{
	struct begin *b = (struct begin *)(void *)((char *)m - offsetof(struct begin, op.msg));
	struct str out = {.max = BACKUP_REPLY_MAX};
	enum err e = b->op.err;
	if (e == ERR_OK) {
		str_printf(&out, "{\"id\":\"%" PRIu64 "\",\"renewWithinSeconds\":%d,", b->op.id,
			   BACKUP_TTL_S);
		char uuid[CRYPTO_UUID_TEXT];
		store_uuid_text(b->store, uuid);
		str_printf(&out, "\"store\":\"%s\",", uuid);
		put_directories(b->store, &out);
		put_files(&b->op.files, &out);
		str_add(&out, "}\n");
		e = out.bad ? ERR_TOO_LARGE : ERR_OK;
	}
	if (b->op.err == ERR_OK && (e != ERR_OK || has_gone(&b->wait))) {
		store_unpin(b->store, b->op.id);	/* nobody would know of it */
	}
	http_wait_end_reply(&b->wait, e, b->op.detail.text[0] != '\0' ? b->op.detail.text : NULL,
			    e == ERR_OK ? &out : NULL);
	str_fini(&out);
	str_fini(&b->op.files);
	mem_free(b);
}

bool http_backup_begin(struct http_request *r)
{
	struct begin *b = MEM_NEW(struct begin);
	if (b == NULL) {
		http_fail(r, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
		return true;
	}
	b->store = core_store(r->front->core);
	b->op.reply_to = &r->front->mailbox;
	b->op.done = on_pinned;
	b->op.ttl_ms = BACKUP_TTL_S * 1000;
	int64_t deadline_ns = clock_mono_ns() + BACKUP_BEGIN_S * INT64_C(1000000000);
	http_request_drop_body(r);
	if (http_wait_begin(&b->wait, r, deadline_ns)) {
		store_pin(b->store, &b->op);
	} else {
		mem_free(b);
	}
	return false;
}

void http_backup_begun(struct http_request *r)
{
	if (http_outcome_ok(r)) {
		http_request_reply(r, MHD_HTTP_CREATED);
	}
}

bool http_backup_renew(struct http_request *r)
{
	uint64_t id;
	if (id_of(r, &id) != ERR_OK) {
		return true;
	}
	if (store_pin_renew(core_store(r->front->core), id) != ERR_OK) {
		http_fail(r, ERR_NOT_FOUND, "This backup is not under way any more.");
		return true;
	}
	http_request_reply(r, MHD_HTTP_NO_CONTENT);
	return true;
}

bool http_backup_end(struct http_request *r)
{
	uint64_t id;
	if (id_of(r, &id) != ERR_OK) {
		return true;
	}
	store_unpin(core_store(r->front->core), id);
	http_request_reply(r, MHD_HTTP_NO_CONTENT);
	return true;
}
