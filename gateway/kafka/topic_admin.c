/* CreateTopics, DeleteTopics, CreatePartitions: topics are hubs. */

#include <string.h>

#include "gateway/kafka/settings.h"

enum {
	FIRST_WITH_CONFIGS = 5, /* CreateTopics tells the topic's settings */
	FIRST_WITH_IDS = 6,	/* DeleteTopics by id */
	/* From these on KIP-599's error is known. */
	CREATE_KNOWS_QUOTA = 6,
	DELETE_KNOWS_QUOTA = 5,
	GROW_KNOWS_QUOTA = 3,
	REPLICATION_FACTOR = 1,
	UNSET = -1,
};

static const struct kafka_refusal fine = {KAFKA_NONE, NULL};

/* What a failed command means for the client. The text is copied. */
static struct kafka_refusal refusal_of(struct kafka_request *r, enum err e, const struct err_detail *d)
{
	if (e == ERR_OK) {
		return fine;
	}
	enum kafka_code code = e == ERR_INVALID	      ? KAFKA_INVALID_TOPIC
			       : e == ERR_NOT_ALLOWED ? KAFKA_INVALID_PARTITIONS
						      : kafka_code_of(e);
	return (struct kafka_refusal){code,
				kafka_printf(r, "%s", d->text[0] != '\0' ? d->text : err_text(e))};
}

/* Nobody answered for this one: the request was cancelled before its turn. */
static const struct kafka_refusal not_begun = {KAFKA_REQUEST_TIMED_OUT, "the request ended before"};

/* ---- CreateTopics ------------------------------------------------------------------- */

struct create {
	struct kafka_commands commands;
	struct kafka_create_topics_response_topic *rows; /* by topic of the request */
	struct kafka_twice *twice;
	bool *is_begun;
	struct kafka_settings *settings; /* by topic of the request */
	int32_t throttle_ms;
};

static void create_refuse(struct kafka_request *r, struct kafka_create_topics_response_topic *row,
			  struct kafka_refusal why)
{
	row->error_code = (int16_t)why.code;
	row->error_message = why.why != NULL ? kafka_text(why.why) : kafka_string_null();
	row->num_partitions = UNSET;
	row->replication_factor = UNSET;
	kafka_refused(r, why.code, "topic", row->name.s);
}

/* Partitions 0 .. n - 1, each on some node, which stands for this one. */
static struct kafka_refusal check_assignments(struct kafka_request *r,
					const struct kafka_create_topics_request_topic *q)
{
	if (q->num_partitions != UNSET || q->replication_factor != UNSET) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST,
					"either numbers or assignments of replicas, not both"};
	}
	if (q->n_assignments > LIMIT_PARTITIONS) {
		return fine; /* which is refused for its number of partitions */
	}
	bool *is_there = kafka_alloc(r, (size_t)q->n_assignments * sizeof *is_there);
	if (is_there == NULL) {
		return (struct kafka_refusal){KAFKA_INVALID_REPLICA_ASSIGNMENT, NULL};
	}
	for (int32_t i = 0; i < q->n_assignments; i++) {
		int32_t at = q->assignments[i].partition_index;
		if (at < 0 || at >= q->n_assignments || is_there[at]) {
			return (struct kafka_refusal){KAFKA_INVALID_REPLICA_ASSIGNMENT,
						"partitions are to be 0, 1 and so on, each once"};
		}
		if (q->assignments[i].n_broker_ids <= 0) {
			return (struct kafka_refusal){KAFKA_INVALID_REPLICA_ASSIGNMENT,
						"a partition has no broker"};
		}
		is_there[at] = true;
	}
	return fine;
}

static struct kafka_refusal check_configs(struct kafka_request *r, struct kafka_settings *to,
					  const struct kafka_create_topics_request_topic *q)
{
	struct kafka_refusal why = fine;
	*to = kafka_settings_default(r->conn->front);
	for (int32_t i = 0; i < q->n_configs && why.code == KAFKA_NONE; i++) {
		const struct kafka_create_topics_request_config *c = &q->configs[i];
		why = kafka_settings_change(r, to, KAFKA_CONFIG_SET, c->name.s, &c->value);
	}
	return why;
}

