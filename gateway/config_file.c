/* The two layouts of a configuration file. Ours: an object whose keys are
 * settings. The Event Hubs emulator's: UserConfig -> NamespaceConfig[1] ->
 * Entities[] {Name, PartitionCount, ConsumerGroups[] {Name}}, keys in any case,
 * numbers also as strings. */

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "gateway/config_priv.h"
#include "gateway/units.h"

/* What stands where: for messages and origins. */
struct source {
	struct config *config;
	const char *path;
	char origin[LIMIT_PATH + 32];
	struct err_detail *d;
};

/* A scalar as the text a flag would have. ERR_INVALID for other kinds. */
static enum err scalar_text(const json_t *v, char *out, size_t size, struct err_detail *d)
{
	const char *text = NULL;
	char number[32];
	if (json_is_string(v)) {
		text = json_string_value(v);
		if (strlen(text) != json_string_length(v)) {
			return err_set(d, ERR_INVALID, "the text holds a NUL character");
		}
	} else if (json_is_boolean(v)) {
		text = json_is_true(v) ? "true" : "false";
	} else if (json_is_integer(v)) {
		(void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
		text = number;
	} else {
		return err_set(d, ERR_INVALID, "must be a text, a whole number or true/false");
	}
	if (strlen(text) >= size) {
		return err_set(d, ERR_INVALID, "longer than %zu characters", size - 1);
	}
	memcpy(out, text, strlen(text) + 1);
	return ERR_OK;
}

static enum err read_partitions(const json_t *v, uint64_t *out, struct err_detail *d)
{
	char text[32];
	enum err e = scalar_text(v, text, sizeof text, d);
	if (e == ERR_OK) {
		e = units_parse_count(text, out, d);
	}
	if (e == ERR_OK && (*out < 1 || *out > LIMIT_PARTITIONS)) {
		e = err_set(d, ERR_INVALID, "a hub has 1 to %d partitions", LIMIT_PARTITIONS);
	}
	return e;
}

/* A group is a name or, in the emulator's layout, an object with a Name. */
static enum err add_group(struct config_hub *hub, json_t *item, struct err_detail *d)
{
	if (json_is_object(item)) {
		const char *key;
		json_t *v;
		json_t *name = NULL;
		json_object_foreach(item, key, v) {
			if (strcasecmp(key, "name") != 0) {
				return err_set(d, ERR_INVALID, "unknown key \"%.64s\"", key);
			}
			name = v;
		}
		item = name;
	}
	if (!json_is_string(item)) {
		return err_set(d, ERR_INVALID, "a group needs a name");
	}
	return config_add_group(hub, json_string_value(item), d);
}

static enum err add_groups(struct config_hub *hub, const json_t *list, struct err_detail *d)
{
	size_t i;
	json_t *item;
	if (!json_is_array(list)) {
		return err_set(d, ERR_INVALID, "must be a list");
	}
	json_array_foreach(list, i, item) {
		enum err e = add_group(hub, item, d);
		if (e != ERR_OK) {
			err_wrap(d, "[%zu]", i);
			return e;
		}
	}
	return ERR_OK;
}

/* The words that name a hub's parts in either layout. */
struct hub_keys {
	const char *name;
	const char *partitions;
	const char *groups;
};
static const struct hub_keys own_keys = {"name", "partitions", "groups"};
static const struct hub_keys emulator_keys = {"Name", "PartitionCount", "ConsumerGroups"};

static enum err add_hub_object(struct config *c, json_t *item, const struct hub_keys *keys,
			       struct err_detail *d)
{
	const char *name = NULL;
	uint64_t partitions = 0;
	const json_t *groups = NULL;
	const char *key;
	json_t *v;
	json_object_foreach(item, key, v) {
		enum err e = ERR_OK;
		if (strcasecmp(key, keys->name) == 0) {
			name = json_string_value(v);
		} else if (strcasecmp(key, keys->partitions) == 0) {
			e = read_partitions(v, &partitions, d);
		} else if (strcasecmp(key, keys->groups) == 0) {
			groups = v;
		} else {
			return err_set(d, ERR_INVALID, "unknown key \"%.64s\"", key);
		}
		if (e != ERR_OK) {
			err_wrap(d, "\"%s\"", key);
			return e;
		}
	}
	if (name == NULL) {
		return err_set(d, ERR_INVALID, "\"%s\" is missing", keys->name);
	}
	struct config_hub *hub;
	enum err e = config_add_hub(c, name, partitions, &hub, d);
	if (e == ERR_OK && groups != NULL) {
		e = add_groups(hub, groups, d);
		if (e != ERR_OK) {
			err_wrap(d, "\"%s\"", keys->groups);
		}
	}
	return e;
}

static enum err add_hubs(struct source *s, json_t *list, const struct hub_keys *keys)
{
	size_t i;
	json_t *item;
	if (!json_is_array(list)) {
		return err_set(s->d, ERR_INVALID, "must be a list");
	}
	json_array_foreach(list, i, item) {
		enum err e;
		if (json_is_object(item)) {
			e = add_hub_object(s->config, item, keys, s->d);
		} else if (json_is_string(item) && keys == &own_keys) {
			e = config_set(s->config, CONFIG_SETTING_hubs, json_string_value(item),
				       s->origin, s->d);
		} else {
			e = err_set(s->d, ERR_INVALID, "a hub is an object%s",
				    keys == &own_keys ? " or NAME[:PARTITIONS]" : "");
		}
		if (e != ERR_OK) {
			err_wrap(s->d, "[%zu]", i);
			return e;
		}
	}
	char *origin = mem_strdup(s->origin);
	if (origin == NULL) {
		return ERR_NOMEM;
	}
	mem_free(s->config->origin[CONFIG_SETTING_hubs]);
	s->config->origin[CONFIG_SETTING_hubs] = origin;
	return ERR_OK;
}

/* A directory or a list of them. */
static enum err read_dirs(struct source *s, enum config_setting at, json_t *v)
{
	char text[LIMIT_PATH];
	size_t n = json_is_array(v) ? json_array_size(v) : 1;
	enum err e = n > 0 ? ERR_OK : err_set(s->d, ERR_INVALID, "must not be empty");
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;
		e = scalar_text(item, text, sizeof text, s->d);
		if (e == ERR_OK) {
			e = config_set(s->config, at, text, s->origin, s->d);
		}
		if (e != ERR_OK && json_is_array(v)) {
			err_wrap(s->d, "[%zu]", i);
		}
	}
	return e;
}

