/* DescribeConfigs: the settings of topics and of the broker as they are. */

#include "gateway/kafka/settings.h"

enum {
	RESOURCE_TOPIC = 2,
	RESOURCE_BROKER = 4,
	/* Every hub there can be, and the brokers of a large cluster. */
	RESOURCES_MAX = 4 * LIMIT_HUBS,
};

/* Rows made once for all resources that are set alike. */
struct rows {
	struct kafka_settings settings; /* of a topic */
	int32_t n;
	struct kafka_describe_configs_response_config *v;
};

/* Where it comes from: the topic's own value, if there is one, then the broker's.
 * False: the request has failed. */
static bool make_synonyms(struct kafka_request *r, const struct kafka_config_value *from,
			  struct kafka_describe_configs_response_config *row)
{
	struct kafka_describe_configs_response_synonym *v = kafka_alloc(r, 2 * sizeof *v);
	if (v == NULL) {
		return false;
	}
	row->synonyms = v;
	if (from->source == KAFKA_SOURCE_TOPIC) {
		v->name = kafka_text(from->name);
		v->value = kafka_text(from->value);
		v->source = KAFKA_SOURCE_TOPIC;
		v++;
	}
	v->name = kafka_text(from->broker_name != NULL ? from->broker_name : from->name);
	v->value = kafka_text(from->broker_value);
	v->source = from->broker_source;
	row->n_synonyms = (int32_t)(v + 1 - row->synonyms);
	return true;
}

/* False: the request has failed. */
static bool make_rows(struct kafka_request *r, const struct kafka_config_value *values, uint32_t n,
		      struct rows *rows)
{
	const struct kafka_describe_configs_request *q = r->body;
	rows->n = (int32_t)n;
	rows->v = values != NULL ? kafka_alloc(r, n * sizeof *rows->v) : NULL;
	for (uint32_t i = 0; rows->v != NULL && i < n; i++) {
		const struct kafka_config_value *from = &values[i];
		struct kafka_describe_configs_response_config *row = &rows->v[i];
		row->name = kafka_text(from->name);
		row->value = kafka_text(from->value);
		row->read_only = from->is_read_only;
		row->is_default = from->source == KAFKA_SOURCE_DEFAULT;
		row->config_source = from->source;
		row->config_type = from->type;
		row->documentation =
			q->include_documentation ? kafka_text(from->about) : kafka_string_null();
		if (q->include_synonyms && !make_synonyms(r, from, row)) {
			return false;
		}
	}
	return rows->v != NULL;
}

static bool is_alike(const struct kafka_settings *a, const struct kafka_settings *b)
{
	return a->retention_ms == b->retention_ms && a->retention_bytes == b->retention_bytes &&
	       a->cleanup == b->cleanup;
}

static bool topic_rows(struct kafka_request *r, const struct kafka_settings *s, struct rows *rows)
{
	if (rows->v != NULL && is_alike(&rows->settings, s)) {
		return true;
	}
	uint32_t n;
	const struct kafka_config_value *values = kafka_topic_configs(r, s, &n);
	rows->settings = *s;
	return make_rows(r, values, n, rows);
}

static bool broker_rows(struct kafka_request *r, struct rows *rows)
{
	if (rows->v != NULL) {
		return true;
	}
	uint32_t n;
	const struct kafka_config_value *values = kafka_broker_configs(r, &n);
	return make_rows(r, values, n, rows);
}

static bool is_asked(const struct kafka_describe_configs_request_resource *q, struct span name)
{
	for (int32_t i = 0; i < q->n_configuration_keys; i++) {
		if (span_eq(q->configuration_keys[i].s, name)) {
			return true;
		}
	}
	return q->n_configuration_keys < 0;
}

/* False: the request has failed. */
static bool tell(struct kafka_request *r, const struct kafka_describe_configs_request_resource *q,
		 const struct rows *rows, struct kafka_describe_configs_response_result *p)
{
	if (q->n_configuration_keys < 0) {
		p->configs = rows->v;
		p->n_configs = rows->n;
		return true;
	}
	p->configs = kafka_alloc(r, (size_t)rows->n * sizeof *p->configs);
	for (int32_t i = 0; p->configs != NULL && i < rows->n; i++) {
		if (is_asked(q, rows->v[i].name.s)) {
			p->configs[p->n_configs++] = rows->v[i];
		}
	}
	return p->configs != NULL;
}

