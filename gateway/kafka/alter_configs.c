/* AlterConfigs and IncrementalAlterConfigs: what of a topic can be changed (settings.h)
 * becomes a change of its hub. The former sets all there is: what it does not name
 * gets its default. */

#include <string.h>

#include "gateway/kafka/settings.h"

enum {
	RESOURCE_TOPIC = 2,
	/* Settings in one resource: more than there are. Each is held against each. */
	SETTINGS_MAX = 100,
};

/* One setting of a request of either kind. */
struct asked {
	struct span name;
	int8_t op;
	const struct kafka_string *value;
};

struct alter {
	struct kafka_commands commands;
	struct kafka_alter_configs_response_resource *rows;
	struct kafka_settings *settings; /* as they are to be */
	bool *is_begun;
	bool is_incremental;
	bool validate_only;
	int32_t throttle_ms;
	int32_t n;
};

static const struct kafka_refusal fine = {KAFKA_NONE, NULL};

static void refuse(struct kafka_request *r, struct kafka_alter_configs_response_resource *row,
		   struct kafka_refusal why)
{
	row->error_code = (int16_t)why.code;
	row->error_message = why.why != NULL ? kafka_text(why.why) : kafka_string_null();
	kafka_refused(r, why.code, "resource_name", row->resource_name.s);
}

/* ---- the two requests, alike ---------------------------------------------------------- */

static int32_t count_asked(const struct kafka_request *r, bool is_incremental, uint32_t at)
{
	const struct kafka_incremental_alter_configs_request *inc = r->body;
	const struct kafka_alter_configs_request *all = r->body;
	return is_incremental ? inc->resources[at].n_configs : all->resources[at].n_configs;
}

static struct asked get_asked(const struct kafka_request *r, bool is_incremental, uint32_t at,
			      int32_t i)
{
	const struct kafka_incremental_alter_configs_request *inc = r->body;
	const struct kafka_alter_configs_request *all = r->body;
	if (is_incremental) {
		const struct kafka_incremental_alter_configs_request_config *c =
			&inc->resources[at].configs[i];
		return (struct asked){c->name.s, c->config_operation, &c->value};
	}
	const struct kafka_alter_configs_request_config *c = &all->resources[at].configs[i];
	return (struct asked){c->name.s, KAFKA_CONFIG_SET, &c->value};
}

/* ---- checking ---------------------------------------------------------------------------- */

/* A setting that stands twice would make the order matter. */
static struct kafka_refusal check_twice(struct kafka_request *r, const struct alter *m, uint32_t at)
{
	int32_t n = count_asked(r, m->is_incremental, at);
	if (n > SETTINGS_MAX) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST, "more settings than there are"};
	}
	for (int32_t i = 1; i < n; i++) {
		struct span name = get_asked(r, m->is_incremental, at, i).name;
		for (int32_t k = 0; k < i; k++) {
			if (span_eq(name, get_asked(r, m->is_incremental, at, k).name)) {
				return (struct kafka_refusal){KAFKA_INVALID_REQUEST,
							      "a setting stands there twice"};
			}
		}
	}
	return fine;
}

static struct kafka_refusal check_topic(struct kafka_request *r, struct span name,
					struct kafka_settings *out)
{
	struct kafka_topic topic;
	enum kafka_code code = kafka_topic_name_is_valid(name)
				       ? kafka_topic_find(r->conn, name, AUTH_MANAGE, &topic)
				       : KAFKA_INVALID_TOPIC;
	if (code != KAFKA_NONE) {
		return (struct kafka_refusal){
			code, code == KAFKA_INVALID_TOPIC		  ? "this is no name of a topic"
			      : code == KAFKA_TOPIC_AUTHORIZATION_FAILED ? "the right to manage is missing"
									 : "there is no such topic"};
	}
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	const struct catalog_hub *hub = catalog_hub_by_id(catalog, topic.hub_id);
	if (hub != NULL) {
		*out = kafka_settings_of(hub);
	}
	catalog_drop(&catalog);
	return hub != NULL ? fine
			   : (struct kafka_refusal){KAFKA_UNKNOWN_TOPIC_OR_PARTITION,
						    "there is no such topic"};
}

static struct kafka_refusal check(struct kafka_request *r, struct alter *m, uint32_t at)
{
	const struct kafka_alter_configs_response_resource *row = &m->rows[at];
	struct kafka_settings *s = &m->settings[at];
	if (at >= LIMIT_HUBS) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST, "more resources than there can be"};
	}
	if (row->resource_type != RESOURCE_TOPIC) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST,
					      "only topics have settings that clients can change"};
	}
	struct kafka_refusal why = check_topic(r, row->resource_name.s, s);
	why = why.code == KAFKA_NONE ? check_twice(r, m, at) : why;
	if (why.code == KAFKA_NONE && !m->is_incremental) {
		*s = kafka_settings_default(r->conn->front);
		s->has_cleanup = true;
		s->has_retention = true;
		s->has_retention_bytes = true;
	}
	for (int32_t i = 0; why.code == KAFKA_NONE && i < count_asked(r, m->is_incremental, at); i++) {
		struct asked a = get_asked(r, m->is_incremental, at, i);
		why = kafka_settings_change(r, s, a.op, a.name, a.value);
	}
	return why;
}

/* ---- changing ---------------------------------------------------------------------------- */

