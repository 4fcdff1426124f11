/* The kinds of settings: from text to members of struct config. */

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "gateway/config_priv.h"
#include "gateway/units.h"

enum { HOST_MAX = 253, PORT_MAX = 65535, PORT_DIGITS = 5 };

const struct config_row config_rows[CONFIG_SETTING__COUNT] = {
#define SETTING(field, name, kind, preset, least, most, arg, help)                             \
	[CONFIG_SETTING_##field] = {name,  preset, arg, help, least, most,                     \
				    offsetof(struct config, field), CONFIG_##kind},
#include "gateway/config.def"
#undef SETTING
};

enum config_setting config_find(const char *name, size_t n)
{
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		const char *row = config_rows[i].name;
		size_t at = 0;
		while (at < n && row[at] != '\0' &&
		       (row[at] == name[at] || (row[at] == '-' && name[at] == '_'))) {
			at++;
		}
		if (at == n && row[at] == '\0') {
			return (enum config_setting)i;
		}
	}
	return CONFIG_SETTING__COUNT;
}

static bool is_alnum(char c)
{
	char l = (char)(c | 0x20);
	return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9');
}

static enum err check_host(const char *text, struct err_detail *d)
{
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++) {
		if (!is_alnum(text[i]) && text[i] != '.' && text[i] != '-' && text[i] != '_') {
			return err_set(d, ERR_INVALID, "\"%.64s\" is not a host name", text);
		}
	}
	if (n > HOST_MAX) {
		return err_set(d, ERR_INVALID, "a host name has at most %d characters", HOST_MAX);
	}
	return ERR_OK;
}

/* ADDR:PORT, an IPv6 address in brackets. */
static enum err check_listen(const char *text, struct err_detail *d)
{
	const char *colon = strrchr(text, ':');
	const char *digits = colon != NULL ? colon + 1 : "";
	size_t n = strlen(digits);
	bool ok = colon != NULL && colon != text && n > 0 && n <= PORT_DIGITS &&
		  strspn(digits, "0123456789") == n && atol(digits) <= PORT_MAX;
	if (ok && text[0] == '[') {
		ok = colon[-1] == ']';
	} else if (ok) {
		ok = memchr(text, ':', (size_t)(colon - text)) == NULL;
	}
	if (!ok) {
		return err_set(d, ERR_INVALID,
			       "\"%.64s\" is not ADDR:PORT (like 127.0.0.1:5671, [::1]:0) or off",
			       text);
	}
	return ERR_OK;
}

bool config_is_loopback(const char *listen)
{
	return *listen == '\0' || strncmp(listen, "127.", 4) == 0 ||
	       strncmp(listen, "[::1]:", 6) == 0 || strncasecmp(listen, "localhost:", 10) == 0;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);
	for (const char *p = choices; p != NULL; p = strchr(p, '|')) {
		p += *p == '|';
		if (n > 0 && strncmp(p, text, n) == 0 && (p[n] == '|' || p[n] == '\0')) {
			return true;
		}
	}
	return false;
}

static enum err parse_flag(const char *text, bool *out, struct err_detail *d)
{
	static const char *const yes[] = {"true", "1", "yes", "on"};
	static const char *const no[] = {"false", "0", "no", "off"};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*out = strcasecmp(text, yes[i]) == 0;
			return ERR_OK;
		}
	}
	return err_set(d, ERR_INVALID, "\"%.64s\" is neither true nor false", text);
}

/* Replaces the text at `offset`. */
static enum err keep_text(struct config *c, size_t offset, const char *text)
{
	char **at = (char **)(void *)((char *)c + offset);
	char *copy = mem_strdup(text);
	if (copy == NULL) {
		return ERR_NOMEM;
	}
	mem_free(*at);
	*at = copy;
	return ERR_OK;
}

static enum err set_text(struct config *c, const struct config_row *row, const char *text,
			 struct err_detail *d)
{
	enum err e = ERR_OK;
	if (strlen(text) >= LIMIT_PATH) {
		return err_set(d, ERR_INVALID, "longer than %d characters", LIMIT_PATH - 1);
	}
	if (row->kind == CONFIG_LISTEN) {
		if (strcasecmp(text, "off") == 0) {
			text = "";
		}
		e = *text != '\0' ? check_listen(text, d) : ERR_OK;
	} else if (row->kind == CONFIG_HOST) {
		e = check_host(text, d);
	} else if (row->kind == CONFIG_CHOICE && !is_choice(row->arg, text)) {
		e = err_set(d, ERR_INVALID, "\"%.64s\" is not one of %s", text, row->arg);
	}
	return e != ERR_OK ? e : keep_text(c, row->offset, text);
}