static struct kafka_refusal check_numbers(struct kafka_request *r,
				    const struct kafka_create_topics_request_topic *q,
				    uint32_t *partitions)
{
	int32_t n = q->num_partitions;
	if (q->n_assignments > 0) {
		struct kafka_refusal why = check_assignments(r, q);
		if (why.code != KAFKA_NONE) {
			return why;
		}
		n = q->n_assignments;
	} else if (n == UNSET) {
		n = (int32_t)kafka_default_partitions(r->conn->front);
	}
	if (n < 1) {
		return (struct kafka_refusal){
			KAFKA_INVALID_PARTITIONS,
			"a topic has at least one partition; -1 asks for the default"};
	}
	if (n > LIMIT_PARTITIONS) {
		return (struct kafka_refusal){KAFKA_INVALID_PARTITIONS,
					kafka_printf(r, "a topic has at most %d partitions, not %d",
						     LIMIT_PARTITIONS, n)};
	}
	if (q->replication_factor == 0 || q->replication_factor < UNSET) {
		return (struct kafka_refusal){
			KAFKA_INVALID_REPLICATION_FACTOR,
			"the replication factor is at least 1; -1 asks for the default"};
	}
	*partitions = (uint32_t)n;
	return fine;
}

static bool create_fill(struct kafka_request *r, uint32_t at, struct catalog_command *cmd)
{
	struct create *m = r->state;
	const struct kafka_create_topics_request *q = r->body;
	if (m->twice[at].is_later || m->rows[at].error_code != KAFKA_NONE || q->validate_only) {
		return false;
	}
	m->is_begun[at] = true;
	cmd->op = CATALOG_HUB_CREATE;
	cmd->partitions = (uint32_t)m->rows[at].num_partitions;
	kafka_settings_fill(&m->settings[at], cmd);
	return span_to_cstr(q->topics[at].name.s, cmd->hub, sizeof cmd->hub) == ERR_OK;
}

static void create_done(struct kafka_request *r, uint32_t at, enum err e,
			const struct err_detail *d)
{
	struct create *m = r->state;
	if (e != ERR_OK) {
		create_refuse(r, &m->rows[at], refusal_of(r, e, d));
	}
}

static struct kafka_refusal create_check(struct kafka_request *r, const struct create *m, uint32_t at,
				   const struct catalog *catalog)
{
	const struct kafka_create_topics_request *q = r->body;
	const struct kafka_create_topics_request_topic *t = &q->topics[at];
	struct kafka_create_topics_response_topic *row = &m->rows[at];
	uint32_t partitions = 0;
	if (m->twice[at].is_twice) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST, "the request names the topic twice"};
	}
	if (!kafka_topic_name_is_valid(t->name.s)) {
		return (struct kafka_refusal){KAFKA_INVALID_TOPIC,
					"names are 1 to 249 letters, digits, '.', '_' and '-'"};
	}
	if (kafka_topic_allowed(r->conn, t->name.s, AUTH_MANAGE) != KAFKA_NONE) {
		return (struct kafka_refusal){KAFKA_TOPIC_AUTHORIZATION_FAILED,
					"the right to manage is missing"};
	}
	struct kafka_refusal why = check_numbers(r, t, &partitions);
	why = why.code == KAFKA_NONE ? check_configs(r, &m->settings[at], t) : why;
	if (why.code != KAFKA_NONE) {
		return why;
	}
	struct catalog_command cmd = {.op = CATALOG_HUB_CREATE, .partitions = partitions};
	struct err_detail d = {""};
	enum err e = span_to_cstr(t->name.s, cmd.hub, sizeof cmd.hub);
	e = e == ERR_OK ? catalog_check(catalog, &cmd, &d) : e;
	/* Checked again when it is done; what others do meanwhile counts. */
	row->num_partitions = (int32_t)partitions;
	row->replication_factor = REPLICATION_FACTOR;
	return refusal_of(r, e, &d);
}

