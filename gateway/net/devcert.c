/* The development CA and the leaf signed by it. */

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/limits.h"
#include "base/log.h"
#include "gateway/net/tls.h"

enum {
	DAY_S = 24 * 60 * 60,
	CA_DAYS = 3650,
	LEAF_DAYS = 820,	/* clients accept at most 825, backdating included */
	BACKDATE_DAYS = 1,	/* for clients whose clock is behind */
	RENEW_DAYS = 30,
	SERIAL_BYTES = 16,
	CN_MAX = 64,		/* RFC 5280, ub-common-name */
	NAMES = 5,
};

struct pair {
	EVP_PKEY *key;
	X509 *cert;
};

static void pair_fini(struct pair *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
	p->key = NULL;
	p->cert = NULL;
}

static bool is_ip(const char *name)
{
	unsigned char addr[16];
	return inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1;
}

/* ---- files ------------------------------------------------------------------ */

static enum err path_of(char out[LIMIT_PATH], const char *dir, const char *name,
			struct err_detail *d)
{
	int n = snprintf(out, LIMIT_PATH, "%s/%s", dir, name);
	if (n < 0 || n >= LIMIT_PATH) {
		return err_set(d, ERR_TOO_LARGE, "the path %.100s is too long", dir);
	}
	return ERR_OK;
}

static enum err write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR) {
			continue;
		}
		if (done <= 0) {
			return ERR_IO;
		}
		p += done;
		n -= (size_t)done;
	}
	return fsync(fd) == 0 ? ERR_OK : ERR_IO;
}

static enum err sync_dir(const char *dir, struct err_detail *d)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;
	int code = errno;
	if (fd >= 0) {
		close(fd);
	}
	return ok ? ERR_OK : err_set(d, ERR_IO, "cannot sync %s: %s", dir, strerror(code));
}

/* Replaces dir/name in one step by what `bio` holds. */
static enum err store(const char *dir, const char *name, BIO *bio, struct err_detail *d)
{
	char path[LIMIT_PATH];
	char tmp[LIMIT_PATH];
	char tmp_name[32];
	snprintf(tmp_name, sizeof tmp_name, "%s.tmp", name);
	enum err e = path_of(path, dir, name, d);
	if (e == ERR_OK) {
		e = path_of(tmp, dir, tmp_name, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	unlink(tmp);	/* left by a crash */
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		return err_set(d, ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
	}
	char *p;
	long n = BIO_get_mem_data(bio, &p);
	e = write_all(fd, p, (size_t)n);
	if (close(fd) != 0) {
		e = ERR_IO;
	}
	if (e != ERR_OK || rename(tmp, path) != 0) {
		e = err_set(d, ERR_IO, "cannot write %s: %s", path, strerror(errno));
		unlink(tmp);
		return e;
	}
	return sync_dir(dir, d);
}

static enum err store_key(const char *dir, const char *name, EVP_PKEY *key, struct err_detail *d)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	enum err e = ERR_NOMEM;
	if (bio != NULL && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
		e = store(dir, name, bio, d);
	}
	BIO_free(bio);
	return e;
}

static enum err store_certs(const char *dir, const char *name, X509 *first, X509 *second,
			    struct err_detail *d)
{
	BIO *bio = BIO_new(BIO_s_mem());
	enum err e = ERR_NOMEM;
	if (bio != NULL && PEM_write_bio_X509(bio, first) == 1 &&
	    (second == NULL || PEM_write_bio_X509(bio, second) == 1)) {
		e = store(dir, name, bio, d);
	}
	BIO_free(bio);
	return e;
}

/* Reads what is there; a file that is missing or damaged leaves NULL. */
static enum err load(const char *dir, const char *cert_name, const char *key_name,
		     struct pair *out, struct err_detail *d)
{
	char path[LIMIT_PATH];
	enum err e = path_of(path, dir, cert_name, d);
	if (e != ERR_OK) {
		return e;
	}
	FILE *f = fopen(path, "re");
	if (f != NULL) {
		out->cert = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
	}
	e = path_of(path, dir, key_name, d);
	if (e != ERR_OK) {
		return e;
	}
	f = fopen(path, "re");
	if (f != NULL) {
		static char none[] = "";	/* as a passphrase: never ask on a terminal */
		out->key = PEM_read_PrivateKey(f, NULL, NULL, none);
		fclose(f);
	}
	ERR_clear_error();
	return ERR_OK;
}

/* ---- certificates ------------------------------------------------------------- */

static bool lasts(const X509 *cert)
{
	time_t limit = (time_t)(clock_wall_ms() / 1000) + (time_t)RENEW_DAYS * DAY_S;
	return X509_cmp_time(X509_get0_notAfter(cert), &limit) > 0;
}

static bool set_serial(X509 *cert)
{
	unsigned char raw[SERIAL_BYTES];
	crypto_random(raw, sizeof raw);
	raw[0] = (unsigned char)((raw[0] & 0x7f) | 0x40);	/* positive, never short */
	BIGNUM *bn = BN_bin2bn(raw, sizeof raw, NULL);
	bool ok = bn != NULL && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
	BN_free(bn);
	return ok;
}

static bool set_times(X509 *cert, int days)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	return X509_time_adj_ex(X509_getm_notBefore(cert), -BACKDATE_DAYS, 0, &now) != NULL &&
	       X509_time_adj_ex(X509_getm_notAfter(cert), days, 0, &now) != NULL;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_name(X509_NAME *name, const char *cn)
{
	const unsigned char *org = (const unsigned char *)"Sluice development";
	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, org, -1, -1, 0) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1,
					  -1, 0) == 1;
}