static void bound_text(const struct config_row *row, uint64_t v, char out[UNITS_TEXT])
{
	if (row->kind == CONFIG_SIZE) {
		units_size_text(v, out);
	} else if (row->kind == CONFIG_TIME || row->kind == CONFIG_AGE) {
		units_ms_text(v, out);
	} else {
		(void)snprintf(out, UNITS_TEXT, "%llu", (unsigned long long)v);
	}
}

static enum err set_number(struct config *c, const struct config_row *row, const char *text,
			   struct err_detail *d)
{
	uint64_t v = 0;
	enum err e = ERR_OK;
	if (row->kind == CONFIG_COUNT) {
		e = units_parse_count(text, &v, d);
	} else if (row->least != 0 || strcasecmp(text, "off") != 0) {
		e = row->kind == CONFIG_SIZE ? units_parse_size(text, &v, d)
					     : units_parse_ms(text, &v, d);
	}
	if (e != ERR_OK) {
		return e;
	}
	if (v < row->least || v > row->most) {
		char least[UNITS_TEXT];
		char most[UNITS_TEXT];
		bound_text(row, row->least, least);
		bound_text(row, row->most, most);
		return err_set(d, ERR_INVALID, "%.64s is outside %s to %s", text, least, most);
	}
	void *at = (char *)c + row->offset;
	if (row->kind == CONFIG_SIZE || row->kind == CONFIG_AGE) {
		*(uint64_t *)at = v;
	} else {
		*(uint32_t *)at = (uint32_t)v;
	}
	return ERR_OK;
}

static void drop_more_data(struct config *c)
{
	for (size_t i = 0; i < c->n_more_data; i++) {
		mem_free(c->more_data[i]);
	}
	mem_free(c->more_data);
	c->more_data = NULL;
	c->n_more_data = 0;
}

/* One data directory, the first of its source or a further one. */
static enum err add_dir(struct config *c, const struct config_row *row, const char *text,
			bool is_first, struct err_detail *d)
{
	if (strlen(text) >= LIMIT_PATH) {
		return err_set(d, ERR_INVALID, "longer than %d characters", LIMIT_PATH - 1);
	}
	if (is_first) {
		drop_more_data(c);
		return keep_text(c, row->offset, text);
	}
	if (*text == '\0') {
		return err_set(d, ERR_INVALID, "a data directory has no name");
	}
	if (c->n_more_data + 1 == LIMIT_VOLUMES) {
		return err_set(d, ERR_INVALID, "more than %d data directories", LIMIT_VOLUMES);
	}
	void *v = mem_realloc(c->more_data, (c->n_more_data + 1) * sizeof *c->more_data);
	if (v == NULL) {
		return ERR_NOMEM;
	}
	c->more_data = v;
	c->more_data[c->n_more_data] = mem_strdup(text);
	if (c->more_data[c->n_more_data] == NULL) {
		return ERR_NOMEM;
	}
	c->n_more_data++;
	return ERR_OK;
}

/* One NAME[:PARTITIONS]. */
static enum err set_hub(struct config *c, const char *text, size_t n, struct err_detail *d)
{
	char word[LIMIT_HUB_NAME + 16];
	uint64_t partitions = 0;
	if (n >= sizeof word) {
		return err_set(d, ERR_INVALID, "a hub name has at most %d characters",
			       LIMIT_HUB_NAME);
	}
	memcpy(word, text, n);
	word[n] = '\0';
	char *colon = strchr(word, ':');
	if (colon != NULL) {
		*colon = '\0';
		enum err e = units_parse_count(colon + 1, &partitions, d);
		if (e != ERR_OK) {
			err_wrap(d, "partitions of \"%s\"", word);
			return e;
		}
		if (partitions == 0) {
			return err_set(d, ERR_INVALID, "a hub has 1 to %d partitions",
				       LIMIT_PARTITIONS);
		}
	}
	return config_add_hub(c, word, partitions, NULL, d);
}

/* Several hubs may stand in one variable, separated by commas or blanks. */
static enum err set_hubs(struct config *c, const char *text, struct err_detail *d)
{
	static const char separators[] = ", \t\n";
	text += strspn(text, separators);
	if (*text == '\0') {
		return err_set(d, ERR_INVALID, "a hub needs a name");
	}
	while (*text != '\0') {
		size_t n = strcspn(text, separators);
		enum err e = set_hub(c, text, n, d);
		if (e != ERR_OK) {
			return e;
		}
		text += n;
		text += strspn(text, separators);
	}
	return ERR_OK;
}