/* The settings as CreateTopics tells them. False: kafka_fail was called. */
static bool create_configs(struct kafka_request *r, const struct kafka_settings *settings,
			   struct kafka_create_topics_response_topic *row)
{
	uint32_t n;
	const struct kafka_config_value *values = kafka_topic_configs(r, settings, &n);
	struct kafka_create_topics_response_config *v =
		values != NULL ? kafka_alloc(r, n * sizeof *v) : NULL;
	for (uint32_t i = 0; v != NULL && i < n; i++) {
		v[i].name = kafka_text(values[i].name);
		v[i].value = kafka_text(values[i].value);
		v[i].read_only = values[i].is_read_only;
		v[i].config_source = values[i].source;
	}
	row->configs = v;
	row->n_configs = v != NULL ? (int32_t)n : 0;
	return v != NULL;
}

static void create_all(struct kafka_request *r)
{
	struct create *m = r->state;
	const struct kafka_create_topics_request *q = r->body;
	struct kafka_create_topics_response p = {.throttle_time_ms = m->throttle_ms,
						 .topics = m->rows};
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	bool has_memory = true;
	for (int32_t i = 0; i < q->n_topics && has_memory; i++) {
		struct kafka_create_topics_response_topic *row = &m->rows[i];
		if (m->twice[i].is_later) {
			continue;
		}
		if (row->error_code == KAFKA_NONE && !q->validate_only && !m->is_begun[i]) {
			create_refuse(r, row, not_begun);
		}
		if (row->error_code == KAFKA_NONE) {
			const struct catalog_hub *hub = catalog_hub_find(catalog, row->name.s);
			has_memory = r->version < FIRST_WITH_CONFIGS ||
				     create_configs(r, &m->settings[i], row);
			if (hub != NULL && !q->validate_only) {
				row->topic_id = kafka_topic_id(r->conn->front, hub->id);
			}
		}
		p.topics[p.n_topics++] = *row;
	}
	catalog_drop(&catalog);
	if (has_memory) {
		kafka_answer(r, &p);
	}
}

/* Refuses what would be made when there were too many management calls. */
static void create_pace(struct kafka_request *r, struct create *m, uint32_t n)
{
	const struct kafka_create_topics_request *q = r->body;
	struct kafka_refusal why = fine;
	bool is_asked = false;
	for (uint32_t i = 0; i < n && !q->validate_only; i++) {
		if (m->rows[i].error_code != KAFKA_NONE) {
			continue;
		}
		if (!is_asked && kafka_may_manage(r, CREATE_KNOWS_QUOTA, &why, &m->throttle_ms)) {
			return;
		}
		is_asked = true;
		create_refuse(r, &m->rows[i], why);
	}
}

void kafka_on_create_topics(struct kafka_request *r)
{
	const struct kafka_create_topics_request *q = r->body;
	uint32_t n = (uint32_t)q->n_topics;
	kafka_answer_is_long(r);
	struct create *m = kafka_alloc(r, sizeof *m);
	struct kafka_string *names = m != NULL ? kafka_alloc(r, n * sizeof *names) : NULL;
	if (names == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		names[i] = q->topics[i].name;
	}
	m->rows = kafka_alloc(r, n * sizeof *m->rows);
	m->is_begun = m->rows != NULL ? kafka_alloc(r, n * sizeof *m->is_begun) : NULL;
	m->twice = m->is_begun != NULL ? kafka_find_twice(r, names, n) : NULL;
	m->settings = m->twice != NULL ? kafka_alloc(r, n * sizeof *m->settings) : NULL;
	if (m->settings == NULL) {
		return;
	}
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	for (uint32_t i = 0; i < n; i++) {
		m->rows[i].name = names[i];
		m->rows[i].error_message = kafka_string_null();
		struct kafka_refusal why = i < LIMIT_HUBS
					     ? create_check(r, m, i, catalog)
					     : (struct kafka_refusal){KAFKA_POLICY_VIOLATION,
								"more topics than there can be"};
		if (why.code != KAFKA_NONE) {
			create_refuse(r, &m->rows[i], why);
		}
	}
	catalog_drop(&catalog);
	create_pace(r, m, n);
	r->state = m;
	m->commands.n = n;
	m->commands.fill = create_fill;
	m->commands.done = create_done;
	m->commands.all = create_all;
	kafka_commands_start(r, &m->commands);
}

/* ---- DeleteTopics --------------------------------------------------------------------- */

