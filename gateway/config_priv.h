#ifndef GATEWAY_CONFIG_PRIV_H
#define GATEWAY_CONFIG_PRIV_H

/* The table of settings as data, shared by the files of the configuration. */

#include "gateway/config.h"

enum config_kind {
	CONFIG_TEXT,
	CONFIG_HOST,
	CONFIG_LISTEN,
	CONFIG_FLAG,
	CONFIG_COUNT,	/* uint32_t */
	CONFIG_SIZE,	/* uint64_t, bytes */
	CONFIG_TIME,	/* uint32_t, ms */
	CONFIG_AGE,	/* uint64_t, ms */
	CONFIG_CHOICE,
	CONFIG_HUBS,
	CONFIG_DIRS,	/* data and more_data */
};

struct config_row {
	const char *name;
	const char *preset;
	const char *arg;
	const char *help;
	uint64_t least;
	uint64_t most;
	size_t offset;
	enum config_kind kind;
};

extern const struct config_row config_rows[CONFIG_SETTING__COUNT];

/* Finds a setting by its name; '_' counts as '-'. CONFIG_SETTING__COUNT: none. */
enum config_setting config_find(const char *name, size_t n);

/* Takes one value as text. A directory with the origin of the last one is added to it,
 * with another it replaces all. ERR_INVALID with the reason only; the caller adds
 * where it stood. ERR_NOMEM. */
enum err config_set(struct config *c, enum config_setting at, const char *text,
		    const char *origin, struct err_detail *d) MUST_CHECK;

/* Adds a hub or replaces the one of that name. Gives it in *out (borrowed until
 * the next hub is added) when out is not NULL. */
enum err config_add_hub(struct config *c, const char *name, uint64_t partitions,
			struct config_hub **out, struct err_detail *d) MUST_CHECK;
/* $Default in any case is accepted and not kept: it always exists. */
enum err config_add_group(struct config_hub *hub, const char *name,
			  struct err_detail *d) MUST_CHECK;

/* Reads a configuration file of either layout into *c. ERR_INVALID, ERR_IO,
 * ERR_NOMEM, each with a detail that begins with the file's name. */
enum err config_read_file(struct config *c, const char *path, struct err_detail *d) MUST_CHECK;

/* False for listeners other than loopback ones; "" is fine. */
bool config_is_loopback(const char *listen);

#endif
