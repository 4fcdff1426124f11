#include "gateway/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/amqp/amqp.h"
#include "gateway/core/core.h"
#include "gateway/found.h"
#include "gateway/group/groups.h"
#include "gateway/http/http.h"
#include "gateway/kafka/kafka.h"
#include "gateway/net/stream.h"
#include "gateway/net/tls.h"
#include "gateway/wire/compact.h"

enum {
	HANDSHAKE_TIMEOUT_MS = 20000,	/* within the contract's 20 s to authorise */
	HTTP_IDLE_MS = 120000,
	CLOCK_DOUBT_MS = 600000,	/* long enough for somebody to set it right */
	DESCRIPTORS_OTHER = 128,	/* listeners, loops, state, logs */
	DESCRIPTORS_VOLUME = 192,	/* its open segments, two each, and its writers */
	DESCRIPTORS_CONNECTION = 3,	/* an HTTPS one: the socket and the pair behind it */
	WATCH_INTERVAL_MS = 500,	/* how soon a changed key reaches the keys file */
};

#define EMULATOR_KEY "SAS_KEY_VALUE"

enum { DOOR_AMQPS, DOOR_AMQP, DOOR_HTTPS, DOOR_METRICS, DOOR_KAFKA, DOOR_KAFKA_PLAIN, DOORS };

struct server {
	const struct config *config;
	struct store *store;
	struct core *core;
	struct net_tls *tls;
	struct amqp_front *amqp;
	struct http_front *http;
	struct groups *groups;
	struct kafka_front *kafka;
	struct kafka_listener *kafka_tls;
	struct kafka_listener *kafka_plain;
	struct net *net;
	char ca[LIMIT_PATH];		/* what clients trust; "" with the user's own certificate */
	char bound[DOORS][64];		/* "" = off */
	uint64_t keys_version;
	uint32_t max_connections;
};

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 ||
	       strncasecmp(address, "localhost:", 10) == 0;
}

/* The emulator's key is public, so it is served to this machine only. Which
 * listeners may do without TLS is checked with the settings. */
static enum err check_addresses(const struct config *c, struct err_detail *d)
{
	const struct {
		const char *flag;
		const char *address;
	} doors[] = {{"amqps", c->amqps},
		     {"https", c->https},
		     {"amqp", c->amqp},
		     {"kafka", c->kafka},
		     {"kafka-plain", c->kafka_plain}};
	for (size_t i = 0; c->emulator_key && i < sizeof doors / sizeof *doors; i++) {
		if (doors[i].address[0] != '\0' && !is_loopback(doors[i].address)) {
			return err_set(d, ERR_INVALID,
				       "--%s %s: with an emulator's configuration file (its key is public) "
				       "only loopback addresses are served",
				       doors[i].flag, doors[i].address);
		}
	}
	return ERR_OK;
}

static enum err start_store(struct server *s, struct err_detail *d)
{
	const struct config *c = s->config;
	struct store_options o = {
		.dir = c->data,
		.more_dirs = (const char *const *)c->more_data,
		.n_more_dirs = (uint32_t)c->n_more_data,
		.shards = c->shards,
		.node_id = 1,
		.segment_max_bytes = c->segment_bytes,
		.cache_bytes = c->cache_bytes,
		.disk_reserve_bytes = c->disk_reserve,
		.producer_expiry_ms = c->producer_expiry_ms,
		.max_disk_bytes = c->max_disk,
		.retention_check_ms = c->retention_check_ms,
		.clock_doubt_ms = CLOCK_DOUBT_MS,
		.compactor = &wire_compactor,
		.tombstone_ms = c->tombstone_retention_ms,
		.compaction_memory = c->compaction_memory,
		.clean_rate = c->cleaner_rate,
		.scrub_period_ms = c->scrub_period_ms,
		.export_interval_ms = c->export_interval_ms,
	};
	enum err e = store_open(&o, &s->store, d);
	if (e == ERR_OK) {
		e = found_namespace(s->store, c, d);
	}
	if (e == ERR_OK) {
		e = found_units(s->store, c, d);
	}
	if (e == ERR_OK) {
		e = found_export_keys(s->store, c->host, d);
	}
	return e;
}