struct delete
{
	struct kafka_commands commands;
	struct kafka_delete_topics_response_topic *rows;
	struct kafka_twice *twice;
	bool *is_begun;
	int32_t throttle_ms;
};

static void delete_refuse(struct kafka_request *r, struct kafka_delete_topics_response_topic *row,
			  struct kafka_refusal why)
{
	row->error_code = (int16_t)why.code;
	row->error_message = why.why != NULL ? kafka_text(why.why) : kafka_string_null();
	kafka_refused(r, why.code, "topic", row->name.s);
}

/* The name of a topic that is asked for by its id goes into the row. */
static struct kafka_refusal find_by_id(struct kafka_request *r, const struct catalog *catalog,
				 struct kafka_delete_topics_response_topic *row)
{
	static const struct kafka_refusal unknown = {KAFKA_UNKNOWN_TOPIC_ID, "there is no such topic"};
	uint32_t id = kafka_topic_of_id(r->conn->front, &row->topic_id);
	const struct catalog_hub *hub = id != 0 ? catalog_hub_by_id(catalog, id) : NULL;
	if (hub == NULL ||
	    kafka_topic_allowed(r->conn, span_str(hub->name), KAFKA_RIGHTS_ANY) != KAFKA_NONE) {
		return unknown;
	}
	if (!kafka_span_copy(r, span_str(hub->name), &row->name.s)) {
		return unknown;
	}
	row->name.is_null = false;
	return fine;
}

static struct kafka_refusal delete_check(struct kafka_request *r, const struct catalog *catalog,
				   struct kafka_delete_topics_response_topic *row)
{
	static const uint8_t no_id[16];
	bool has_id = memcmp(row->topic_id.b, no_id, sizeof no_id) != 0;
	if (has_id != row->name.is_null) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST, "a topic has a name or an id"};
	}
	if (has_id) {
		struct kafka_refusal why = find_by_id(r, catalog, row);
		if (why.code != KAFKA_NONE) {
			return why;
		}
	}
	struct kafka_topic topic;
	enum kafka_code code = kafka_topic_name_is_valid(row->name.s)
				       ? kafka_topic_find(r->conn, row->name.s, AUTH_MANAGE, &topic)
				       : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
	return code == KAFKA_NONE ? fine
	       : code == KAFKA_TOPIC_AUTHORIZATION_FAILED
		       ? (struct kafka_refusal){code, "the right to manage is missing"}
		       : (struct kafka_refusal){code, "there is no such topic"};
}

static bool delete_fill(struct kafka_request *r, uint32_t at, struct catalog_command *cmd)
{
	struct delete *m = r->state;
	if (m->twice[at].is_later || m->rows[at].error_code != KAFKA_NONE) {
		return false;
	}
	m->is_begun[at] = true;
	cmd->op = CATALOG_HUB_DELETE;
	return span_to_cstr(m->rows[at].name.s, cmd->hub, sizeof cmd->hub) == ERR_OK;
}

static void delete_done(struct kafka_request *r, uint32_t at, enum err e,
			const struct err_detail *d)
{
	struct delete *m = r->state;
	if (e != ERR_OK) {
		delete_refuse(r, &m->rows[at], refusal_of(r, e, d));
	}
}

static void delete_all(struct kafka_request *r)
{
	struct delete *m = r->state;
	struct kafka_delete_topics_response p = {.throttle_time_ms = m->throttle_ms,
						 .responses = m->rows};
	const struct kafka_delete_topics_request *q = r->body;
	int32_t n = r->version >= FIRST_WITH_IDS ? q->n_topics : q->n_topic_names;
	for (int32_t i = 0; i < n; i++) {
		if (m->twice[i].is_later) {
			continue;
		}
		if (m->rows[i].error_code == KAFKA_NONE && !m->is_begun[i]) {
			delete_refuse(r, &m->rows[i], not_begun);
		}
		p.responses[p.n_responses++] = m->rows[i];
	}
	kafka_answer(r, &p);
}