/* A fresh key and a certificate with what both kinds have. */
static bool begin(struct pair *p, const char *cn, int days)
{
	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	return p->key != NULL && p->cert != NULL && X509_set_version(p->cert, X509_VERSION_3) == 1 &&
	       set_serial(p->cert) && set_times(p->cert, days) &&
	       set_name(X509_get_subject_name(p->cert), cn) &&
	       X509_set_pubkey(p->cert, p->key) == 1;
}

static enum err make_ca(struct pair *out)
{
	/* Its own name for each CA: a client that has an older one in its store
	 * must not take it for this. */
	uint8_t tag[4];
	char cn[CN_MAX];
	crypto_random(tag, sizeof tag);
	snprintf(cn, sizeof cn, "Sluice development CA %02x%02x%02x%02x", tag[0], tag[1], tag[2],
		 tag[3]);
	bool ok = begin(out, cn, CA_DAYS) &&
		  X509_set_issuer_name(out->cert, X509_get_subject_name(out->cert)) == 1 &&
		  add_extension(out->cert, out->cert, NID_basic_constraints,
				"critical,CA:TRUE,pathlen:0") &&
		  add_extension(out->cert, out->cert, NID_key_usage,
				"critical,keyCertSign,cRLSign") &&
		  add_extension(out->cert, out->cert, NID_subject_key_identifier, "hash") &&
		  add_extension(out->cert, out->cert, NID_authority_key_identifier, "keyid:always") &&
		  X509_sign(out->cert, out->key, EVP_sha256()) > 0;
	if (!ok) {
		ERR_clear_error();
		pair_fini(out);
		return ERR_NOMEM;
	}
	return ERR_OK;
}

static bool add_names(X509 *cert, const char *const names[NAMES])
{
	GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
	bool ok = all != NULL;
	for (int i = 0; ok && i < NAMES; i++) {
		bool seen = names[i] == NULL || names[i][0] == '\0';
		for (int j = 0; j < i && !seen; j++) {
			seen = names[j] != NULL && strcasecmp(names[i], names[j]) == 0;
		}
		if (seen) {
			continue;
		}
		/* Quoted by type, not parsed from text: a name is just a name. */
		GENERAL_NAME *gn = a2i_GENERAL_NAME(NULL, NULL, NULL,
						    is_ip(names[i]) ? GEN_IPADD : GEN_DNS,
						    names[i], 0);
		ok = gn != NULL && sk_GENERAL_NAME_push(all, gn) > 0;
		if (!ok) {
			GENERAL_NAME_free(gn);
		}
	}
	ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
	sk_GENERAL_NAME_pop_free(all, GENERAL_NAME_free);
	return ok;
}

