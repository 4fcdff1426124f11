/* DescribeConfigs: the settings of topics and of the broker that hold here, by
 * the names that Kafka's tools look for. None can be changed by a client. */

#include <inttypes.h>
#include <string.h>

#include "gateway/kafka/handlers.h"

enum {
	RESOURCE_TOPIC = 2,
	RESOURCE_BROKER = 4,
	/* Every hub there can be, and the brokers of a large cluster. */
	RESOURCES_MAX = 4 * LIMIT_HUBS,

	SOURCE_STATIC_BROKER = 4,
	SOURCE_DEFAULT = 5,

	TYPE_BOOL = 1,
	TYPE_STRING = 2,
	TYPE_INT = 3,
	TYPE_LONG = 5,
	TYPE_DOUBLE = 6,
	TYPE_LIST = 7,
};

/* Where a value comes from. */
enum from {
	CONSTANT,
	NODE_ID,
	DEFAULT_PARTITIONS,
	AUTO_CREATE,
	MAX_BATCH_BYTES,
	MAX_FETCH_BYTES,
	MAX_REQUEST_BYTES,
	IDLE_TIMEOUT_MS,
};

struct setting {
	const char *name;
	const char *broker_name; /* the broker's setting that a topic's comes from */
	int8_t type;
	enum from from;
	const char *value; /* CONSTANT */
	const char *about;
};

#define FOR_EVER "9223372036854775807"

static const struct setting topic_settings[] = {
	{"cleanup.policy", "log.cleanup.policy", TYPE_LIST, CONSTANT, "delete",
	 "What becomes of old events; events are not compacted."},
	{"compression.type", "compression.type", TYPE_STRING, CONSTANT, "producer",
	 "Batches are stored as producers compressed them."},
	{"delete.retention.ms", "log.cleaner.delete.retention.ms", TYPE_LONG, CONSTANT, "86400000",
	 "Of compacted topics only."},
	{"file.delete.delay.ms", "log.segment.delete.delay.ms", TYPE_LONG, CONSTANT, "60000",
	 "Time before the files of what was deleted go."},
	{"flush.messages", "log.flush.interval.messages", TYPE_LONG, CONSTANT, "1",
	 "Events are on disk before their producer is answered."},
	{"flush.ms", "log.flush.interval.ms", TYPE_LONG, CONSTANT, "0",
	 "Events are on disk before their producer is answered."},
	{"index.interval.bytes", "log.index.interval.bytes", TYPE_INT, CONSTANT, "4096",
	 "Distance between entries of a segment's index."},
	{"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", TYPE_LONG, CONSTANT,
	 FOR_EVER, "Of compacted topics only."},
	{"max.message.bytes", "message.max.bytes", TYPE_INT, MAX_BATCH_BYTES, NULL,
	 "The largest record batch that is taken."},
	{"message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", TYPE_LONG,
	 CONSTANT, FOR_EVER, "How far a record's timestamp may lie ahead."},
	{"message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", TYPE_LONG,
	 CONSTANT, FOR_EVER, "How far a record's timestamp may lie back."},
	{"message.timestamp.type", "log.message.timestamp.type", TYPE_STRING, CONSTANT,
	 "CreateTime", "Records keep the timestamps that producers gave them."},
	{"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", TYPE_DOUBLE, CONSTANT,
	 "0.5", "Of compacted topics only."},
	{"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", TYPE_LONG, CONSTANT, "0",
	 "Of compacted topics only."},
	{"min.insync.replicas", "min.insync.replicas", TYPE_INT, CONSTANT, "1",
	 "Nodes that have an event before its producer is answered."},
	{"preallocate", "log.preallocate", TYPE_BOOL, CONSTANT, "false",
	 "Whether files take their room on disk beforehand."},
	{"remote.storage.enable", NULL, TYPE_BOOL, CONSTANT, "false",
	 "Whether old segments go to remote storage."},
	{"retention.bytes", "log.retention.bytes", TYPE_LONG, CONSTANT, "-1",
	 "No size limits a partition."},
	{"retention.ms", "log.retention.ms", TYPE_LONG, CONSTANT, "-1",
	 "Events are kept for ever."},
	{"segment.bytes", "log.segment.bytes", TYPE_INT, CONSTANT, "1073741824",
	 "Size of a segment."},
	{"segment.index.bytes", "log.index.size.max.bytes", TYPE_INT, CONSTANT, "10485760",
	 "Size of a segment's index."},
	{"segment.jitter.ms", "log.roll.jitter.ms", TYPE_LONG, CONSTANT, "0",
	 "Spread of the times at which segments end."},
	{"segment.ms", "log.roll.ms", TYPE_LONG, CONSTANT, "604800000", "Age of a segment."},
	{"unclean.leader.election.enable", "unclean.leader.election.enable", TYPE_BOOL, CONSTANT,
	 "false", "A node that lacks events never leads."},
};

