#ifndef GATEWAY_CLI_TARGET_H
#define GATEWAY_CLI_TARGET_H

/* Where the server is and with which key: from --connection-string, else --data
 * when given, else SLUICE_CONNECTION_STRING, else the data directory SLUICE_DATA
 * or ./sluice-data. A data directory gives its key from `keys` and the addresses
 * of the running server from `endpoints.json`. */

#include "auth/connstr.h"
#include "base/err.h"
#include "base/limits.h"
#include "gateway/cli/cli_priv.h"

struct cli_target {
	struct auth_connstr cs;		/* the namespace's name, policy, key, perhaps a hub */
	bool from_data;
	char data[LIMIT_PATH];
	bool is_running;		/* endpoints.json was there */
	/* AMQP */
	char amqp_host[256];		/* where to connect */
	int amqp_port;
	bool tls;
	char plain[64];			/* address of the plain AMQP listener, "" = off or unknown */
	/* HTTPS */
	char https_host[256];
	int https_port;
	/* Kafka */
	char kafka_host[256];
	int kafka_port;			/* 0: the server has none */
	bool kafka_tls;
	bool kafka_sasl;
	char ca[LIMIT_PATH];		/* "" = the system's */
	int timeout_ms;			/* of each answer of the management API; 0: 30 s */
};

/* `policy` picks a policy of the data directory's keys file; NULL: the first that
 * has Manage, else the first. ERR_NOT_FOUND (no such policy there, no data
 * directory), ERR_INVALID, ERR_IO with a detail. */
enum err cli_target_find(const struct cli_args *a, const char *policy, struct cli_target *out,
			 struct err_detail *d) MUST_CHECK;
/* --kafka with --plaintext: that address, without TLS, key or namespace.
 * ERR_INVALID. */
enum err cli_target_plaintext(const struct cli_args *a, struct cli_target *out,
			      struct err_detail *d) MUST_CHECK;
void cli_target_fini(struct cli_target *t);	/* wipes the key */

/* The hub named by an operand or option, else the connection string's.
 * ERR_INVALID when there is none or both are given and differ. */
enum err cli_target_hub(const struct cli_target *t, const char *given, const char **hub,
			struct err_detail *d) MUST_CHECK;

/* Splits "HOST:PORT"; brackets of an IPv6 address are removed. ERR_INVALID. */
enum err cli_split_address(const char *text, char *host, size_t host_size, int *port,
			   struct err_detail *d) MUST_CHECK;

struct cli_client;
/* Opens an AMQP client with a token for the hub (NULL: the namespace). */
enum err cli_target_amqp(const struct cli_target *t, const char *hub, struct cli_client **out,
			 struct err_detail *d) MUST_CHECK;

#endif