static enum err start_tls(struct server *s, struct err_detail *d)
{
	const struct config *c = s->config;
	if ((c->tls_cert[0] != '\0') != (c->tls_key[0] != '\0')) {
		return err_set(d, ERR_INVALID, "--tls-cert and --tls-key go together");
	}
	char cert[LIMIT_PATH];
	char key[LIMIT_PATH];
	if (c->tls_cert[0] != '\0') {
		snprintf(cert, sizeof cert, "%s", c->tls_cert);
		snprintf(key, sizeof key, "%s", c->tls_key);
	} else {
		char dir[LIMIT_PATH - 16];
		snprintf(dir, sizeof dir, "%s/tls", c->data);
		if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
			return err_set(d, ERR_IO, "cannot make %s: %s", dir, strerror(errno));
		}
		enum err e = net_tls_make_development(dir, c->host, c->node_host, d);
		if (e != ERR_OK) {
			return e;
		}
		snprintf(cert, sizeof cert, "%s/cert.pem", dir);
		snprintf(key, sizeof key, "%s/key.pem", dir);
		snprintf(s->ca, sizeof s->ca, "%s/ca.pem", dir);
	}
	struct net_tls_files files = {
		.cert = cert,
		.key = key,
		.client_ca = c->tls_client_ca[0] != '\0' ? c->tls_client_ca : NULL,
	};
	return net_tls_new(&files, &s->tls, d);
}

static enum err start_kafka(struct server *s, struct err_detail *d)
{
	const struct config *c = s->config;
	struct groups_options groups = {
		.store = s->store,
		.offsets_retention_ms = c->offsets_retention_ms,
		.initial_delay_ms = c->group_initial_delay_ms,
		.max_groups = c->max_groups,
		.max_members = c->max_group_members,
		.max_offsets = c->max_group_offsets,
		.max_bytes = c->max_group_bytes,
	};
	enum err e = groups_new(&groups, &s->groups, d);
	if (e != ERR_OK) {
		return e;
	}
	struct kafka_options kafka = {
		.core = s->core,
		.groups = s->groups,
		.node_id = 1,
		.max_request_bytes = c->kafka_max_request,
		.max_batch_bytes = c->kafka_max_batch,
		.max_inflated_bytes = c->max_inflated_bytes,
		.max_fetch_bytes = c->kafka_max_fetch,
		.auto_create = c->kafka_auto_create,
		.segment_bytes = c->segment_bytes,
		.tombstone_retention_ms = c->tombstone_retention_ms,
		.idle_timeout_ms = c->kafka_idle_timeout_ms,
		.throttle_max_ms = c->kafka_throttle_max_ms,
	};
	e = kafka_front_new(&kafka, &s->kafka);
	if (e == ERR_OK) {
		e = kafka_listener_new(s->kafka, &s->kafka_tls);
	}
	if (e == ERR_OK) {
		e = kafka_listener_new(s->kafka, &s->kafka_plain);
	}
	return e == ERR_OK ? ERR_OK : err_set(d, e, "%s", err_text(e));
}

static enum err start_fronts(struct server *s, struct err_detail *d)
{
	const struct config *c = s->config;
	struct core_options core = {
		.store = s->store,
		.host = c->host,
		.inflight_max_bytes = c->max_inflight_bytes,
		.default_retention_ms = (int64_t)c->default_retention_ms,
		.extra_key = c->emulator_key ? EMULATOR_KEY : NULL,
		.throttle_hold_ms = c->throttle_hold_ms,
		.throttle_delay_ms = c->kafka_throttle_max_ms,
		.throttle_hold_bytes = (size_t)c->throttle_hold_bytes,
		.management_rate = c->management_rate,
		.max_hubs = c->max_hubs,
		.max_partitions = c->max_partitions,
		.max_consumer_groups = c->max_consumer_groups,
	};
	enum err e = core_new(&core, &s->core);
	if (e != ERR_OK) {
		return err_set(d, e, "%s", err_text(e));
	}
	struct amqp_options amqp = {
		.core = s->core,
		.link_credit = c->link_credit,
		.idle_timeout_ms = c->idle_timeout_ms,
		.max_message_bytes = LIMIT_MESSAGE,
		.max_links = c->max_links,
	};
	e = amqp_front_new(&amqp, &s->amqp);
	if (e != ERR_OK) {
		return err_set(d, e, "%s", err_text(e));
	}
	e = start_kafka(s, d);
	if (e != ERR_OK) {
		return e;
	}
	struct http_options http = {
		.core = s->core,
		.groups = s->groups,
		.threads = c->http_threads,
		.max_body_bytes = LIMIT_MESSAGE,
		.idle_timeout_ms = HTTP_IDLE_MS,
	};
	return http_front_new(&http, &s->http, d);
}

/* Clients come back to the address that metadata names: the one that was set, for
 * the listener with TLS whole, for the one without its host; else this node's
 * host and the port that was bound. */
