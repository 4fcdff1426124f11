/* A blocking client connection. OpenSSL runs over a BIO of our own that reads
 * and writes the socket in large pieces and waits with poll(2). */

#include "gateway/net/dial.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/net/dial_priv.h"

enum {
	DIAL_MAGIC = 0x4449414c,
	BUFFER = 64 << 10,
	DEFAULT_TIMEOUT_MS = 30000,
	HOST_MAX = 256,
};

struct net_dial {
	uint32_t magic;
	int fd;
	int port;
	int timeout_ms;
	bool no_wait;		/* the BIO gives what is there */
	bool broken;		/* TLS failed: no close_notify */
	enum err io;		/* what the BIO met */
	int io_errno;
	SSL *ssl;
	uint8_t *in;		/* TLS only */
	size_t in_start;
	size_t in_end;
	uint8_t *out;
	size_t out_len;
	char host[HOST_MAX];
};

/* ---- waiting, reading, writing ------------------------------------------------- */

/* ERR_OK when the socket is ready for `events`, ERR_TIMEOUT, ERR_IO. */
static enum err wait_for(int fd, short events, int timeout_ms)
{
	int64_t until = clock_mono_ms() + timeout_ms;
	for (;;) {
		struct pollfd p = {fd, events, 0};
		int64_t left = until - clock_mono_ms();
		int r = poll(&p, 1, left > 0 ? (int)left : 0);
		if (r > 0) {
			return ERR_OK;
		}
		if (r == 0) {
			return ERR_TIMEOUT;
		}
		if (errno != EINTR) {
			return ERR_IO;
		}
	}
}

static enum err socket_read(struct net_dial *c, void *p, size_t size, size_t *n)
{
	for (;;) {
		ssize_t r = recv(c->fd, p, size, 0);
		if (r > 0) {
			*n = (size_t)r;
			return ERR_OK;
		}
		if (r == 0) {
			return ERR_EOF;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK) {
			enum err e = c->no_wait ? ERR_AGAIN
						: wait_for(c->fd, POLLIN, c->timeout_ms);
			if (e != ERR_OK) {
				return e;
			}
		} else if (errno != EINTR) {
			c->io_errno = errno;
			return ERR_IO;
		}
	}
}

static enum err socket_write(struct net_dial *c, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
		if (r >= 0) {
			p += r;
			n -= (size_t)r;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			enum err e = wait_for(c->fd, POLLOUT, c->timeout_ms);
			if (e != ERR_OK) {
				return e;
			}
		} else if (errno != EINTR) {
			c->io_errno = errno;
			return ERR_IO;
		}
	}
	return ERR_OK;
}

/* ---- the BIO --------------------------------------------------------------------- */

static enum err flush_out(struct net_dial *c)
{
	size_t n = c->out_len;
	c->out_len = 0;
	return n > 0 ? socket_write(c, c->out, n) : ERR_OK;
}

static int bio_read(BIO *bio, char *out, int size)
{
	struct net_dial *c = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (c->in_start == c->in_end) {
		size_t n = 0;
		/* Whoever waits for an answer has asked first. */
		enum err e = flush_out(c);
		if (e == ERR_OK) {
			e = socket_read(c, c->in, BUFFER, &n);
		}
		if (e != ERR_OK) {
			c->io = e;
			if (e == ERR_AGAIN || e == ERR_TIMEOUT) {
				BIO_set_retry_read(bio);
			}
			return e == ERR_EOF ? 0 : -1;
		}
		c->in_start = 0;
		c->in_end = n;
	}
	size_t have = c->in_end - c->in_start;
	size_t n = (size_t)size < have ? (size_t)size : have;
	memcpy(out, c->in + c->in_start, n);
	c->in_start += n;
	return (int)n;
}

