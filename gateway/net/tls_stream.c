/* TLS of one stream. OpenSSL reads from the loop's read buffer and writes into
 * the loop's gather buffer by a BIO of our own, so an idle connection holds no
 * buffer but the incomplete record OpenSSL may have. */

#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/net/net_priv.h"

enum { TLS_CONTENT_HANDSHAKE = 0x16 };	/* RFC 8446, 5.1 */

/* ---- the BIO -------------------------------------------------------------- */

static int bio_read(BIO *bio, char *out, int size)
{
	struct net_stream *s = BIO_get_data(bio);
	struct net_loop *loop = s->loop;
	BIO_clear_retry_flags(bio);
	if (size <= 0) {
		return 0;
	}
	if (loop->cipher_len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t n = (size_t)size < loop->cipher_len ? (size_t)size : loop->cipher_len;
	memcpy(out, loop->cipher, n);
	loop->cipher += n;
	loop->cipher_len -= n;
	return (int)n;
}

static int bio_write(BIO *bio, const char *p, int size)
{
	struct net_stream *s = BIO_get_data(bio);
	struct net_loop *loop = s->loop;
	BIO_clear_retry_flags(bio);
	if (size <= 0) {
		return 0;
	}
	if ((size_t)size > NET_GATHER - loop->gather_len) {
		/* Cannot happen: before each step there is room for a flight of
		 * handshake messages or a record. */
		return -1;
	}
	memcpy(loop->gather + loop->gather_len, p, (size_t)size);
	loop->gather_len += (size_t)size;
	return size;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *net_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sluice stream");
	if (m != NULL) {
		BIO_meth_set_read(m, bio_read);
		BIO_meth_set_write(m, bio_write);
		BIO_meth_set_ctrl(m, bio_ctrl);
		BIO_meth_set_create(m, bio_create);
	}
	return m;
}

enum err net_tls_attach(struct net_stream *s)
{
	SSL_CTX *ctx = net_tls_hold_ctx(s->tls);
	s->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);	/* the session holds its own reference */
	BIO *bio = BIO_new(s->loop->net->bio);
	if (s->ssl == NULL || bio == NULL) {
		BIO_free(bio);
		ERR_clear_error();
		return ERR_NOMEM;
	}
	BIO_set_data(bio, s);
	SSL_set_bio(s->ssl, bio, bio);	/* takes it */
	SSL_set_accept_state(s->ssl);
	return ERR_OK;
}

/* ---- out ---------------------------------------------------------------------- */

/* Gives the gathered ciphertext to the kernel, or queues what it did not take. */
static void send_gather(struct net_stream *s)
{
	struct net_loop *loop = s->loop;
	size_t done = 0;
	if (s->wire.bytes == 0 && loop->gather_len > 0 && s->state != NET_DEAD) {
		struct iovec iov = {loop->gather, loop->gather_len};
		done = net_stream_send(s, &iov, 1);
	}
	size_t left = loop->gather_len - done;
	loop->gather_len = 0;
	if (left == 0 || s->state == NET_DEAD) {
		return;
	}
	enum err e = net_queue_put(&s->wire, &loop->pool, loop->gather + done, left);
	if (e != ERR_OK) {
		net_stream_fail(s, e);	/* the byte stream would have a hole */
		return;
	}
	s->blocked = true;
}

/* Encrypts records until the gather buffer is full or nothing is left. */
static bool gather(struct net_stream *s)
{
	struct net_loop *loop = s->loop;
	while (s->out.bytes > 0 && NET_GATHER - loop->gather_len >= NET_RECORD_MAX) {
		struct iovec iov;
		net_queue_peek(&s->out, &iov, 1);
		size_t n = iov.iov_len < NET_BLOCK ? iov.iov_len : NET_BLOCK;	/* one record */
		if (SSL_write_ex(s->ssl, iov.iov_base, n, &n) != 1) {
			return false;
		}
		net_queue_drop(&s->out, &loop->pool, n);
	}
	return true;
}

void net_tls_push(struct net_stream *s)
{
	assert(s->loop->gather_len == 0);
	if (!s->tls_done) {
		return;
	}
	while (s->out.bytes > 0 && s->wire.bytes == 0 && s->state != NET_DEAD) {
		ERR_clear_error();
		bool ok = !s->tls_broken && gather(s);
		send_gather(s);
		if (!ok) {
			s->tls_broken = true;
			ERR_clear_error();
			net_stream_fail(s, ERR_PROTOCOL);
		}
	}
}

void net_tls_shut(struct net_stream *s)
{
	if (s->ssl == NULL || !s->tls_done || s->tls_broken) {
		return;
	}
	ERR_clear_error();
	SSL_shutdown(s->ssl);
	ERR_clear_error();
	send_gather(s);
}