static enum err read_own_key(struct source *s, const char *key, json_t *v)
{
	char text[LIMIT_PATH];
	if (strcmp(key, "hub") == 0 || strcmp(key, "hubs") == 0) {
		return json_is_string(v) ? config_set(s->config, CONFIG_SETTING_hubs,
						      json_string_value(v), s->origin, s->d)
					 : add_hubs(s, v, &own_keys);
	}
	enum config_setting at = config_find(key, strlen(key));
	if (at == CONFIG_SETTING__COUNT) {
		return err_set(s->d, ERR_INVALID, "unknown setting");
	}
	if (json_is_null(v) && config_rows[at].kind == CONFIG_LISTEN) {
		return config_set(s->config, at, "off", s->origin, s->d);
	}
	if (config_rows[at].kind == CONFIG_DIRS) {
		return read_dirs(s, at, v);
	}
	enum err e = scalar_text(v, text, sizeof text, s->d);
	return e != ERR_OK ? e : config_set(s->config, at, text, s->origin, s->d);
}

static enum err read_own(struct source *s, json_t *root)
{
	const char *key;
	json_t *v;
	json_object_foreach(root, key, v) {
		enum err e = read_own_key(s, key, v);
		if (e != ERR_OK) {
			err_wrap(s->d, "\"%.64s\"", key);
			return e;
		}
	}
	return ERR_OK;
}

/* ---- the emulator's layout ------------------------------------------------ */