/* As create_pace. */
static void delete_pace(struct kafka_request *r, struct delete *m, uint32_t n)
{
	struct kafka_refusal why = fine;
	bool is_asked = false;
	for (uint32_t i = 0; i < n; i++) {
		if (m->rows[i].error_code != KAFKA_NONE) {
			continue;
		}
		if (!is_asked && kafka_may_manage(r, DELETE_KNOWS_QUOTA, &why, &m->throttle_ms)) {
			return;
		}
		is_asked = true;
		delete_refuse(r, &m->rows[i], why);
	}
}

void kafka_on_delete_topics(struct kafka_request *r)
{
	const struct kafka_delete_topics_request *q = r->body;
	bool by_ids = r->version >= FIRST_WITH_IDS;
	uint32_t n = (uint32_t)(by_ids ? q->n_topics : q->n_topic_names);
	kafka_answer_is_long(r);
	struct delete *m = kafka_alloc(r, sizeof *m);
	struct kafka_string *names = m != NULL ? kafka_alloc(r, n * sizeof *names) : NULL;
	struct kafka_refusal *why = names != NULL ? kafka_alloc(r, n * sizeof *why) : NULL;
	if (why == NULL) {
		return;
	}
	m->rows = kafka_alloc(r, n * sizeof *m->rows);
	m->is_begun = m->rows != NULL ? kafka_alloc(r, n * sizeof *m->is_begun) : NULL;
	if (m->is_begun == NULL) {
		return;
	}
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	for (uint32_t i = 0; i < n; i++) {
		m->rows[i].error_message = kafka_string_null();
		m->rows[i].name = by_ids ? q->topics[i].name : q->topic_names[i];
		if (by_ids) {
			m->rows[i].topic_id = q->topics[i].topic_id;
		}
		why[i] = delete_check(r, catalog, &m->rows[i]);
		names[i] = m->rows[i].name;
	}
	catalog_drop(&catalog);
	m->twice = kafka_find_twice(r, names, n);
	if (m->twice == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (m->twice[i].is_twice) {
			why[i] = (struct kafka_refusal){KAFKA_INVALID_REQUEST,
						  "the request names the topic twice"};
		}
		if (why[i].code != KAFKA_NONE) {
			delete_refuse(r, &m->rows[i], why[i]);
		}
	}
	delete_pace(r, m, n);
	r->state = m;
	m->commands.n = n;
	m->commands.fill = delete_fill;
	m->commands.done = delete_done;
	m->commands.all = delete_all;
	kafka_commands_start(r, &m->commands);
}

/* ---- CreatePartitions ------------------------------------------------------------------ */

struct grow {
	struct kafka_commands commands;
	struct kafka_create_partitions_response_result *rows;
	struct kafka_twice *twice;
	bool *is_begun;
	int32_t throttle_ms;
};

static void grow_refuse(struct kafka_request *r,
			struct kafka_create_partitions_response_result *row, struct kafka_refusal why)
{
	row->error_code = (int16_t)why.code;
	row->error_message = why.why != NULL ? kafka_text(why.why) : kafka_string_null();
	kafka_refused(r, why.code, "topic", row->name.s);
}

static struct kafka_refusal grow_check(struct kafka_request *r,
				 const struct kafka_create_partitions_request_topic *q)
{
	struct kafka_topic topic = {0};
	enum kafka_code code = kafka_topic_name_is_valid(q->name.s)
				       ? kafka_topic_find(r->conn, q->name.s, AUTH_MANAGE, &topic)
				       : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
	if (code != KAFKA_NONE) {
		return (struct kafka_refusal){code, code == KAFKA_TOPIC_AUTHORIZATION_FAILED
						      ? "the right to manage is missing"
						      : "there is no such topic"};
	}
	if (q->count <= 0 || (uint32_t)q->count <= topic.partitions) {
		return (struct kafka_refusal){
			KAFKA_INVALID_PARTITIONS,
			kafka_printf(r, "the topic has %u partitions already", topic.partitions)};
	}
	if (q->count > LIMIT_PARTITIONS) {
		return (struct kafka_refusal){KAFKA_INVALID_PARTITIONS,
					kafka_printf(r, "a topic has at most %d partitions, not %d",
						     LIMIT_PARTITIONS, q->count)};
	}
	if (q->n_assignments >= 0 &&
	    (uint32_t)q->n_assignments != (uint32_t)q->count - topic.partitions) {
		return (struct kafka_refusal){KAFKA_INVALID_REPLICA_ASSIGNMENT,
					"assignments are to name each new partition"};
	}
	for (int32_t i = 0; i < q->n_assignments; i++) {
		if (q->assignments[i].n_broker_ids <= 0) {
			return (struct kafka_refusal){KAFKA_INVALID_REPLICA_ASSIGNMENT,
						"a partition has no broker"};
		}
	}
	return fine;
}