static int bio_write(BIO *bio, const char *p, int size)
{
	struct net_dial *c = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	size_t left = (size_t)size;
	while (left > 0) {
		if (c->out_len == BUFFER) {
			c->io = flush_out(c);
			if (c->io != ERR_OK) {
				return -1;
			}
		}
		size_t n = left < BUFFER - c->out_len ? left : BUFFER - c->out_len;
		memcpy(c->out + c->out_len, p, n);
		c->out_len += n;
		p += n;
		left -= n;
	}
	return size;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;	/* we flush before each wait */
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static CRYPTO_ONCE method_once = CRYPTO_ONCE_STATIC_INIT;
static BIO_METHOD *method;	/* for the process's life */

static void make_method(void)
{
	method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sluice dial");
	if (method != NULL) {
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_ctrl(method, bio_ctrl);
		BIO_meth_set_create(method, bio_create);
	}
}

/* ---- errors ----------------------------------------------------------------------- */

static enum err io_error(const struct net_dial *c, enum err e, const char *doing,
			 struct err_detail *d)
{
	switch (e) {
	case ERR_TIMEOUT:
		return err_set(d, e, "%s %s:%d: no progress within %d ms", doing, c->host, c->port,
			       c->timeout_ms);
	case ERR_EOF:
		return err_set(d, e, "%s %s:%d: the server closed the connection", doing, c->host,
			       c->port);
	default:
		return err_set(d, e, "%s %s:%d: %s", doing, c->host, c->port,
			       c->io_errno != 0 ? strerror(c->io_errno) : err_text(e));
	}
}

static enum err certificate_error(const struct net_dial *c, long verify, struct err_detail *d)
{
	switch (verify) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return err_set(d, ERR_UNAUTHORIZED,
			       "the certificate of %s:%d does not name %s; connect by a name it has",
			       c->host, c->port, c->host);
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return err_set(d, ERR_UNAUTHORIZED,
			       "the certificate of %s:%d cannot be used: %s; renew it, or set the clock",
			       c->host, c->port, X509_verify_cert_error_string(verify));
	default:
		return err_set(d, ERR_UNAUTHORIZED,
			       "the certificate of %s:%d is not trusted (%s); pass --ca FILE with the "
			       "certificate of the CA that signed it", c->host, c->port,
			       X509_verify_cert_error_string(verify));
	}
}

/* Translates what SSL_get_error and the queue say. */
static enum err tls_error(struct net_dial *c, int why, const char *doing, struct err_detail *d)
{
	enum err e;
	unsigned long code = ERR_peek_error();
	long verify = SSL_get_verify_result(c->ssl);
	if (why == SSL_ERROR_WANT_READ) {
		return io_error(c, c->io, doing, d);	/* still usable after a timeout */
	}
	c->broken = true;
	if (why == SSL_ERROR_SYSCALL && c->io != ERR_OK) {
		e = io_error(c, c->io, doing, d);
	} else if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK) {
		e = certificate_error(c, verify, d);
	} else if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		e = io_error(c, ERR_EOF, doing, d);
	} else if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER ||
		   ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST) {
		e = err_set(d, ERR_PROTOCOL,
			    "%s:%d does not speak TLS; connect to its TLS port or without TLS",
			    c->host, c->port);
	} else {
		const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
		e = err_set(d, ERR_PROTOCOL, "%s %s:%d: TLS: %s", doing, c->host, c->port,
			    text != NULL ? text : "protocol error");
	}
	ERR_clear_error();
	return e;
}

/* ---- connecting ---------------------------------------------------------------------- */

static enum err connect_one(struct net_dial *c, const struct addrinfo *ai, int timeout_ms)
{
	c->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		c->io_errno = errno;
		return ERR_IO;
	}
	enum err e = ERR_OK;
	if (connect(c->fd, ai->ai_addr, ai->ai_addrlen) != 0) {
		c->io_errno = errno;
		e = errno == EINPROGRESS ? wait_for(c->fd, POLLOUT, timeout_ms) : ERR_IO;
		socklen_t len = sizeof c->io_errno;
		if (e == ERR_OK &&
		    (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &c->io_errno, &len) != 0 ||
		     c->io_errno != 0)) {
			e = ERR_IO;
		}
	}
	if (e != ERR_OK) {
		close(c->fd);
		c->fd = -1;
		return e;
	}
	int one = 1;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->io_errno = 0;
	return ERR_OK;
}