static enum err advertise(struct server *s, struct err_detail *d)
{
	const struct config *c = s->config;
	char host[256];
	uint16_t port = 0;
	snprintf(host, sizeof host, "%s", c->node_host);
	enum err e = ERR_OK;
	if (c->kafka_advertise[0] != '\0') {
		e = config_advertise(c->kafka_advertise, host, sizeof host, &port, d);
	}
	const struct {
		struct kafka_listener *listener;
		const char *bound;
		uint16_t port;
	} each[] = {
		{s->kafka_tls, s->bound[DOOR_KAFKA], port},
		{s->kafka_plain, s->bound[DOOR_KAFKA_PLAIN], 0},
	};
	for (size_t i = 0; i < sizeof each / sizeof *each && e == ERR_OK; i++) {
		const char *colon = strrchr(each[i].bound, ':');
		if (colon != NULL) {
			long bound_port = strtol(colon + 1, NULL, 10);
			e = kafka_listener_advertise(each[i].listener, host,
						     each[i].port != 0 ? each[i].port
								       : (uint16_t)bound_port);
		}
	}
	return e;
}

static enum err start_net(struct server *s, struct err_detail *d)
{
	const struct config *c = s->config;
	struct net_options o = {
		.loops = (int)c->net_loops,
		.max_connections = (int)s->max_connections,
		.max_unauthorised_per_address = (int)c->max_unauthenticated_per_address,
		.handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
	};
	enum err e = net_new(&o, &s->net, d);
	const struct net_listen_options doors[DOORS] = {
		[DOOR_AMQPS] = {c->amqps, &amqp_protocol, s->amqp, s->tls},
		[DOOR_AMQP] = {c->amqp, &amqp_protocol, s->amqp, NULL},
		[DOOR_HTTPS] = {c->https, &http_protocol, s->http, s->tls},
		[DOOR_METRICS] = {c->metrics, &http_metrics_protocol, s->http, NULL},
		[DOOR_KAFKA] = {c->kafka, &kafka_protocol, s->kafka_tls, s->tls},
		[DOOR_KAFKA_PLAIN] = {c->kafka_plain, &kafka_protocol, s->kafka_plain, NULL},
	};
	for (int i = 0; i < DOORS && e == ERR_OK; i++) {
		if (doors[i].address[0] != '\0') {
			e = net_listen(s->net, &doors[i], s->bound[i], d);
		}
	}
	if (e == ERR_OK) {
		e = advertise(s, d);
	}
	return e == ERR_OK ? net_start(s->net, d) : e;
}

/* "value" or null, for the ready line. Addresses and paths hold no quotes but
 * are escaped where they could. */
static void add_field(struct str *out, const char *name, const char *value)
{
	if (value[0] == '\0') {
		str_printf(out, ",\"%s\":null", name);
		return;
	}
	str_printf(out, ",\"%s\":\"", name);
	for (const char *p = value; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\') {
			str_add(out, "\\");
		}
		str_addn(out, p, 1);
	}
	str_add(out, "\"");
}

static enum err say_ready(struct server *s, struct err_detail *d)
{
	struct str out = {0};
	str_printf(&out, "{\"event\":\"ready\",\"version\":\"%s\",\"node\":1", SLUICE_VERSION);
	add_field(&out, "amqps", s->bound[DOOR_AMQPS]);
	add_field(&out, "amqp", s->bound[DOOR_AMQP]);
	add_field(&out, "https", s->bound[DOOR_HTTPS]);
	add_field(&out, "kafka", s->bound[DOOR_KAFKA]);
	add_field(&out, "kafka_plain", s->bound[DOOR_KAFKA_PLAIN]);
	add_field(&out, "metrics", s->bound[DOOR_METRICS]);
	add_field(&out, "peer", "");
	add_field(&out, "ca", s->ca);
	str_add(&out, "}\n");
	enum err e = out.bad ? err_set(d, ERR_NOMEM, "%s", err_text(ERR_NOMEM))
			     : found_write_file(store_dir(s->store), "endpoints.json", out.p, out.len, d);
	if (e == ERR_OK) {
		http_front_set_ready(s->http, true);
		fputs(out.p, stdout);
		fflush(stdout);
		log_info("READY",
			 "version=%s amqps=%s amqp=%s https=%s kafka=%s kafka_plain=%s metrics=%s data=%s",
			 SLUICE_VERSION, s->bound[DOOR_AMQPS], s->bound[DOOR_AMQP],
			 s->bound[DOOR_HTTPS], s->bound[DOOR_KAFKA], s->bound[DOOR_KAFKA_PLAIN],
			 s->bound[DOOR_METRICS], log_quote(store_dir(s->store)));
	}
	str_fini(&out);
	return e;
}