static bool grow_fill(struct kafka_request *r, uint32_t at, struct catalog_command *cmd)
{
	struct grow *m = r->state;
	const struct kafka_create_partitions_request *q = r->body;
	if (m->twice[at].is_later || m->rows[at].error_code != KAFKA_NONE || q->validate_only) {
		return false;
	}
	m->is_begun[at] = true;
	cmd->op = CATALOG_HUB_UPDATE;
	cmd->partitions = (uint32_t)q->topics[at].count;
	return span_to_cstr(q->topics[at].name.s, cmd->hub, sizeof cmd->hub) == ERR_OK;
}

static void grow_done(struct kafka_request *r, uint32_t at, enum err e, const struct err_detail *d)
{
	struct grow *m = r->state;
	if (e != ERR_OK) {
		grow_refuse(r, &m->rows[at], refusal_of(r, e, d));
	}
}

static void grow_all(struct kafka_request *r)
{
	struct grow *m = r->state;
	const struct kafka_create_partitions_request *q = r->body;
	struct kafka_create_partitions_response p = {.throttle_time_ms = m->throttle_ms,
						     .results = m->rows};
	for (int32_t i = 0; i < q->n_topics; i++) {
		if (m->twice[i].is_later) {
			continue;
		}
		if (m->rows[i].error_code == KAFKA_NONE && !q->validate_only && !m->is_begun[i]) {
			grow_refuse(r, &m->rows[i], not_begun);
		}
		p.results[p.n_results++] = m->rows[i];
	}
	kafka_answer(r, &p);
}

/* As create_pace. */
static void grow_pace(struct kafka_request *r, struct grow *m, uint32_t n)
{
	const struct kafka_create_partitions_request *q = r->body;
	struct kafka_refusal why = fine;
	bool is_asked = false;
	for (uint32_t i = 0; i < n && !q->validate_only; i++) {
		if (m->rows[i].error_code != KAFKA_NONE) {
			continue;
		}
		if (!is_asked && kafka_may_manage(r, GROW_KNOWS_QUOTA, &why, &m->throttle_ms)) {
			return;
		}
		is_asked = true;
		grow_refuse(r, &m->rows[i], why);
	}
}

void kafka_on_create_partitions(struct kafka_request *r)
{
	const struct kafka_create_partitions_request *q = r->body;
	uint32_t n = (uint32_t)q->n_topics;
	kafka_answer_is_long(r);
	struct grow *m = kafka_alloc(r, sizeof *m);
	struct kafka_string *names = m != NULL ? kafka_alloc(r, n * sizeof *names) : NULL;
	if (names == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		names[i] = q->topics[i].name;
	}
	m->rows = kafka_alloc(r, n * sizeof *m->rows);
	m->is_begun = m->rows != NULL ? kafka_alloc(r, n * sizeof *m->is_begun) : NULL;
	m->twice = m->is_begun != NULL ? kafka_find_twice(r, names, n) : NULL;
	if (m->twice == NULL) {
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		m->rows[i].name = names[i];
		m->rows[i].error_message = kafka_string_null();
		struct kafka_refusal why = m->twice[i].is_twice
					     ? (struct kafka_refusal){KAFKA_INVALID_REQUEST,
								"the request names the topic twice"}
					     : grow_check(r, &q->topics[i]);
		if (why.code != KAFKA_NONE) {
			grow_refuse(r, &m->rows[i], why);
		}
	}
	grow_pace(r, m, n);
	r->state = m;
	m->commands.n = n;
	m->commands.fill = grow_fill;
	m->commands.done = grow_done;
	m->commands.all = grow_all;
	kafka_commands_start(r, &m->commands);
}
