#include "gateway/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "gateway/config_priv.h"
#include "gateway/units.h"

enum { VARIABLE_MAX = 64, HELP_COLUMN = 34 };

/* What the command line says besides settings. */
struct words {
	const char *file;
	bool print;
};

/* One word of the command line: a setting or one of the two that are not. */
struct word {
	enum config_setting at;	/* CONFIG_SETTING__COUNT: --config, --print-config */
	bool is_config;
	const char *flag;	/* as typed, without "=value" */
	int flag_len;
	const char *value;	/* NULL: none */
};

/* Reads argv[*i] and what belongs to it; *i moves past. */
static enum err read_word(int argc, char **argv, int *i, struct word *w, struct err_detail *d)
{
	const char *arg = argv[(*i)++];
	*w = (struct word){.flag = arg, .flag_len = (int)strcspn(arg, "=")};
	if (strncmp(arg, "--", 2) != 0 || w->flag_len == 2) {
		return err_set(d, ERR_INVALID, "unexpected argument \"%.64s\"", arg);
	}
	size_t n = (size_t)w->flag_len - 2;
	w->value = arg[w->flag_len] == '=' ? arg + w->flag_len + 1 : NULL;
	w->at = config_find(arg + 2, n);
	w->is_config = n == 6 && memcmp(arg + 2, "config", n) == 0;
	bool is_print = n == 12 && memcmp(arg + 2, "print-config", n) == 0;
	if (w->at == CONFIG_SETTING__COUNT && !w->is_config && !is_print) {
		return err_set(d, ERR_INVALID, "unknown setting %.*s", w->flag_len, arg);
	}
	if (is_print && w->value != NULL) {
		return err_set(d, ERR_INVALID, "--print-config takes no value");
	}
	bool needs_value = w->is_config || (!is_print && config_rows[w->at].kind != CONFIG_FLAG);
	if (needs_value && w->value == NULL) {
		if (*i >= argc) {
			return err_set(d, ERR_INVALID, "%s needs a value", arg);
		}
		w->value = argv[(*i)++];
	}
	return ERR_OK;
}

/* Checks the form of the whole command line before any file is opened. */
static enum err scan_flags(int argc, char **argv, struct words *out, struct err_detail *d)
{
	for (int i = 0; i < argc;) {
		struct word w;
		enum err e = read_word(argc, argv, &i, &w, d);
		if (e != ERR_OK) {
			return e;
		}
		if (w.is_config) {
			out->file = w.value;
		} else if (w.at == CONFIG_SETTING__COUNT) {
			out->print = true;
		}
	}
	return ERR_OK;
}

static enum err take_flags(struct config *c, int argc, char **argv, struct err_detail *d)
{
	for (int i = 0; i < argc;) {
		struct word w;
		char origin[VARIABLE_MAX];
		enum err e = read_word(argc, argv, &i, &w, d);
		if (e != ERR_OK) {
			return e;
		}
		if (w.at == CONFIG_SETTING__COUNT) {
			continue;
		}
		(void)snprintf(origin, sizeof origin, "flag --%s", config_rows[w.at].name);
		e = config_set(c, w.at, w.value != NULL ? w.value : "true", origin, d);
		if (e != ERR_OK) {
			err_wrap(d, "--%s", config_rows[w.at].name);
			return e;
		}
	}
	return ERR_OK;
}

static void variable_name(const char *setting, char out[VARIABLE_MAX])
{
	size_t n = (size_t)snprintf(out, VARIABLE_MAX, "SLUICE_%s", setting);
	for (size_t i = 0; i < n && i < VARIABLE_MAX; i++) {
		out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
	}
}

/* Directories, with ':' between them. */
static enum err take_dirs(struct config *c, enum config_setting at, const char *text,
			  const char *origin, struct err_detail *d)
{
	enum err e = ERR_OK;
	for (bool more = true; more && e == ERR_OK;) {
		char dir[LIMIT_PATH + 1];
		size_t n = strcspn(text, ":");
		more = text[n] == ':';
		(void)snprintf(dir, sizeof dir, "%.*s", (int)(n < LIMIT_PATH ? n : LIMIT_PATH), text);
		e = config_set(c, at, dir, origin, d);
		text += n + more;
	}
	return e;
}

static enum err take_environment(struct config *c, struct err_detail *d)
{
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		char name[VARIABLE_MAX];
		char origin[VARIABLE_MAX + 16];
		variable_name(config_rows[i].name, name);
		const char *value = getenv(name);
		if (value == NULL || *value == '\0') {
			continue;
		}
		(void)snprintf(origin, sizeof origin, "variable %s", name);
		enum err e = config_rows[i].kind == CONFIG_DIRS
				     ? take_dirs(c, (enum config_setting)i, value, origin, d)
				     : config_set(c, (enum config_setting)i, value, origin, d);
		if (e != ERR_OK) {
			err_wrap(d, "%s", name);
			return e;
		}
	}
	return ERR_OK;
}