/* ---- failures ------------------------------------------------------------------- */

void net_tls_log_failure(struct net_stream *s, const char *reason)
{
	log_limited(LOG_WARN, "NET-TLS-FAILED", "conn=%llu peer=%s protocol=%s reason=%s",
		 (unsigned long long)s->id, s->peer, net_protocol_name(s->protocol),
		 log_quote(reason));
}

static const char *reason_of(const struct net_stream *s, unsigned long code)
{
	if (!s->tls_done && s->first_byte != TLS_CONTENT_HANDSHAKE) {
		return "the client does not speak TLS on this TLS port";
	}
	switch (ERR_GET_REASON(code)) {
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
		return "the client does not trust our certificate";
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
		return "the client offers only TLS versions below 1.2";
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return X509_verify_cert_error_string(SSL_get_verify_result(s->ssl));
	default:
		break;
	}
	const char *text = ERR_reason_error_string(code);
	return text != NULL ? text : "protocol error";
}

static void tls_failed(struct net_stream *s)
{
	unsigned long code = ERR_peek_error();
	if (s->state == NET_HANDSHAKE) {
		net_tls_log_failure(s, reason_of(s, code));
	} else {
		log_debug("NET-TLS-BROKEN", "conn=%llu peer=%s reason=%s",
			  (unsigned long long)s->id, s->peer, log_quote(reason_of(s, code)));
	}
	ERR_clear_error();
	s->tls_broken = true;
	s->reason = ERR_PROTOCOL;
	send_gather(s);	/* the alert */
	if (s->state == NET_DEAD) {
		return;
	}
	/* The peer is to read the alert, not a reset. */
	net_stream_finish(s);
}

/* ---- in ---------------------------------------------------------------------------- */

/* The common name of the client's certificate, when it has one that is
 * verified. Names with a NUL byte inside are nobody's. */
static void keep_peer_name(struct net_stream *s)
{
	X509 *cert = SSL_get1_peer_certificate(s->ssl);
	if (cert == NULL) {
		return;
	}
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	if (SSL_get_verify_result(s->ssl) == X509_V_OK && at >= 0) {
		ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
		unsigned char *text = NULL;
		int n = ASN1_STRING_to_UTF8(&text, cn);
		if (n > 0 && memchr(text, 0, (size_t)n) == NULL) {
			s->peer_name = mem_strdup((const char *)text);
		}
		OPENSSL_free(text);
	}
	X509_free(cert);
}

/* True when the handshake is over. */
static bool handshake(struct net_stream *s)
{
	int r = SSL_do_handshake(s->ssl);
	if (r == 1) {
		s->tls_done = true;
		keep_peer_name(s);
		send_gather(s);
		if (s->state == NET_DEAD) {
			return false;
		}
		net_stream_open(s);
		return s->state == NET_OPEN;
	}
	if (SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ) {
		tls_failed(s);
		return false;
	}
	send_gather(s);
	net_stream_watch(s);
	return false;
}

/* Decrypts what the BIO has into loop->plain. True when it is all done, false
 * when the buffer is full or the stream failed. */
static bool decrypt(struct net_stream *s, size_t *have, bool *ended)
{
	uint8_t *plain = s->loop->plain;
	while (*have < NET_PLAIN_BUFFER) {
		size_t got;
		if (SSL_read_ex(s->ssl, plain + *have, NET_PLAIN_BUFFER - *have, &got) == 1) {
			*have += got;
			continue;
		}
		int why = SSL_get_error(s->ssl, 0);
		if (why == SSL_ERROR_ZERO_RETURN) {
			*ended = true;
		} else if (why != SSL_ERROR_WANT_READ) {
			tls_failed(s);
			return false;
		}
		return true;
	}
	return false;
}

void net_tls_feed(struct net_stream *s, const uint8_t *p, size_t n)
{
	struct net_loop *loop = s->loop;
	assert(loop->gather_len == 0);
	loop->cipher = p;
	loop->cipher_len = n;
	ERR_clear_error();
	bool done = !s->tls_done && !handshake(s);
	while (!done && s->state == NET_OPEN) {
		size_t have = 0;
		bool ended = false;
		done = decrypt(s, &have, &ended);
		if (s->state != NET_OPEN) {
			break;
		}
		send_gather(s);	/* answers to key updates */
		net_stream_received(s, loop->plain, have);
		if (ended && s->state != NET_DEAD) {
			net_stream_peer_ended(s);
		}
	}
	loop->cipher_len = 0;	/* what follows the end or an error is nothing */
}
