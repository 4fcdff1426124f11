/* Reading trust anchors for every connection would cost a load generator more
 * than the connections; so the last context is kept while its file is the
 * same. */

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/lock.h"
#include "gateway/net/dial_priv.h"

static struct {
	struct lock lock;	/* a leaf */
	SSL_CTX *ctx;		/* NULL: none yet; for the process's life */
	bool system;		/* made without a file */
	char path[LIMIT_PATH];
	struct stat seen;
} kept = {.lock = {PTHREAD_MUTEX_INITIALIZER}};

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum err make_ctx(const char *ca_file, SSL_CTX **out, struct err_detail *d)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(ctx);
		ERR_clear_error();
		return err_set(d, ERR_NOMEM, "cannot set up TLS: out of memory");
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	int r = ca_file != NULL ? SSL_CTX_load_verify_file(ctx, ca_file)
				: SSL_CTX_set_default_verify_paths(ctx);
	if (r != 1) {
		SSL_CTX_free(ctx);
		ERR_clear_error();
		return err_set(d, ERR_INVALID, "no certificate in %s: it must be PEM",
			       ca_file != NULL ? ca_file : "the system's store");
	}
	*out = ctx;
	return ERR_OK;
}

/* The kept context with one more reference; NULL when it does not fit. */
static SSL_CTX *find_locked(const char *ca_file, const struct stat *st)
{
	bool fits = kept.ctx != NULL && kept.system == (ca_file == NULL) &&
		    (ca_file == NULL ||
		     (strcmp(kept.path, ca_file) == 0 && same_file(&kept.seen, st)));
	if (fits) {
		SSL_CTX_up_ref(kept.ctx);
	}
	return fits ? kept.ctx : NULL;
}

/* Keeps ctx by a reference of its own; gives what it replaces. */
static SSL_CTX *keep_locked(const char *ca_file, const struct stat *st, SSL_CTX *ctx)
{
	SSL_CTX *old = kept.ctx;
	SSL_CTX_up_ref(ctx);
	kept.ctx = ctx;
	kept.system = ca_file == NULL;
	if (ca_file != NULL) {
		memcpy(kept.path, ca_file, strlen(ca_file) + 1);
		kept.seen = *st;
	}
	return old;
}

enum err net_dial_ctx(const char *ca_file, SSL_CTX **out, struct err_detail *d)
{
	struct stat st = {0};
	if (ca_file != NULL && strlen(ca_file) >= LIMIT_PATH) {
		return err_set(d, ERR_INVALID, "the path of the CA file is too long");
	}
	if (ca_file != NULL && stat(ca_file, &st) != 0) {
		return err_set(d, ERR_NOT_FOUND, "cannot read the CA file %.300s: %s", ca_file,
			       strerror(errno));
	}
	lock_take(&kept.lock);
	SSL_CTX *ctx = find_locked(ca_file, &st);
	lock_give(&kept.lock);
	if (ctx == NULL) {
		enum err e = make_ctx(ca_file, &ctx, d);
		if (e != ERR_OK) {
			return e;
		}
		lock_take(&kept.lock);
		SSL_CTX *old = keep_locked(ca_file, &st, ctx);
		lock_give(&kept.lock);
		SSL_CTX_free(old);
	}
	*out = ctx;
	return ERR_OK;
}