static const struct setting broker_settings[] = {
	{"auto.create.topics.enable", NULL, TYPE_BOOL, AUTO_CREATE, NULL,
	 "Whether asking for metadata of a topic makes it."},
	{"broker.id", NULL, TYPE_INT, NODE_ID, NULL, "This node."},
	{"compression.type", NULL, TYPE_STRING, CONSTANT, "producer",
	 "Batches are stored as producers compressed them."},
	{"connections.max.idle.ms", NULL, TYPE_LONG, IDLE_TIMEOUT_MS, NULL,
	 "After so long without a request a connection ends."},
	{"default.replication.factor", NULL, TYPE_INT, CONSTANT, "1", "Copies of a partition."},
	{"delete.topic.enable", NULL, TYPE_BOOL, CONSTANT, "true",
	 "Whether topics can be deleted."},
	{"fetch.max.bytes", NULL, TYPE_INT, MAX_FETCH_BYTES, NULL,
	 "The largest answer to one fetch."},
	{"group.max.session.timeout.ms", NULL, TYPE_INT, CONSTANT, "1800000",
	 "The longest session timeout of a group's member."},
	{"group.min.session.timeout.ms", NULL, TYPE_INT, CONSTANT, "6000",
	 "The shortest session timeout of a group's member."},
	{"log.cleanup.policy", NULL, TYPE_LIST, CONSTANT, "delete",
	 "What becomes of old events; events are not compacted."},
	{"log.flush.interval.messages", NULL, TYPE_LONG, CONSTANT, "1",
	 "Events are on disk before their producer is answered."},
	{"log.message.timestamp.type", NULL, TYPE_STRING, CONSTANT, "CreateTime",
	 "Records keep the timestamps that producers gave them."},
	{"log.retention.bytes", NULL, TYPE_LONG, CONSTANT, "-1", "No size limits a partition."},
	{"log.retention.hours", NULL, TYPE_INT, CONSTANT, "-1", "Events are kept for ever."},
	{"log.retention.ms", NULL, TYPE_LONG, CONSTANT, "-1", "Events are kept for ever."},
	{"log.segment.bytes", NULL, TYPE_INT, CONSTANT, "1073741824", "Size of a segment."},
	{"message.max.bytes", NULL, TYPE_INT, MAX_BATCH_BYTES, NULL,
	 "The largest record batch that is taken."},
	{"min.insync.replicas", NULL, TYPE_INT, CONSTANT, "1",
	 "Nodes that have an event before its producer is answered."},
	{"num.partitions", NULL, TYPE_INT, DEFAULT_PARTITIONS, NULL,
	 "Partitions of a topic made without a number of them."},
	{"offset.metadata.max.bytes", NULL, TYPE_INT, CONSTANT, "4096",
	 "The longest text beside a committed offset."},
	{"offsets.topic.replication.factor", NULL, TYPE_INT, CONSTANT, "1",
	 "Copies of committed offsets."},
	{"socket.request.max.bytes", NULL, TYPE_INT, MAX_REQUEST_BYTES, NULL,
	 "The largest request that is taken."},
	{"unclean.leader.election.enable", NULL, TYPE_BOOL, CONSTANT, "false",
	 "A node that lacks events never leads."},
};

enum {
	N_TOPIC_SETTINGS = sizeof topic_settings / sizeof *topic_settings,
	N_BROKER_SETTINGS = sizeof broker_settings / sizeof *broker_settings,
};

_Static_assert(GROUPS_SESSION_MIN_MS == 6000, "as group.min.session.timeout.ms says");
_Static_assert(GROUPS_SESSION_MAX_MS == 1800000, "as group.max.session.timeout.ms says");
_Static_assert(GROUPS_METADATA_MAX == 4096, "as offset.metadata.max.bytes says");

