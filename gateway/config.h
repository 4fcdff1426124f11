#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

/* Settings of `sluice serve`: built-in default, then --config FILE (JSON),
 * then environment (SLUICE_ + upper-case name), then flag; later wins and each
 * value remembers where it came from (--print-config). The table in config.def
 * is the only place a setting is declared. Values travel down as plain values at
 * start; no lower layer asks here.
 *
 * Hubs add up over the sources; a later one of the same name replaces the
 * earlier. Data directories of one source add up: --data again and again, a list in
 * the file, SLUICE_DATA separated by ':'. Empty variables count as not set. "off" or "" as a listener means
 * none. The file may also have the Event Hubs emulator's layout (UserConfig). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/limits.h"

struct config_hub {
	char name[LIMIT_HUB_NAME + 1];
	uint32_t partitions;		/* 0: default (4) */
	char (*groups)[LIMIT_GROUP_NAME + 1];
	size_t n_groups;
};

/* One per setting, in the order of config.def. */
enum config_setting {
#define SETTING(field, name, kind, preset, least, most, arg, help) CONFIG_SETTING_##field,
#include "gateway/config.def"
#undef SETTING
	CONFIG_SETTING__COUNT
};

struct config {
	char *data;		/* the first data directory */
	char **more_data;	/* further ones, in order */
	size_t n_more_data;
	char *host;
	char *node_host;
	char *amqps;		/* "" = off */
	char *https;
	char *metrics;
	char *amqp;
	char *kafka;
	char *kafka_plain;
	char *kafka_advertise;	/* "" or HOST:PORT */
	bool allow_plaintext;
	char *tls_cert;
	char *tls_key;
	char *tls_client_ca;
	struct config_hub *hubs;
	size_t n_hubs;
	uint32_t shards;
	uint64_t disk_reserve;
	uint64_t max_disk;		/* 0: no bound */
	uint64_t default_retention_ms;	/* 0: for ever */
	uint32_t retention_check_ms;
	uint64_t compaction_memory;
	uint32_t tombstone_retention_ms;
	uint64_t cleaner_rate;
	uint32_t throughput_units;	/* 0: not limited */
	uint32_t auto_inflate_max;
	uint32_t auto_deflate_after_ms;	/* 0: never */
	uint32_t throttle_hold_ms;
	uint64_t throttle_hold_bytes;
	uint32_t kafka_throttle_max_ms;
	uint32_t management_rate;	/* 0: not limited */
	uint32_t max_hubs;
	uint32_t max_partitions;
	uint32_t max_consumer_groups;
	uint32_t max_links;
	uint32_t scrub_period_ms;	/* 0: never */
	uint32_t export_interval_ms;
	char *log_level;
	char *log_format;	/* "text" or "json" */
	uint32_t net_loops;	/* 0: one per core */
	uint32_t http_threads;
	uint32_t max_connections;
	uint32_t max_unauthenticated_per_address;
	uint64_t max_inflight_bytes;
	uint64_t cache_bytes;
	uint64_t segment_bytes;
	uint64_t max_inflated_bytes;
	uint64_t kafka_max_request;
	uint64_t kafka_max_batch;
	uint64_t kafka_max_fetch;
	uint32_t kafka_auto_create;	/* partitions; 0: off */
	uint32_t kafka_idle_timeout_ms;
	uint32_t group_initial_delay_ms;
	uint32_t offsets_retention_ms;
	uint32_t producer_expiry_ms;
	uint32_t max_groups;
	uint32_t max_group_members;
	uint64_t max_group_bytes;
	uint32_t max_group_offsets;
	uint32_t link_credit;
	uint32_t idle_timeout_ms;
	uint32_t shutdown_grace_ms;
	bool emulator_key;	/* the file was the emulator's: SAS_KEY_VALUE is accepted on loopback */
	char *origin[CONFIG_SETTING__COUNT];	/* "default", "flag --data", ... */
};

/* Reads everything. argv are the words after "serve". *print is set by
 * --print-config. On an error the detail names file, variable or flag, the key
 * and the reason, and *out needs no config_fini:
 *   ERR_NOT_ALLOWED  the command line is wrong (unknown setting, bad value)
 *   ERR_INVALID      the file or the environment is, or settings contradict each other
 *   ERR_IO           the file cannot be read
 *   ERR_NOMEM */
enum err config_load(int argc, char **argv, struct config *out, bool *print,
		     struct err_detail *d) MUST_CHECK;
/* Exit status for a failure of config_load: 2 wrong usage, 1 otherwise. */
int config_exit_status(enum err e);
/* Every setting with its value and where it came from, one a line. */
void config_print(const struct config *c, FILE *to);
/* The settings for `sluice serve --help`, from the table. */
void config_help(FILE *to);
void config_fini(struct config *c);
/* Splits kafka_advertise: *port 0 when there is none ("HOST" alone is wrong).
 * ERR_INVALID. */
enum err config_advertise(const char *text, char *host, size_t host_size, uint16_t *port,
			  struct err_detail *d) MUST_CHECK;

#endif