static bool fill(struct kafka_request *r, uint32_t at, struct catalog_command *cmd)
{
	struct alter *m = r->state;
	const struct kafka_settings *s = &m->settings[at];
	if (m->rows[at].error_code != KAFKA_NONE || m->validate_only) {
		return false;
	}
	m->is_begun[at] = true;
	if (!s->has_cleanup && !s->has_retention && !s->has_retention_bytes) {
		return false; /* nothing of it changes anything */
	}
	cmd->op = CATALOG_HUB_UPDATE;
	kafka_settings_fill(s, cmd);
	return span_to_cstr(m->rows[at].resource_name.s, cmd->hub, sizeof cmd->hub) == ERR_OK;
}

static void done(struct kafka_request *r, uint32_t at, enum err e, const struct err_detail *d)
{
	struct alter *m = r->state;
	if (e != ERR_OK) {
		struct span text = kafka_arena_copy(
			&r->arena, span_str(d->text[0] != '\0' ? d->text : err_text(e)));
		refuse(r, &m->rows[at], (struct kafka_refusal){kafka_code_of(e), err_text(e)});
		if (text.p != NULL) {
			m->rows[at].error_message = kafka_str(text);
		}
	}
}

static void all_done(struct kafka_request *r)
{
	struct alter *m = r->state;
	for (int32_t i = 0; i < m->n; i++) {
		if (m->rows[i].error_code == KAFKA_NONE && !m->validate_only && !m->is_begun[i]) {
			refuse(r, &m->rows[i],
			       (struct kafka_refusal){KAFKA_REQUEST_TIMED_OUT,
						      "the request ended before"});
		}
	}
	/* Both answers have the same rows. */
	if (m->is_incremental) {
		struct kafka_incremental_alter_configs_response p = {
			.throttle_time_ms = m->throttle_ms,
			.responses = m->rows,
			.n_responses = m->n,
		};
		kafka_answer(r, &p);
	} else {
		struct kafka_alter_configs_response p = {
			.throttle_time_ms = m->throttle_ms,
			.responses = m->rows,
			.n_responses = m->n,
		};
		kafka_answer(r, &p);
	}
}

/* Places for everything; resource `i` is named by `type` and `name`. NULL: kafka_fail
 * was called. */
static struct alter *alter_new(struct kafka_request *r, int32_t n)
{
	kafka_answer_is_long(r);
	struct alter *m = kafka_alloc(r, sizeof *m);
	size_t count = n > 0 ? (size_t)n : 0;
	if (m == NULL) {
		return NULL;
	}
	m->n = (int32_t)count;
	m->rows = kafka_alloc(r, count * sizeof *m->rows);
	m->settings = m->rows != NULL ? kafka_alloc(r, count * sizeof *m->settings) : NULL;
	m->is_begun = m->settings != NULL ? kafka_alloc(r, count * sizeof *m->is_begun) : NULL;
	return m->is_begun != NULL ? m : NULL;
}

/* Refuses what would change something when there were too many management calls. */
static void pace(struct kafka_request *r, struct alter *m)
{
	struct kafka_refusal why = fine;
	bool is_asked = false;
	for (int32_t i = 0; i < m->n && !m->validate_only; i++) {
		if (m->rows[i].error_code != KAFKA_NONE) {
			continue;
		}
		if (!is_asked && kafka_may_manage(r, KAFKA_NEVER_KNOWN, &why, &m->throttle_ms)) {
			return;
		}
		is_asked = true;
		refuse(r, &m->rows[i], why);
	}
}

/* All rows have their names. */
static void start(struct kafka_request *r, struct alter *m)
{
	struct kafka_string *names = kafka_alloc(r, (size_t)m->n * sizeof *names);
	if (names == NULL) {
		return;
	}
	for (int32_t i = 0; i < m->n; i++) {
		names[i] = m->rows[i].resource_name;
	}
	const struct kafka_twice *twice = kafka_find_twice(r, names, (uint32_t)m->n);
	if (twice == NULL) {
		return;
	}
	for (int32_t i = 0; i < m->n; i++) {
		m->rows[i].error_message = kafka_string_null();
		bool is_twice = twice[i].is_twice && m->rows[i].resource_type == RESOURCE_TOPIC;
		struct kafka_refusal why =
			is_twice ? (struct kafka_refusal){KAFKA_INVALID_REQUEST,
							  "the request names the topic twice"}
				 : check(r, m, (uint32_t)i);
		if (why.code != KAFKA_NONE) {
			refuse(r, &m->rows[i], why);
		}
	}
	pace(r, m);
	r->state = m;
	m->commands.n = (uint32_t)m->n;
	m->commands.fill = fill;
	m->commands.done = done;
	m->commands.all = all_done;
	kafka_commands_start(r, &m->commands);
}

void kafka_on_alter_configs(struct kafka_request *r)
{
	const struct kafka_alter_configs_request *q = r->body;
	struct alter *m = alter_new(r, q->n_resources);
	if (m == NULL) {
		return;
	}
	m->validate_only = q->validate_only;
	for (int32_t i = 0; i < m->n; i++) {
		m->rows[i].resource_type = q->resources[i].resource_type;
		m->rows[i].resource_name = q->resources[i].resource_name;
	}
	start(r, m);
}

void kafka_on_incremental_alter_configs(struct kafka_request *r)
{
	const struct kafka_incremental_alter_configs_request *q = r->body;
	struct alter *m = alter_new(r, q->n_resources);
	if (m == NULL) {
		return;
	}
	m->is_incremental = true;
	m->validate_only = q->validate_only;
	for (int32_t i = 0; i < m->n; i++) {
		m->rows[i].resource_type = q->resources[i].resource_type;
		m->rows[i].resource_name = q->resources[i].resource_name;
	}
	start(r, m);
}