static enum err take_defaults(struct config *c, struct err_detail *d)
{
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		enum err e;
		if (row->kind == CONFIG_HUBS) {
			c->origin[i] = mem_strdup("default");
			e = c->origin[i] != NULL ? ERR_OK : ERR_NOMEM;
		} else {
			e = config_set(c, (enum config_setting)i, row->preset, "default", d);
		}
		if (e != ERR_OK) {
			return e;
		}
	}
	return ERR_OK;
}

static enum err check_plain(const struct config *c, const char *listen, enum config_setting at,
			    struct err_detail *d)
{
	if (c->allow_plaintext || config_is_loopback(listen)) {
		return ERR_OK;
	}
	return err_set(d, ERR_INVALID,
		       "%s (%s): %s is not a loopback address and the listener has no TLS; add "
		       "allow-plaintext to accept that",
		       config_rows[at].name, c->origin[at], listen);
}

enum err config_advertise(const char *text, char *host, size_t host_size, uint16_t *port,
			  struct err_detail *d)
{
	const char *colon = strrchr(text, ':');
	char *end = NULL;
	long n = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
	size_t len = colon != NULL ? (size_t)(colon - text) : 0;
	if (len == 0 || len >= host_size || n < 1 || n > UINT16_MAX || *end != '\0') {
		return err_set(d, ERR_INVALID, "kafka-advertise: \"%.300s\" is not HOST:PORT", text);
	}
	memcpy(host, text, len);
	host[len] = '\0';
	*port = (uint16_t)n;
	return ERR_OK;
}

static enum err check_dirs(const struct config *c, struct err_detail *d)
{
	for (size_t i = 0; i < c->n_more_data; i++) {
		bool is_twice = strcmp(c->more_data[i], c->data) == 0;
		for (size_t k = 0; k < i; k++) {
			is_twice = is_twice || strcmp(c->more_data[i], c->more_data[k]) == 0;
		}
		if (is_twice) {
			return err_set(d, ERR_INVALID, "data: %s stands there twice", c->more_data[i]);
		}
	}
	return ERR_OK;
}

/* What no single value shows. */
static enum err check_whole(struct config *c, struct err_detail *d)
{
	if (*c->data == '\0' || *c->host == '\0') {
		return err_set(d, ERR_INVALID, "%s must not be empty",
			       *c->data == '\0' ? "data" : "host");
	}
	if ((*c->tls_cert == '\0') != (*c->tls_key == '\0')) {
		return err_set(d, ERR_INVALID, "tls-cert and tls-key are needed together");
	}
	enum err e = check_dirs(c, d);
	if (e == ERR_OK) {
		e = check_plain(c, c->amqp, CONFIG_SETTING_amqp, d);
	}
	if (e == ERR_OK) {
		e = check_plain(c, c->metrics, CONFIG_SETTING_metrics, d);
	}
	if (e == ERR_OK) {
		e = check_plain(c, c->kafka_plain, CONFIG_SETTING_kafka_plain, d);
	}
	if (e == ERR_OK && *c->kafka_advertise != '\0') {
		char host[256];
		uint16_t port;
		e = config_advertise(c->kafka_advertise, host, sizeof host, &port, d);
	}
	if (e == ERR_OK && *c->node_host == '\0') {
		char *copy = mem_strdup(c->host);
		if (copy == NULL) {
			return ERR_NOMEM;
		}
		mem_free(c->node_host);
		c->node_host = copy;
	}
	return e;
}

/* Unknown flags and missing values are wrong usage; a bad value is bad
 * configuration, wherever it came from. */
static enum err usage_error(enum err e)
{
	return e == ERR_INVALID ? ERR_NOT_ALLOWED : e;
}

static const char *config_file(const struct words *words)
{
	const char *file = words->file != NULL ? words->file : getenv("SLUICE_CONFIG");
	return file != NULL && *file != '\0' ? file : NULL;
}

enum err config_load(int argc, char **argv, struct config *out, bool *print,
		     struct err_detail *d)
{
	struct words words = {0};
	*out = (struct config){0};
	enum err e = usage_error(scan_flags(argc, argv, &words, d));
	if (e == ERR_OK) {
		e = take_defaults(out, d);
	}
	if (e == ERR_OK && config_file(&words) != NULL) {
		e = config_read_file(out, config_file(&words), d);
	}
	if (e == ERR_OK) {
		e = take_environment(out, d);
	}
	if (e == ERR_OK) {
		e = take_flags(out, argc, argv, d);
	}
	if (e == ERR_OK) {
		e = check_whole(out, d);
	}
	if (e == ERR_NOMEM) {
		err_set(d, e, "out of memory");
	}
	if (e != ERR_OK) {
		config_fini(out);
	}
	*print = words.print;
	return e;
}

