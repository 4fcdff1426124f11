#include "gateway/cli/target.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "gateway/cli/client.h"

enum { PORT_AMQPS = 5671, PORT_AMQP = 5672, PORT_HTTPS = 8443, PORT_KAFKA = 9093,
       PORT_KAFKA_PLAIN = 9092, PORT_MAX = 65535 };

static const char *not_empty(const char *s)
{
	return s != NULL && *s != '\0' ? s : NULL;
}

enum err cli_split_address(const char *text, char *host, size_t host_size, int *port,
			   struct err_detail *d)
{
	const char *colon = strrchr(text, ':');
	char *end = NULL;
	long n = colon != NULL && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10)
								     : -1;
	size_t len = colon != NULL ? (size_t)(colon - text) : 0;
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (n < 1 || n > PORT_MAX || *end != '\0' || len == 0 || len >= host_size) {
		return err_set(d, ERR_INVALID, "\"%.64s\" is not HOST:PORT", text);
	}
	memcpy(host, text, len);
	host[len] = '\0';
	*port = (int)n;
	return ERR_OK;
}

/* ---- the data directory --------------------------------------------------------- */

static json_t *load(const char *dir, const char *name, struct err_detail *d)
{
	char path[LIMIT_PATH + 32];
	json_error_t at;
	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		(void)err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
		return NULL;
	}
	json_t *root = json_loadf(f, 0, &at);
	(void)fclose(f);
	if (root == NULL) {
		(void)err_set(d, ERR_IO, "%s: line %d: %s", path, at.line, at.text);
	}
	return root;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s != NULL ? s : "";
}

static bool may_manage(const json_t *policy)
{
	size_t i;
	json_t *right;
	json_array_foreach(json_object_get(policy, "rights"), i, right) {
		const char *name = json_string_value(right);
		if (name != NULL && strcasecmp(name, "manage") == 0) {
			return true;
		}
	}
	return false;
}

static const json_t *pick_policy(const json_t *root, const char *name)
{
	const json_t *list = json_object_get(root, "policies");
	size_t i;
	json_t *policy;
	json_array_foreach(list, i, policy) {
		if (name != NULL ? strcasecmp(text_of(policy, "name"), name) == 0
				 : may_manage(policy)) {
			return policy;
		}
	}
	return name == NULL ? json_array_get(list, 0) : NULL;
}

static enum err copy_text(char *out, size_t size, const char *text, struct err_detail *d)
{
	int n = snprintf(out, size, "%s", text);
	return n >= 0 && (size_t)n < size ? ERR_OK
					  : err_set(d, ERR_INVALID, "\"%.32s...\" is too long", text);
}

static enum err read_keys(struct cli_target *t, const char *policy, struct err_detail *d)
{
	json_t *root = load(t->data, "keys", d);
	if (root == NULL) {
		err_wrap(d, "no server found: give --connection-string or --data");
		return ERR_NOT_FOUND;
	}
	const json_t *found = pick_policy(root, policy);
	enum err e = ERR_OK;
	if (found == NULL) {
		e = err_set(d, ERR_NOT_FOUND, "%s/keys has no policy \"%.64s\"", t->data,
			    policy != NULL ? policy : "");
	}
	if (e == ERR_OK) {
		e = copy_text(t->cs.host, sizeof t->cs.host, text_of(root, "host"), d);
	}
	if (e == ERR_OK) {
		e = copy_text(t->cs.key_name, sizeof t->cs.key_name, text_of(found, "name"), d);
	}
	if (e == ERR_OK) {
		e = copy_text(t->cs.key, sizeof t->cs.key, text_of(found, "primary"), d);
	}
	json_decref(root);
	return e;
}

/* Where to connect for a listener bound to `address`. With the development
 * certificate, whose names include loopback, a loopback or wildcard address is
 * used as it is, so that the namespace's name need not resolve. */
static enum err reach(const struct cli_target *t, const char *address, char *host, size_t size,
		      int *port, struct err_detail *d)
{
	char bound[256];
	enum err e = cli_split_address(address, bound, sizeof bound, port, d);
	if (e != ERR_OK) {
		return e;
	}
	const char *to = t->cs.host;
	if (*t->ca != '\0') {
		if (strncmp(bound, "127.", 4) == 0 || strcmp(bound, "::1") == 0) {
			to = bound;
		} else if (strcmp(bound, "0.0.0.0") == 0 || strcmp(bound, "::") == 0) {
			to = "127.0.0.1";
		}
	}
	return copy_text(host, size, to, d);
}

static enum err reach_kafka(struct cli_target *t, const char *kafka, const char *plain,
			    struct err_detail *d)
{
	if (*kafka != '\0') {
		return reach(t, kafka, t->kafka_host, sizeof t->kafka_host, &t->kafka_port, d);
	}
	if (*plain != '\0') {
		t->kafka_tls = false;
		return cli_split_address(plain, t->kafka_host, sizeof t->kafka_host, &t->kafka_port, d);
	}
	t->kafka_port = 0;
	return ERR_OK;
}

