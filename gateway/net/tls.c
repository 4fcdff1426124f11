/* The server's certificate and settings, reloadable. */

#include "gateway/net/tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/net/net_priv.h"

struct net_tls {
	struct lock lock;	/* a leaf: guards ctx */
	SSL_CTX *ctx;
	char *cert;
	char *key;
	char *client_ca;
};

/* What OpenSSL said last, in words; empties its queue. */
static const char *openssl_reason(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
	ERR_clear_error();
	return text != NULL ? text : "malformed";
}

static enum err check_readable(const char *what, const char *path, struct err_detail *d)
{
	FILE *f = fopen(path, "re");
	if (f != NULL) {
		fclose(f);
		return ERR_OK;
	}
	enum err e = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	return err_set(d, e, "cannot read the %s %s: %s", what, path, strerror(errno));
}

/* Nobody is there to type a passphrase. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)arg = true;
	return -1;
}

static enum err load_key(SSL_CTX *ctx, const struct net_tls_files *files, struct err_detail *d)
{
	bool encrypted = false;
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &encrypted);
	int r = SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (r == 1) {
		return ERR_OK;
	}
	if (encrypted) {
		ERR_clear_error();
		return err_set(d, ERR_INVALID,
			       "the private key %s is encrypted; give one without a passphrase",
			       files->key);
	}
	unsigned long code = ERR_peek_last_error();
	if (ERR_GET_LIB(code) == ERR_LIB_X509 &&
	    (ERR_GET_REASON(code) == X509_R_KEY_VALUES_MISMATCH ||
	     ERR_GET_REASON(code) == X509_R_KEY_TYPE_MISMATCH)) {
		ERR_clear_error();
		return err_set(d, ERR_INVALID, "the private key %s does not belong to the certificate %s",
			       files->key, files->cert);
	}
	return err_set(d, ERR_INVALID, "the private key %s is not usable PEM: %s", files->key,
		       openssl_reason());
}

static enum err load_files(SSL_CTX *ctx, const struct net_tls_files *files, struct err_detail *d)
{
	enum err e = check_readable("certificate", files->cert, d);
	if (e == ERR_OK) {
		e = check_readable("private key", files->key, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (SSL_CTX_use_certificate_chain_file(ctx, files->cert) != 1) {
		return err_set(d, ERR_INVALID, "the certificate %s is not usable PEM: %s",
			       files->cert, openssl_reason());
	}
	e = load_key(ctx, files, d);
	if (e == ERR_OK && SSL_CTX_check_private_key(ctx) != 1) {
		ERR_clear_error();
		e = err_set(d, ERR_INVALID,
			    "the private key %s does not belong to the certificate %s", files->key,
			    files->cert);
	}
	return e;
}

static enum err load_client_ca(SSL_CTX *ctx, const char *path, struct err_detail *d)
{
	enum err e = check_readable("client CA", path, d);
	if (e != ERR_OK) {
		return e;
	}
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
	if (names == NULL || SSL_CTX_load_verify_locations(ctx, path, NULL) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return err_set(d, ERR_INVALID, "the client CA %s is not usable PEM: %s", path,
			       openssl_reason());
	}
	SSL_CTX_set_client_CA_list(ctx, names);	/* takes them */
	/* Asked for, not demanded: a client may authorise itself otherwise. */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return ERR_OK;
}

static SSL_CTX *new_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    /* AES-128 first: a fifth faster than AES-256 and as far from broken. */
	    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
					  "TLS_CHACHA20_POLY1305_SHA256") != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	/* Our connections live long: resumption would save little, and tickets
	 * and sessions cost memory per connection and keys to be rotated. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
					 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static int64_t expiry_ms(SSL_CTX *ctx)
{
	struct tm tm;
	const X509 *cert = SSL_CTX_get0_certificate(ctx);
	if (cert == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1) {
		return 0;
	}
	return (int64_t)timegm(&tm) * 1000;
}

static enum err make_ctx(const struct net_tls_files *files, SSL_CTX **out, struct err_detail *d)
{
	SSL_CTX *ctx = new_ctx();
	if (ctx == NULL) {
		ERR_clear_error();
		return err_set(d, ERR_NOMEM, "cannot set up TLS: out of memory");
	}
	enum err e = load_files(ctx, files, d);
	if (e == ERR_OK && files->client_ca != NULL) {
		e = load_client_ca(ctx, files->client_ca, d);
	}
	if (e != ERR_OK) {
		SSL_CTX_free(ctx);
		return e;
	}
	if (expiry_ms(ctx) < clock_wall_ms()) {
		log_warn("NET-TLS-EXPIRED", "file=%s hint=\"clients will refuse this certificate\"",
			 log_quote(files->cert));
	}
	*out = ctx;
	return ERR_OK;
}

enum err net_tls_new(const struct net_tls_files *files, struct net_tls **out, struct err_detail *d)
{
	struct net_tls *tls = MEM_NEW(struct net_tls);
	if (tls == NULL) {
		return err_set(d, ERR_NOMEM, "cannot set up TLS: out of memory");
	}
	lock_init(&tls->lock);
	tls->cert = mem_strdup(files->cert);
	tls->key = mem_strdup(files->key);
	tls->client_ca = files->client_ca != NULL ? mem_strdup(files->client_ca) : NULL;
	enum err e;
	if (tls->cert == NULL || tls->key == NULL ||
	    (files->client_ca != NULL && tls->client_ca == NULL)) {
		e = err_set(d, ERR_NOMEM, "cannot set up TLS: out of memory");
	} else {
		e = make_ctx(files, &tls->ctx, d);
	}
	if (e != ERR_OK) {
		net_tls_free(&tls);
		return e;
	}
	*out = tls;
	return ERR_OK;
}

enum err net_tls_reload(struct net_tls *tls, struct err_detail *d)
{
	struct net_tls_files files = {tls->cert, tls->key, tls->client_ca};
	SSL_CTX *fresh;
	enum err e = make_ctx(&files, &fresh, d);
	if (e != ERR_OK) {
		return e;
	}
	lock_take(&tls->lock);
	SSL_CTX *old = tls->ctx;
	tls->ctx = fresh;
	lock_give(&tls->lock);
	SSL_CTX_free(old);	/* gone when its last connection is */
	return ERR_OK;
}

SSL_CTX *net_tls_hold_ctx(struct net_tls *tls)
{
	lock_take(&tls->lock);
	SSL_CTX *ctx = tls->ctx;
	SSL_CTX_up_ref(ctx);
	lock_give(&tls->lock);
	return ctx;
}

void net_tls_expiry(struct net_tls *tls, char *out)
{
	SSL_CTX *ctx = net_tls_hold_ctx(tls);
	clock_iso(expiry_ms(ctx), out);
	SSL_CTX_free(ctx);
}

void net_tls_free(struct net_tls **at)
{
	struct net_tls *tls = *at;
	*at = NULL;
	if (tls == NULL) {
		return;
	}
	SSL_CTX_free(tls->ctx);
	mem_free(tls->cert);
	mem_free(tls->key);
	mem_free(tls->client_ca);
	lock_fini(&tls->lock);
	mem_free(tls);
}