int config_exit_status(enum err e)
{
	return e == ERR_OK ? 0 : e == ERR_NOT_ALLOWED ? 2 : 1;
}

static void print_hubs(const struct config *c, struct str *out)
{
	for (size_t i = 0; i < c->n_hubs; i++) {
		const struct config_hub *hub = &c->hubs[i];
		str_printf(out, "%s%s", i > 0 ? "," : "", hub->name);
		if (hub->partitions != 0) {
			str_printf(out, ":%u", hub->partitions);
		}
		for (size_t k = 0; k < hub->n_groups; k++) {
			str_printf(out, "%s%s", k > 0 ? " " : " (groups ", hub->groups[k]);
		}
		str_add(out, hub->n_groups > 0 ? ")" : "");
	}
}

static void value_text(const struct config *c, const struct config_row *row, struct str *out)
{
	const void *at = (const char *)c + row->offset;
	char text[UNITS_TEXT];
	uint64_t v;
	switch (row->kind) {
	case CONFIG_TEXT:
	case CONFIG_HOST:
	case CONFIG_CHOICE:
		str_add(out, *(char *const *)at);
		break;
	case CONFIG_LISTEN:
		str_add(out, **(char *const *)at != '\0' ? *(char *const *)at : "off");
		break;
	case CONFIG_FLAG:
		str_add(out, *(const bool *)at ? "true" : "false");
		break;
	case CONFIG_COUNT:
		str_printf(out, "%u", *(const uint32_t *)at);
		break;
	case CONFIG_SIZE:
		v = *(const uint64_t *)at;
		units_size_text(v, text);
		str_add(out, v == 0 && row->least == 0 ? "off" : text);
		break;
	case CONFIG_TIME:
	case CONFIG_AGE:
		v = row->kind == CONFIG_TIME ? *(const uint32_t *)at : *(const uint64_t *)at;
		units_ms_text(v, text);
		str_add(out, v == 0 && row->least == 0 ? "off" : text);
		break;
	case CONFIG_DIRS:
		str_add(out, c->data);
		for (size_t i = 0; i < c->n_more_data; i++) {
			str_printf(out, ":%s", c->more_data[i]);
		}
		break;
	case CONFIG_HUBS:
		print_hubs(c, out);
		break;
	}
}

void config_print(const struct config *c, FILE *to)
{
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		struct str value = {0};
		value_text(c, &config_rows[i], &value);
		(void)fprintf(to, "%-31s = %-24s # %s\n", config_rows[i].name,
			      value.len > 0 ? value.p : "", c->origin[i]);
		str_fini(&value);
	}
}

void config_help(FILE *to)
{
	(void)fputs("Settings, later wins: default, --config file, variable SLUICE_NAME, flag.\n\n",
		    to);
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		int n = fprintf(to, "  --%s%s%s", row->name, row->arg != NULL ? " " : "",
				row->arg != NULL ? row->arg : "");
		if (n >= HELP_COLUMN) {
			(void)fprintf(to, "\n%*s", HELP_COLUMN, "");
		} else {
			(void)fprintf(to, "%*s", HELP_COLUMN - n, "");
		}
		(void)fputs(row->help, to);
		if (*row->preset != '\0' && row->kind != CONFIG_FLAG) {
			(void)fprintf(to, " (%s)", row->preset);
		}
		(void)fputc('\n', to);
	}
	(void)fprintf(to, "  %-*s%s\n", HELP_COLUMN - 2, "--config FILE",
		      "JSON with these keys, or the Event Hubs emulator's Config.json");
	(void)fprintf(to, "  %-*s%s\n", HELP_COLUMN - 2, "--print-config",
		      "show every setting and where it came from, then exit");
}

void config_fini(struct config *c)
{
	for (int i = 0; i < CONFIG_SETTING__COUNT; i++) {
		enum config_kind kind = config_rows[i].kind;
		if (kind == CONFIG_TEXT || kind == CONFIG_HOST || kind == CONFIG_LISTEN ||
		    kind == CONFIG_CHOICE || kind == CONFIG_DIRS) {
			mem_free(*(char **)(void *)((char *)c + config_rows[i].offset));
		}
		mem_free(c->origin[i]);
	}
	for (size_t i = 0; i < c->n_hubs; i++) {
		mem_free(c->hubs[i].groups);
	}
	mem_free(c->hubs);
	for (size_t i = 0; i < c->n_more_data; i++) {
		mem_free(c->more_data[i]);
	}
	mem_free(c->more_data);
	*c = (struct config){0};
}