static json_t *get_any_case(json_t *object, const char *name)
{
	const char *key;
	json_t *v;
	json_object_foreach(object, key, v) {
		if (strcasecmp(key, name) == 0) {
			return v;
		}
	}
	return NULL;
}

static enum err read_emulator_namespace(struct source *s, json_t *ns)
{
	const char *key;
	json_t *v;
	json_object_foreach(ns, key, v) {
		enum err e = ERR_OK;
		if (strcasecmp(key, "Entities") == 0) {
			e = add_hubs(s, v, &emulator_keys);
		} else if (strcasecmp(key, "Type") == 0) {
			const char *type = json_string_value(v);
			if (type == NULL || strcasecmp(type, "EventHub") != 0) {
				e = err_set(s->d, ERR_INVALID, "must be \"EventHub\"");
			}
		} else if (strcasecmp(key, "Name") != 0) {
			e = err_set(s->d, ERR_INVALID, "unknown key");
		}
		if (e != ERR_OK) {
			err_wrap(s->d, "\"%.64s\"", key);
			return e;
		}
	}
	return ERR_OK;
}

static enum err read_emulator_user(struct source *s, json_t *user)
{
	const char *key;
	json_t *v;
	json_object_foreach(user, key, v) {
		enum err e = ERR_OK;
		if (strcasecmp(key, "NamespaceConfig") == 0) {
			json_t *ns = json_array_get(v, 0);
			if (!json_is_object(ns) || json_array_size(v) != 1) {
				e = err_set(s->d, ERR_INVALID, "must be a list of one namespace");
			} else {
				e = read_emulator_namespace(s, ns);
			}
		} else if (strcasecmp(key, "LoggingConfig") != 0) {
			e = err_set(s->d, ERR_INVALID, "unknown key");
		}
		if (e != ERR_OK) {
			err_wrap(s->d, "\"%.64s\"", key);
			return e;
		}
	}
	return ERR_OK;
}

static enum err read_emulator(struct source *s, json_t *user, const json_t *root)
{
	enum err e;
	if (json_object_size(root) != 1) {
		e = err_set(s->d, ERR_INVALID, "\"UserConfig\" must be the only key");
	} else if (!json_is_object(user)) {
		e = err_set(s->d, ERR_INVALID, "\"UserConfig\": must be an object");
	} else {
		e = read_emulator_user(s, user);
		if (e != ERR_OK) {
			err_wrap(s->d, "\"UserConfig\"");
		}
	}
	if (e == ERR_OK) {
		s->config->emulator_key = true;
		e = config_set(s->config, CONFIG_SETTING_amqp, "127.0.0.1:5672", s->origin, s->d);
	}
	if (e == ERR_OK) {
		e = config_set(s->config, CONFIG_SETTING_kafka_plain, "127.0.0.1:9092", s->origin, s->d);
	}
	return e;
}

enum err config_read_file(struct config *c, const char *path, struct err_detail *d)
{
	struct source s = {.config = c, .path = path, .d = d};
	json_error_t at;
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		return err_set(d, ERR_IO, "%s: %s", path, strerror(errno));
	}
	json_t *root = json_loadf(f, JSON_REJECT_DUPLICATES, &at);
	(void)fclose(f);
	if (root == NULL) {
		return err_set(d, ERR_INVALID, "%s: line %d: %s", path, at.line, at.text);
	}
	json_t *user = get_any_case(root, "UserConfig");
	(void)snprintf(s.origin, sizeof s.origin, "%s %s", user != NULL ? "emulator file" : "file",
		       path);
	enum err e;
	if (!json_is_object(root)) {
		e = err_set(d, ERR_INVALID, "must be a JSON object");
	} else if (user != NULL) {
		e = read_emulator(&s, user, root);
	} else {
		e = read_own(&s, root);
	}
	json_decref(root);
	if (e == ERR_OK || e == ERR_NOMEM) {
		return e;
	}
	err_wrap(d, "%s", path);
	return ERR_INVALID;
}