static enum err read_endpoints(struct cli_target *t, struct err_detail *d)
{
	json_t *root = load(t->data, "endpoints.json", d);
	if (root == NULL) {
		return ERR_OK;	/* not running: the usual ports */
	}
	t->is_running = true;
	enum err e = copy_text(t->ca, sizeof t->ca, text_of(root, "ca"), d);
	if (e == ERR_OK && *t->ca != '\0' && *t->ca != '/') {
		/* As the server was started; it may have been in another directory. */
		int n = snprintf(t->ca, sizeof t->ca, "%s/tls/ca.pem", t->data);
		e = n > 0 && (size_t)n < sizeof t->ca ? ERR_OK : ERR_INVALID;
	}
	if (e == ERR_OK) {
		e = copy_text(t->plain, sizeof t->plain, text_of(root, "amqp"), d);
	}
	const char *amqps = text_of(root, "amqps");
	const char *https = text_of(root, "https");
	if (e == ERR_OK && *amqps != '\0') {
		e = reach(t, amqps, t->amqp_host, sizeof t->amqp_host, &t->amqp_port, d);
	} else if (e == ERR_OK && *t->plain != '\0') {
		t->tls = false;
		e = cli_split_address(t->plain, t->amqp_host, sizeof t->amqp_host, &t->amqp_port, d);
	} else if (e == ERR_OK) {
		t->amqp_port = 0;
	}
	if (e == ERR_OK && *https != '\0') {
		e = reach(t, https, t->https_host, sizeof t->https_host, &t->https_port, d);
	} else if (e == ERR_OK) {
		t->https_port = 0;
	}
	if (e == ERR_OK) {
		e = reach_kafka(t, text_of(root, "kafka"), text_of(root, "kafka_plain"), d);
	}
	json_decref(root);
	return e;
}