/* The value as text; NULL: the request has failed. */
static const char *value_of(struct kafka_request *r, const struct setting *s)
{
	const struct kafka_options *o = &r->conn->front->options;
	uint64_t v = 0;
	switch (s->from) {
	case CONSTANT:
		return s->value;
	case AUTO_CREATE:
		return o->auto_create > 0 ? "true" : "false";
	case NODE_ID:
		v = o->node_id;
		break;
	case DEFAULT_PARTITIONS:
		v = kafka_default_partitions(r->conn->front);
		break;
	case MAX_BATCH_BYTES:
		v = o->max_batch_bytes;
		break;
	case MAX_FETCH_BYTES:
		v = o->max_fetch_bytes;
		break;
	case MAX_REQUEST_BYTES:
		v = o->max_request_bytes;
		break;
	case IDLE_TIMEOUT_MS:
		v = o->idle_timeout_ms;
		break;
	}
	return kafka_printf(r, "%" PRIu64, v);
}

struct kafka_config_value *kafka_topic_configs(struct kafka_request *r, uint32_t *n)
{
	struct kafka_config_value *v = kafka_alloc(r, N_TOPIC_SETTINGS * sizeof *v);
	for (uint32_t i = 0; v != NULL && i < N_TOPIC_SETTINGS; i++) {
		v[i].name = topic_settings[i].name;
		v[i].type = topic_settings[i].type;
		v[i].value = value_of(r, &topic_settings[i]);
		if (v[i].value == NULL) {
			return NULL;
		}
	}
	*n = N_TOPIC_SETTINGS;
	return v;
}

/* ---- DescribeConfigs ---------------------------------------------------------------- */

/* Rows made once for all resources of a kind. */
struct rows {
	const struct setting *settings;
	int32_t n;
	struct kafka_describe_configs_response_config *v;
};

/* False: the request has failed. */
static bool make_rows(struct kafka_request *r, struct rows *rows)
{
	const struct kafka_describe_configs_request *q = r->body;
	if (rows->v != NULL) {
		return true;
	}
	rows->v = kafka_alloc(r, (size_t)rows->n * sizeof *rows->v);
	for (int32_t i = 0; rows->v != NULL && i < rows->n; i++) {
		const struct setting *s = &rows->settings[i];
		struct kafka_describe_configs_response_config *row = &rows->v[i];
		const char *value = value_of(r, s);
		struct kafka_describe_configs_response_synonym *synonym =
			value != NULL ? kafka_alloc(r, sizeof *synonym) : NULL;
		if (synonym == NULL) {
			return false;
		}
		bool is_set = s->broker_name == NULL && s->from != CONSTANT;
		row->name = kafka_text(s->name);
		row->value = kafka_text(value);
		row->read_only = true;
		row->is_default = !is_set;
		row->config_source = is_set ? SOURCE_STATIC_BROKER : SOURCE_DEFAULT;
		row->config_type = s->type;
		row->documentation = q->include_documentation ? kafka_text(s->about) : kafka_string_null();
		synonym->name = kafka_text(s->broker_name != NULL ? s->broker_name : s->name);
		synonym->value = row->value;
		synonym->source = row->config_source;
		row->synonyms = synonym;
		row->n_synonyms = q->include_synonyms ? 1 : 0;
	}
	return rows->v != NULL;
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
		 struct rows *rows, struct kafka_describe_configs_response_result *p)
{
	if (!make_rows(r, rows)) {
		return false;
	}
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

static bool describe_topic(struct kafka_request *r,
			   const struct kafka_describe_configs_request_resource *q,
			   struct rows *rows, struct kafka_describe_configs_response_result *p)
{
	struct kafka_topic topic;
	enum kafka_code code =
		kafka_topic_name_is_valid(q->resource_name.s)
			? kafka_topic_find(r->conn, q->resource_name.s, KAFKA_RIGHTS_ANY, &topic)
			: KAFKA_INVALID_TOPIC;
	if (code == KAFKA_NONE) {
		return tell(r, q, rows, p);
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
		return tell(r, q, rows, p);
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
	struct rows topic = {topic_settings, N_TOPIC_SETTINGS, NULL};
	struct rows broker = {broker_settings, N_BROKER_SETTINGS, NULL};
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