static enum err connect_any(struct net_dial *c, struct err_detail *d)
{
	char port[8];
	struct addrinfo hints = {0};
	struct addrinfo *list = NULL;
	snprintf(port, sizeof port, "%d", c->port);
	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM;
	hints.ai_flags = AI_NUMERICSERV;
	int r = getaddrinfo(c->host, port, &hints, &list);
	if (r != 0) {
		return err_set(d, ERR_IO, "cannot find the address of %s: %s", c->host,
			       gai_strerror(r));
	}
	int64_t until = clock_mono_ms() + c->timeout_ms;
	enum err e = ERR_IO;
	for (struct addrinfo *ai = list; ai != NULL && e != ERR_OK; ai = ai->ai_next) {
		int64_t left = until - clock_mono_ms();
		e = connect_one(c, ai, left > 0 ? (int)left : 0);
	}
	freeaddrinfo(list);
	return e == ERR_OK ? e : io_error(c, e, "cannot connect to", d);
}

static enum err start_tls(struct net_dial *c, const char *ca_file, struct err_detail *d)
{
	SSL_CTX *ctx;
	enum err e = net_dial_ctx(ca_file, &ctx, d);
	if (e != ERR_OK) {
		return e;
	}
	c->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);	/* the session holds its own reference */
	BIO *bio = CRYPTO_THREAD_run_once(&method_once, make_method) == 1 && method != NULL
			   ? BIO_new(method)
			   : NULL;
	c->in = mem_alloc(BUFFER);
	c->out = mem_alloc(BUFFER);
	if (c->ssl == NULL || bio == NULL || c->in == NULL || c->out == NULL) {
		BIO_free(bio);
		return err_set(d, ERR_NOMEM, "no memory for a TLS connection");
	}
	BIO_set_data(bio, c);
	SSL_set_bio(c->ssl, bio, bio);	/* takes it */
	unsigned char addr[16];
	bool ok;
	if (inet_pton(AF_INET, c->host, addr) == 1 || inet_pton(AF_INET6, c->host, addr) == 1) {
		ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), c->host) == 1;
	} else {
		ok = SSL_set1_host(c->ssl, c->host) == 1 &&
		     SSL_set_tlsext_host_name(c->ssl, c->host) == 1;
	}
	if (!ok) {
		ERR_clear_error();
		return err_set(d, ERR_INVALID, "\"%s\" is not a host name", c->host);
	}
	ERR_clear_error();
	c->io = ERR_OK;
	int r = SSL_connect(c->ssl);
	if (r != 1) {
		return tls_error(c, SSL_get_error(c->ssl, r), "TLS handshake with", d);
	}
	e = flush_out(c);
	return e == ERR_OK ? e : io_error(c, e, "TLS handshake with", d);
}

enum err net_dial_open(const struct net_dial_options *o, struct net_dial **out,
		       struct err_detail *d)
{
	if (o->host == NULL || o->host[0] == '\0' || strlen(o->host) >= HOST_MAX || o->port < 1 ||
	    o->port > 65535) {
		return err_set(d, ERR_INVALID, "no valid host and port to connect to");
	}
	struct net_dial *c = MEM_NEW(struct net_dial);
	if (c == NULL) {
		return err_set(d, ERR_NOMEM, "no memory for a connection");
	}
	c->magic = DIAL_MAGIC;
	c->fd = -1;
	c->port = o->port;
	net_dial_set_timeout(c, o->timeout_ms);
	snprintf(c->host, sizeof c->host, "%s", o->host);
	enum err e = connect_any(c, d);
	if (e == ERR_OK && o->tls) {
		e = start_tls(c, o->ca_file, d);
	}
	if (e != ERR_OK) {
		c->broken = true;
		net_dial_close(&c);
		return e;
	}
	*out = c;
	return ERR_OK;
}

/* ---- using -------------------------------------------------------------------------------- */