static enum err from_data(struct cli_target *t, const char *dir, const char *policy,
			  struct err_detail *d)
{
	t->from_data = true;
	enum err e = copy_text(t->data, sizeof t->data, dir, d);
	if (e == ERR_OK) {
		e = read_keys(t, policy, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	(void)snprintf(t->amqp_host, sizeof t->amqp_host, "%s", t->cs.host);
	(void)snprintf(t->https_host, sizeof t->https_host, "%s", t->cs.host);
	(void)snprintf(t->kafka_host, sizeof t->kafka_host, "%s", t->cs.host);
	int n = snprintf(t->ca, sizeof t->ca, "%s/tls/ca.pem", dir);
	if (n < 0 || (size_t)n >= sizeof t->ca || access(t->ca, R_OK) != 0) {
		t->ca[0] = '\0';
	}
	e = read_endpoints(t, d);
	/* As a printed connection string needs it. */
	t->cs.port = t->amqp_port != PORT_AMQPS && t->tls ? t->amqp_port : 0;
	return e;
}

/* ---- connection strings ------------------------------------------------------------ */

static enum err from_connstr(struct cli_target *t, const char *text, const char *where,
			     struct err_detail *d)
{
	enum err e = auth_connstr_parse(span_str(text), &t->cs, d);
	if (e != ERR_OK) {
		err_wrap(d, "%s", where);
		return e;
	}
	if (*t->cs.host == '\0') {
		return err_set(d, ERR_INVALID, "%s: Endpoint is missing", where);
	}
	t->tls = !t->cs.emulator;
	t->amqp_port = t->cs.port != 0 ? t->cs.port : t->tls ? PORT_AMQPS : PORT_AMQP;
	(void)snprintf(t->amqp_host, sizeof t->amqp_host, "%s", t->cs.host);
	(void)snprintf(t->https_host, sizeof t->https_host, "%s", t->cs.host);
	(void)snprintf(t->kafka_host, sizeof t->kafka_host, "%s", t->cs.host);
	t->kafka_tls = t->tls;
	t->kafka_port = t->tls ? PORT_KAFKA : PORT_KAFKA_PLAIN;
	return ERR_OK;
}

/* The CA of a data directory also serves a connection string, if there is one:
 * a server on the same machine is the usual case. */
static void ca_of_data(struct cli_target *t, const char *dir)
{
	int n = snprintf(t->ca, sizeof t->ca, "%s/tls/ca.pem", dir);
	if (n < 0 || (size_t)n >= sizeof t->ca || access(t->ca, R_OK) != 0) {
		t->ca[0] = '\0';
	}
}

/* The server's variable may name several, with ':' between them: the first holds the
 * keys. NULL: it names none. */
static const char *first_dir(char *out, size_t size)
{
	const char *all = not_empty(getenv("SLUICE_DATA"));
	size_t n = all != NULL ? strcspn(all, ":") : 0;
	if (n == 0 || n >= size) {
		return all;
	}
	memcpy(out, all, n);
	out[n] = '\0';
	return out;
}

static enum err split_kafka(const struct cli_args *a, struct cli_target *out, struct err_detail *d)
{
	enum err e = cli_split_address(a->v[CLI_KAFKA], out->kafka_host, sizeof out->kafka_host,
				       &out->kafka_port, d);
	if (e != ERR_OK) {
		err_wrap(d, "--kafka");
	}
	return e;
}

enum err cli_target_find(const struct cli_args *a, const char *policy, struct cli_target *out,
			 struct err_detail *d)
{
	const char *given = a->v[CLI_CONNECTION_STRING];
	const char *dir = a->v[CLI_DATA];
	const char *env = not_empty(getenv("SLUICE_CONNECTION_STRING"));
	const char *where = "--connection-string";
	char first[LIMIT_PATH];
	*out = (struct cli_target){.amqp_port = PORT_AMQPS,
				   .https_port = PORT_HTTPS,
				   .kafka_port = PORT_KAFKA,
				   .tls = true,
				   .kafka_tls = true,
				   .kafka_sasl = true};
	if (given == NULL && dir == NULL) {
		given = env;
		where = "SLUICE_CONNECTION_STRING";
	}
	if (dir == NULL) {
		dir = first_dir(first, sizeof first);
		dir = dir != NULL ? dir : "./sluice-data";
	}
	enum err e = given != NULL ? from_connstr(out, given, where, d)
				   : from_data(out, dir, policy, d);
	if (e == ERR_OK && given != NULL) {
		ca_of_data(out, dir);
	}
	const char *ca = a->v[CLI_CA] != NULL ? a->v[CLI_CA] : not_empty(getenv("SLUICE_CA"));
	if (e == ERR_OK && ca != NULL) {
		e = copy_text(out->ca, sizeof out->ca, ca, d);
	}
	const char *https = a->v[CLI_HTTPS];
	https = https != NULL ? https : not_empty(getenv("SLUICE_HTTPS"));
	if (e == ERR_OK && https != NULL) {
		e = cli_split_address(https, out->https_host, sizeof out->https_host,
				      &out->https_port, d);
		if (e != ERR_OK) {
			err_wrap(d, "%s", a->v[CLI_HTTPS] != NULL ? "--https" : "SLUICE_HTTPS");
		}
	}
	if (e == ERR_OK && a->v[CLI_KAFKA] != NULL) {
		e = split_kafka(a, out, d);
		out->kafka_tls = !out->cs.emulator;
	}
	if (e != ERR_OK) {
		cli_target_fini(out);
	}
	return e;
}

enum err cli_target_plaintext(const struct cli_args *a, struct cli_target *out,
			      struct err_detail *d)
{
	*out = (struct cli_target){0};
	return a->v[CLI_KAFKA] != NULL ? split_kafka(a, out, d)
				       : err_set(d, ERR_INVALID, "--plaintext needs --kafka HOST:PORT");
}

void cli_target_fini(struct cli_target *t)
{
	auth_connstr_wipe(&t->cs);
}

enum err cli_target_hub(const struct cli_target *t, const char *given, const char **hub,
			struct err_detail *d)
{
	*hub = given != NULL ? given : not_empty(t->cs.hub);
	if (*hub == NULL) {
		return err_set(d, ERR_INVALID, "no event hub given");
	}
	if (given != NULL && *t->cs.hub != '\0' && strcasecmp(given, t->cs.hub) != 0) {
		return err_set(d, ERR_INVALID,
			       "the connection string is for the hub \"%.64s\", not \"%.64s\"",
			       t->cs.hub, given);
	}
	return ERR_OK;
}

enum err cli_target_amqp(const struct cli_target *t, const char *hub, struct cli_client **out,
			 struct err_detail *d)
{
	char resource[LIMIT_HUB_NAME + 300];
	if (t->amqp_port == 0) {
		return err_set(d, ERR_INVALID, "the server of %s has no AMQP listener", t->data);
	}
	(void)snprintf(resource, sizeof resource, "sb://%s%s%s", t->cs.host, hub != NULL ? "/" : "",
		       hub != NULL ? hub : "");
	struct cli_client_options o = {
		.host = t->amqp_host,
		.hostname = t->cs.host,
		.port = t->amqp_port,
		.tls = t->tls,
		.ca_file = *t->ca != '\0' ? t->ca : NULL,
		.resource = resource,
		.key_name = *t->cs.key_name != '\0' ? t->cs.key_name : NULL,
		.key = *t->cs.key != '\0' ? t->cs.key : NULL,
		.token = *t->cs.signature != '\0' ? t->cs.signature : NULL,
	};
	enum err e = cli_client_open(&o, out, d);
	if (e != ERR_OK) {
		err_wrap(d, "%s:%d", t->amqp_host, t->amqp_port);
	}
	return e;
}