/* Keys changed through the management API go to the exported file. */
static void watch_keys(struct server *s)
{
	const struct catalog *cat = store_catalog(s->store);
	uint64_t version = cat->version;
	catalog_drop(&cat);
	if (version == s->keys_version) {
		return;
	}
	struct err_detail d = {""};
	if (found_export_keys(s->store, s->config->host, &d) == ERR_OK) {
		s->keys_version = version;
	} else {
		log_error("KEYS-NOT-WRITTEN", "reason=%s", log_quote(d.text));
	}
}

static void reload(struct server *s)
{
	struct err_detail d = {""};
	if (net_tls_reload(s->tls, &d) == ERR_OK) {
		log_info("TLS-RELOADED", "new connections use the new certificate");
	} else {
		log_error("TLS-RELOAD-FAILED", "reason=%s keeping=present", log_quote(d.text));
	}
}

static void run(struct server *s, const sigset_t *signals)
{
	for (;;) {
		struct timespec wait = {.tv_nsec = WATCH_INTERVAL_MS * 1000000L};
		int sig = sigtimedwait(signals, NULL, &wait);
		if (sig == SIGTERM || sig == SIGINT) {
			log_info("STOPPING", "signal=%s", sig == SIGTERM ? "SIGTERM" : "SIGINT");
			return;
		}
		if (sig == SIGHUP) {
			reload(s);
		}
		watch_keys(s);
	}
}

/* The order: no new connections and the present ones end (their appends are
 * still answered); what waits for capacity is given up; the groups and the store answer everything outstanding and
 * stop; then the threads that waited for those answers. */
static void stop(struct server *s)
{
	if (s->http != NULL) {
		http_front_set_ready(s->http, false);
	}
	if (s->net != NULL) {
		net_drain(s->net, (int)s->config->shutdown_grace_ms);
	}
	if (s->core != NULL) {
		core_stop_waiting(s->core);
	}
	if (s->groups != NULL) {
		groups_close(s->groups);
	}
	if (s->store != NULL) {
		store_close(s->store);
	}
	http_front_free(&s->http);
	if (s->net != NULL) {
		net_stop(&s->net, 0);
	}
	kafka_front_free(&s->kafka);
	groups_free(&s->groups);
	amqp_front_free(&s->amqp);
	core_free(&s->core);
	store_free(&s->store);
	net_tls_free(&s->tls);
}

/* Takes what descriptors the system allows. Connections never get those that the store
 * needs: it ends the process when it cannot write. How many there may be. */
static uint32_t descriptors_for_connections(const struct config *c)
{
	uint32_t wanted = (uint32_t)c->max_connections;
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
		return wanted;
	}
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	rlim_t kept = DESCRIPTORS_OTHER + NET_SURPLUS_MAX +
		      (rlim_t)DESCRIPTORS_VOLUME * (1 + c->n_more_data);
	rlim_t most = limit.rlim_cur > kept ? (limit.rlim_cur - kept) / DESCRIPTORS_CONNECTION : 1;
	if (limit.rlim_cur == RLIM_INFINITY || most >= wanted) {
		return wanted;
	}
	log_info("FEW-DESCRIPTORS", "limit=%llu wanted=%u connections=%llu raise RLIMIT_NOFILE for more",
		 (unsigned long long)limit.rlim_cur, wanted, (unsigned long long)most);
	return (uint32_t)most;
}

static enum log_level level_of(const char *name)
{
	return strcmp(name, "debug") == 0  ? LOG_DEBUG
	       : strcmp(name, "warn") == 0 ? LOG_WARN
	       : strcmp(name, "error") == 0 ? LOG_ERROR
					   : LOG_INFO;
}

int server_run(const struct config *c)
{
	struct server s = {.config = c};
	struct err_detail d = {""};
	log_setup(level_of(c->log_level), strcmp(c->log_format, "json") == 0);
	signal(SIGPIPE, SIG_IGN);
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	s.max_connections = descriptors_for_connections(c);

	enum err e = check_addresses(c, &d);
	if (e == ERR_OK) {
		e = start_store(&s, &d);
	}
	if (e == ERR_OK) {
		e = start_tls(&s, &d);
	}
	if (e == ERR_OK) {
		e = start_fronts(&s, &d);
	}
	if (e == ERR_OK) {
		e = start_net(&s, &d);
	}
	if (e == ERR_OK) {
		e = say_ready(&s, &d);
	}
	if (e == ERR_OK) {
		run(&s, &signals);
	} else {
		fprintf(stderr, "sluice serve: %s\n", d.text[0] != '\0' ? d.text : err_text(e));
	}
	stop(&s);
	if (e == ERR_OK) {
		log_info("STOPPED", "data=%s", log_quote(c->data));
	}
	return e == ERR_OK ? 0 : 1;
}