static enum err make_leaf(const struct pair *ca, const char *const names[NAMES], struct pair *out)
{
	const char *cn = names[0] != NULL && names[0][0] != '\0' ? names[0] : "localhost";
	bool ok = begin(out, strlen(cn) < CN_MAX ? cn : "sluice", LEAF_DAYS) &&
		  X509_set_issuer_name(out->cert, X509_get_subject_name(ca->cert)) == 1 &&
		  add_extension(out->cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
		  add_extension(out->cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
		  add_extension(out->cert, ca->cert, NID_ext_key_usage, "serverAuth,clientAuth") &&
		  add_extension(out->cert, ca->cert, NID_subject_key_identifier, "hash") &&
		  add_extension(out->cert, ca->cert, NID_authority_key_identifier, "keyid:always") &&
		  add_names(out->cert, names) && X509_sign(out->cert, ca->key, EVP_sha256()) > 0;
	if (!ok) {
		ERR_clear_error();
		pair_fini(out);
		return ERR_NOMEM;
	}
	return ERR_OK;
}

static bool ca_is_good(const struct pair *ca)
{
	return ca->cert != NULL && lasts(ca->cert) && X509_check_ca(ca->cert) == 1;
}

static bool leaf_is_good(const struct pair *leaf, X509 *ca, const char *const names[NAMES])
{
	if (leaf->cert == NULL || leaf->key == NULL || !lasts(leaf->cert)) {
		return false;
	}
	EVP_PKEY *ca_key = X509_get0_pubkey(ca);
	bool ok = X509_check_private_key(leaf->cert, leaf->key) == 1 && ca_key != NULL &&
		  X509_check_issued(ca, leaf->cert) == X509_V_OK &&
		  X509_verify(leaf->cert, ca_key) == 1;
	for (int i = 0; ok && i < NAMES; i++) {
		if (names[i] == NULL || names[i][0] == '\0') {
			continue;
		}
		ok = is_ip(names[i]) ? X509_check_ip_asc(leaf->cert, names[i], 0) == 1
				     : X509_check_host(leaf->cert, names[i], 0, 0, NULL) == 1;
	}
	ERR_clear_error();
	return ok;
}

/* ---- both together -------------------------------------------------------------- */

static enum err renew_ca(const char *dir, struct pair *ca, struct err_detail *d)
{
	pair_fini(ca);
	enum err e = make_ca(ca);
	if (e != ERR_OK) {
		return err_set(d, e, "cannot make a development CA");
	}
	/* The key first: a certificate without its key would be of no use. */
	e = store_key(dir, "ca.key", ca->key, d);
	if (e == ERR_OK) {
		e = store_certs(dir, "ca.pem", ca->cert, NULL, d);
	}
	if (e == ERR_OK) {
		log_info("NET-DEV-CA-MADE", "dir=%s days=%d", log_quote(dir), CA_DAYS);
	}
	return e;
}

static enum err renew_leaf(const char *dir, const struct pair *ca, const char *const names[NAMES],
			   struct err_detail *d)
{
	if (ca->key == NULL || X509_check_private_key(ca->cert, ca->key) != 1) {
		ERR_clear_error();
		return err_set(d, ERR_INVALID,
			       "the development certificate in %.200s must be renewed, but ca.key is "
			       "missing or does not belong to ca.pem; restore it, or remove ca.pem to "
			       "get a new CA", dir);
	}
	struct pair leaf = {0};
	enum err e = make_leaf(ca, names, &leaf);
	if (e != ERR_OK) {
		return err_set(d, e, "cannot make a development certificate for %.200s", names[0]);
	}
	e = store_key(dir, "key.pem", leaf.key, d);
	if (e == ERR_OK) {
		e = store_certs(dir, "cert.pem", leaf.cert, ca->cert, d);
	}
	pair_fini(&leaf);
	if (e == ERR_OK) {
		log_info("NET-DEV-CERT-MADE", "dir=%s host=%s days=%d", log_quote(dir),
			 log_quote(names[0]), LEAF_DAYS);
	}
	return e;
}

enum err net_tls_make_development(const char *dir, const char *host, const char *node_host,
				  struct err_detail *d)
{
	const char *const names[NAMES] = {host, node_host, "localhost", "127.0.0.1", "::1"};
	struct pair ca = {0};
	struct pair leaf = {0};
	enum err e = load(dir, "ca.pem", "ca.key", &ca, d);
	if (e == ERR_OK && !ca_is_good(&ca)) {
		e = renew_ca(dir, &ca, d);
	}
	if (e == ERR_OK) {
		e = load(dir, "cert.pem", "key.pem", &leaf, d);
	}
	if (e == ERR_OK && !leaf_is_good(&leaf, ca.cert, names)) {
		e = renew_leaf(dir, &ca, names, d);
	}
	pair_fini(&ca);
	pair_fini(&leaf);
	return e;
}