static void refuse(struct kafka_request *r, struct kafka_describe_configs_response_result *p,
		   enum kafka_code code, const char *why)
{
	p->error_code = (int16_t)code;
	p->error_message = kafka_text(why);
	kafka_refused(r, code, "resource_name", p->resource_name.s);
}

/* The hub's settings, or why they are not shown. */
static enum kafka_code find_settings(const struct kafka_request *r, struct span name,
				     struct kafka_settings *out)
{
	struct kafka_topic topic;
	enum kafka_code code = kafka_topic_name_is_valid(name)
				       ? kafka_topic_find(r->conn, name, KAFKA_RIGHTS_ANY, &topic)
				       : KAFKA_INVALID_TOPIC;
	if (code != KAFKA_NONE) {
		return code;
	}
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	const struct catalog_hub *hub = catalog_hub_by_id(catalog, topic.hub_id);
	if (hub != NULL) {
		*out = kafka_settings_of(hub);
	} else {
		code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
	}
	catalog_drop(&catalog);
	return code;
}

static bool describe_topic(struct kafka_request *r,
			   const struct kafka_describe_configs_request_resource *q,
			   struct rows *rows, struct kafka_describe_configs_response_result *p)
{
	struct kafka_settings settings;
	enum kafka_code code = find_settings(r, q->resource_name.s, &settings);
	if (code == KAFKA_NONE) {
		return topic_rows(r, &settings, rows) && tell(r, q, rows, p);
	}
	refuse(r, p, code,
	       code == KAFKA_INVALID_TOPIC		  ? "this is no name of a topic"
	       : code == KAFKA_TOPIC_AUTHORIZATION_FAILED ? "no right to this topic"
							  : "there is no such topic");
	return true;
}

/* The empty name asks for what was set for all brokers while they run: nothing. */
static bool describe_broker(struct kafka_request *r,
			    const struct kafka_describe_configs_request_resource *q,
			    struct rows *rows, struct kafka_describe_configs_response_result *p)
{
	uint32_t node = r->conn->front->options.node_id;
	char *name = kafka_printf(r, "%u", node);
	if (name == NULL) {
		return false;
	}
	if (!kafka_any_allowed(r->conn, KAFKA_RIGHTS_ANY)) {
		refuse(r, p, KAFKA_CLUSTER_AUTHORIZATION_FAILED, "no right to anything");
	} else if (span_eq_str(q->resource_name.s, name)) {
		return broker_rows(r, rows) && tell(r, q, rows, p);
	} else if (q->resource_name.s.n > 0) {
		char *why = kafka_printf(r, "the broker is %u", node);
		if (why == NULL) {
			return false;
		}
		refuse(r, p, KAFKA_INVALID_REQUEST, why);
	}
	return true;
}

void kafka_on_describe_configs(struct kafka_request *r)
{
	const struct kafka_describe_configs_request *q = r->body;
	struct kafka_describe_configs_response p = {.n_results = q->n_resources};
	struct rows topic = {.v = NULL};
	struct rows broker = {.v = NULL};
	kafka_answer_is_long(r);
	p.results = kafka_alloc(r, (size_t)q->n_resources * sizeof *p.results);
	for (int32_t i = 0; p.results != NULL && i < q->n_resources; i++) {
		const struct kafka_describe_configs_request_resource *from = &q->resources[i];
		struct kafka_describe_configs_response_result *to = &p.results[i];
		to->error_message = kafka_string_null();
		to->resource_type = from->resource_type;
		to->resource_name = from->resource_name;
		bool fine = true;
		if (i >= RESOURCES_MAX) {
			refuse(r, to, KAFKA_INVALID_REQUEST, "too many resources in one request");
		} else if (from->resource_type == RESOURCE_TOPIC) {
			fine = describe_topic(r, from, &topic, to);
		} else if (from->resource_type == RESOURCE_BROKER) {
			fine = describe_broker(r, from, &broker, to);
		} else {
			refuse(r, to, KAFKA_INVALID_REQUEST,
			       "topics and brokers have settings here");
		}
		if (!fine) {
			return;
		}
	}
	if (p.results != NULL) {
		kafka_answer(r, &p);
	}
}