enum err net_dial_write(struct net_dial *c, const void *data, size_t n, struct err_detail *d)
{
	assert(c->magic == DIAL_MAGIC);
	const uint8_t *p = data;
	enum err e = ERR_OK;
	if (c->ssl == NULL) {
		e = socket_write(c, p, n);
		return e == ERR_OK ? e : io_error(c, e, "cannot send to", d);
	}
	if (c->broken) {
		return err_set(d, ERR_IO, "the connection to %s:%d has failed", c->host, c->port);
	}
	ERR_clear_error();
	c->io = ERR_OK;
	if (n > 0) {
		size_t done;
		/* Takes all: partial writes are off and the BIO waits by itself. */
		if (SSL_write_ex(c->ssl, p, n, &done) != 1) {
			return tls_error(c, SSL_get_error(c->ssl, 0), "cannot send to", d);
		}
		assert(done == n);
	}
	e = flush_out(c);
	if (e != ERR_OK) {
		c->broken = true;	/* half a record may be out */
		return io_error(c, e, "cannot send to", d);
	}
	return ERR_OK;
}

enum err net_dial_read(struct net_dial *c, void *p, size_t size, size_t *n, struct err_detail *d)
{
	assert(c->magic == DIAL_MAGIC);
	if (c->ssl == NULL) {
		enum err e = socket_read(c, p, size, n);
		return e == ERR_OK ? e : io_error(c, e, "cannot read from", d);
	}
	if (c->broken) {
		return err_set(d, ERR_IO, "the connection to %s:%d has failed", c->host, c->port);
	}
	ERR_clear_error();
	c->io = ERR_OK;
	if (SSL_read_ex(c->ssl, p, size, n) != 1) {
		int why = SSL_get_error(c->ssl, 0);
		return why == SSL_ERROR_ZERO_RETURN ? io_error(c, ERR_EOF, "cannot read from", d)
						    : tls_error(c, why, "cannot read from", d);
	}
	/* More that is already decrypted or decryptable without waiting. */
	c->no_wait = true;
	while (*n < size && (SSL_pending(c->ssl) > 0 || c->in_start < c->in_end)) {
		size_t more;
		if (SSL_read_ex(c->ssl, (uint8_t *)p + *n, size - *n, &more) != 1) {
			break;	/* an error comes again at the next call */
		}
		*n += more;
	}
	c->no_wait = false;
	ERR_clear_error();
	return ERR_OK;
}

bool net_dial_readable(struct net_dial *c, int timeout_ms)
{
	assert(c->magic == DIAL_MAGIC);
	int64_t until = clock_mono_ms() + timeout_ms;
	while (c->ssl != NULL && !c->broken) {
		uint8_t byte;
		size_t n;
		ERR_clear_error();
		c->no_wait = true;
		c->io = ERR_OK;
		int r = SSL_peek_ex(c->ssl, &byte, 1, &n);
		int why = r == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, r);
		c->no_wait = false;
		if (why != SSL_ERROR_WANT_READ) {
			return true;	/* bytes, the end, or an error the read tells */
		}
		int64_t left = until - clock_mono_ms();
		if (wait_for(c->fd, POLLIN, left > 0 ? (int)left : 0) == ERR_TIMEOUT) {
			return false;
		}
	}
	return c->ssl != NULL || wait_for(c->fd, POLLIN, timeout_ms) != ERR_TIMEOUT;
}

void net_dial_set_timeout(struct net_dial *c, int timeout_ms)
{
	assert(c->magic == DIAL_MAGIC);
	c->timeout_ms = timeout_ms > 0 ? timeout_ms : DEFAULT_TIMEOUT_MS;
}

void net_dial_close(struct net_dial **at)
{
	struct net_dial *c = *at;
	*at = NULL;
	if (c == NULL) {
		return;
	}
	assert(c->magic == DIAL_MAGIC);
	if (c->ssl != NULL && !c->broken && SSL_is_init_finished(c->ssl)) {
		SSL_shutdown(c->ssl);	/* close_notify, as far as it goes at once */
		if (c->out_len > 0) {
			(void)send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
		ERR_clear_error();
	}
	SSL_free(c->ssl);
	mem_free(c->in);
	mem_free(c->out);
	if (c->fd >= 0) {
		close(c->fd);
	}
	c->magic = 0;
	mem_free(c);
}