enum err config_set(struct config *c, enum config_setting at, const char *text,
		    const char *origin, struct err_detail *d)
{
	const struct config_row *row = &config_rows[at];
	enum err e = ERR_OK;
	switch (row->kind) {
	case CONFIG_TEXT:
	case CONFIG_HOST:
	case CONFIG_LISTEN:
	case CONFIG_CHOICE:
		e = set_text(c, row, text, d);
		break;
	case CONFIG_FLAG:
		e = parse_flag(text, (bool *)((char *)c + row->offset), d);
		break;
	case CONFIG_COUNT:
	case CONFIG_SIZE:
	case CONFIG_TIME:
	case CONFIG_AGE:
		e = set_number(c, row, text, d);
		break;
	case CONFIG_HUBS:
		e = set_hubs(c, text, d);
		break;
	case CONFIG_DIRS:
		e = add_dir(c, row, text, c->origin[at] == NULL || strcmp(c->origin[at], origin) != 0, d);
		break;
	}
	return e != ERR_OK ? e : keep_text(c, offsetof(struct config, origin) + at * sizeof(char *),
					   origin);
}

/* ---- hubs and groups --------------------------------------------------- */

/* Alphanumeric at both ends, [A-Za-z0-9._/-] inside: what Event Hubs takes. */
static enum err check_name(const char *what, const char *name, size_t max, const char *inside,
			   struct err_detail *d)
{
	size_t n = strlen(name);
	if (n == 0) {
		return err_set(d, ERR_INVALID, "a %s needs a name", what);
	}
	if (n > max) {
		return err_set(d, ERR_INVALID, "a %s name has at most %zu characters", what, max);
	}
	bool ok = is_alnum(name[0]) && is_alnum(name[n - 1]);
	for (size_t i = 0; i < n && ok; i++) {
		ok = is_alnum(name[i]) || strchr(inside, name[i]) != NULL;
	}
	if (!ok) {
		return err_set(d, ERR_INVALID,
			       "\"%.64s\" is not a %s name: letters, digits and %s, a letter or "
			       "digit at both ends",
			       name, what, inside);
	}
	return ERR_OK;
}

enum err config_add_hub(struct config *c, const char *name, uint64_t partitions,
			struct config_hub **out, struct err_detail *d)
{
	enum err e = check_name("hub", name, LIMIT_HUB_NAME, "._/-", d);
	if (e != ERR_OK) {
		return e;
	}
	if (partitions > LIMIT_PARTITIONS) {
		return err_set(d, ERR_INVALID, "a hub has 1 to %d partitions", LIMIT_PARTITIONS);
	}
	struct config_hub *hub = NULL;
	for (size_t i = 0; i < c->n_hubs && hub == NULL; i++) {
		hub = strcasecmp(c->hubs[i].name, name) == 0 ? &c->hubs[i] : NULL;
	}
	if (hub == NULL) {
		if (c->n_hubs == LIMIT_HUBS) {
			return err_set(d, ERR_INVALID, "more than %d hubs", LIMIT_HUBS);
		}
		void *hubs = mem_realloc(c->hubs, (c->n_hubs + 1) * sizeof *c->hubs);
		if (hubs == NULL) {
			return ERR_NOMEM;
		}
		c->hubs = hubs;
		hub = &c->hubs[c->n_hubs++];
		memset(hub, 0, sizeof *hub);
	}
	memcpy(hub->name, name, strlen(name) + 1);
	hub->partitions = (uint32_t)partitions;
	if (out != NULL) {
		*out = hub;
	}
	return ERR_OK;
}

enum err config_add_group(struct config_hub *hub, const char *name, struct err_detail *d)
{
	if (strcasecmp(name, "$default") == 0) {
		return ERR_OK;
	}
	enum err e = check_name("group", name, LIMIT_GROUP_NAME, "._-", d);
	if (e != ERR_OK) {
		return e;
	}
	for (size_t i = 0; i < hub->n_groups; i++) {
		if (strcasecmp(hub->groups[i], name) == 0) {
			return ERR_OK;
		}
	}
	if (hub->n_groups == LIMIT_GROUPS) {
		return err_set(d, ERR_INVALID, "more than %d groups", LIMIT_GROUPS);
	}
	void *groups = mem_realloc(hub->groups, (hub->n_groups + 1) * sizeof *hub->groups);
	if (groups == NULL) {
		return ERR_NOMEM;
	}
	hub->groups = groups;
	memcpy(hub->groups[hub->n_groups++], name, strlen(name) + 1);
	return ERR_OK;
}
