/* SASL by our own implementation: Proton's knows no MSSBCBS and checks no
 * passwords. ANONYMOUS and MSSBCBS let a peer in without rights, which it then
 * claims at $cbs; PLAIN carries a policy and its key. */

#include <string.h>

#include <proton/sasl.h>
#include <proton/sasl_plugin.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/amqp/conn.h"

static void on_free(pn_transport_t *transport)
{
	(void)transport;	/* the context is the connection, which outlives it */
}

static const char *list_mechanisms(pn_transport_t *transport)
{
	(void)transport;
	return "MSSBCBS PLAIN ANONYMOUS";
}

static bool init_server(pn_transport_t *transport)
{
	pnx_sasl_set_desired_state(transport, SASL_POSTED_MECHANISMS);
	return true;
}

static bool init_client(pn_transport_t *transport)
{
	(void)transport;
	return false;
}

static void prepare_write(pn_transport_t *transport)
{
	(void)transport;
}

/* authorisation id NUL user NUL password, RFC 4616. */
static bool split_plain(struct span in, struct span *user, struct span *password)
{
	const uint8_t *end = in.p + in.n;
	const uint8_t *first = in.n != 0 ? memchr(in.p, 0, in.n) : NULL;
	if (first == NULL) {
		return false;
	}
	first++;
	const uint8_t *second = memchr(first, 0, (size_t)(end - first));
	if (second == NULL) {
		return false;
	}
	*user = span_of(first, (size_t)(second - first));
	*password = span_of(second + 1, (size_t)(end - second - 1));
	return true;
}

static enum err check_plain(struct amqp_conn *conn, struct span in, struct err_detail *d)
{
	struct span user, password;
	struct auth_grant grant;
	if (in.n > LIMIT_TOKEN || !split_plain(in, &user, &password)) {
		return err_set(d, ERR_UNAUTHORIZED, "The response is malformed.");
	}
	enum err e = auth_password_check(core_auth(conn->front->core), user, password, "",
					 clock_wall_ms(), &grant, d);
	return e == ERR_OK ? amqp_conn_grant(conn, &grant) : e;
}

static void process_init(pn_transport_t *transport, const char *mechanism, const pn_bytes_t *recv)
{
	struct amqp_conn *conn = pnx_sasl_get_context(transport);
	struct err_detail d = {""};
	enum err e = ERR_OK;
	if (strcmp(mechanism, "PLAIN") == 0) {
		e = check_plain(conn, span_of(recv->start, recv->size), &d);
	} else if (strcmp(mechanism, "ANONYMOUS") != 0 && strcmp(mechanism, "MSSBCBS") != 0) {
		e = err_set(&d, ERR_UNAUTHORIZED, "The mechanism is unknown.");
	}
	if (e == ERR_OK) {
		pnx_sasl_set_succeeded(transport, "client", "client");
	} else {
		metric_inc(METRIC_AUTH_FAILED);
		log_limited(LOG_WARN, "AMQP-SASL-REFUSED", "conn=%llu peer=%s mechanism=%s reason=%s",
			 (unsigned long long)conn->id, net_stream_peer(conn->stream),
			 log_quote(mechanism), log_quote(d.text));
		pnx_sasl_set_failed(transport);
	}
	pnx_sasl_set_desired_state(transport, SASL_POSTED_OUTCOME);
}

static void process_response(pn_transport_t *transport, const pn_bytes_t *recv)
{
	(void)recv;
	pnx_sasl_set_failed(transport);
	pnx_sasl_set_desired_state(transport, SASL_POSTED_OUTCOME);
}

static bool process_mechanisms(pn_transport_t *transport, const char *mechs)
{
	(void)transport;
	(void)mechs;
	return false;
}

static void process_nothing(pn_transport_t *transport, const pn_bytes_t *recv)
{
	(void)transport;
	(void)recv;
}

static bool can_encrypt(pn_transport_t *transport)
{
	(void)transport;
	return false;
}

static ssize_t max_encrypt_size(pn_transport_t *transport)
{
	(void)transport;
	return 0;
}

static ssize_t code_nothing(pn_transport_t *transport, pn_bytes_t in, pn_bytes_t *out)
{
	(void)transport;
	(void)in;
	(void)out;
	return 0;
}

static const pnx_sasl_implementation implementation = {
	.free = on_free,
	.list_mechanisms = list_mechanisms,
	.init_server = init_server,
	.init_client = init_client,
	.prepare_write = prepare_write,
	.process_init = process_init,
	.process_response = process_response,
	.process_mechanisms = process_mechanisms,
	.process_challenge = process_nothing,
	.process_outcome = process_nothing,
	.can_encrypt = can_encrypt,
	.max_encrypt_size = max_encrypt_size,
	.encode = code_nothing,
	.decode = code_nothing,
};

void amqp_sasl_setup(struct amqp_conn *conn)
{
	pn_transport_t *transport = conn->driver.transport;
	/* First the layer, then what it does; the other way round crashes. */
	(void)pn_sasl(transport);
	pnx_sasl_set_implementation(transport, &implementation, conn);
}
