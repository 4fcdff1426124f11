/* The tables of settings, what they are, and what clients may make of them. */

#include "gateway/kafka/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TYPE_BOOL = 1,
	TYPE_STRING = 2,
	TYPE_INT = 3,
	TYPE_LONG = 5,
	TYPE_DOUBLE = 6,
	TYPE_LIST = 7,
	HOUR_MS = 3600000,
	SHOWN = 249,	/* of a name or value in a text */
	NUMBER_TEXT = 32,
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
	SEGMENT_BYTES,
	TOMBSTONE_MS,
	CLEANUP,
	RETENTION_MS,
	RETENTION_HOURS,
	RETENTION_BYTES,
};

/* What a client may ask of a topic's setting. */
enum rule {
	AS_IT_IS,	/* nothing else: clients would get what they do not expect */
	ANY,		/* any value of its type from `least` up; it stays as it is */
	UP_TO,		/* the same, but no more than it is */
	OWN,		/* the hub's own: it is changed */
};

struct setting {
	const char *name;
	const char *broker_name; /* the broker's setting that a topic's comes from */
	int8_t type;
	enum rule rule;
	enum from from;
	const char *value; /* CONSTANT */
	int64_t least;	   /* ANY, UP_TO: of numbers */
	const char *about;
};

#define FOR_EVER "9223372036854775807"

static const struct setting topic_settings[] = {
	{"cleanup.policy", "log.cleanup.policy", TYPE_LIST, OWN, CLEANUP, NULL, 0,
	 "What becomes of old events: delete, compact, or both."},
	{"compression.type", "compression.type", TYPE_STRING, AS_IT_IS, CONSTANT, "producer", 0,
	 "Batches are stored as producers compressed them."},
	{"delete.retention.ms", "log.cleaner.delete.retention.ms", TYPE_LONG, UP_TO, TOMBSTONE_MS,
	 NULL, 0, "How long compaction keeps the marks of deleted keys."},
	{"file.delete.delay.ms", "log.segment.delete.delay.ms", TYPE_LONG, ANY, CONSTANT, "60000", 0,
	 "Time before the files of what was deleted go."},
	{"flush.messages", "log.flush.interval.messages", TYPE_LONG, ANY, CONSTANT, "1", 1,
	 "Events are on disk before their producer is answered."},
	{"flush.ms", "log.flush.interval.ms", TYPE_LONG, ANY, CONSTANT, "0", 0,
	 "Events are on disk before their producer is answered."},
	{"follower.replication.throttled.replicas", NULL, TYPE_LIST, ANY, CONSTANT, "", 0,
	 "Replicas that are held back; there are none."},
	{"index.interval.bytes", "log.index.interval.bytes", TYPE_INT, ANY, CONSTANT, "4096", 0,
	 "Distance between entries of a segment's index."},
	{"leader.replication.throttled.replicas", NULL, TYPE_LIST, ANY, CONSTANT, "", 0,
	 "Replicas that are held back; there are none."},
	{"local.retention.bytes", "log.local.retention.bytes", TYPE_LONG, AS_IT_IS, CONSTANT, "-2", 0,
	 "Of remote storage, which there is not."},
	{"local.retention.ms", "log.local.retention.ms", TYPE_LONG, AS_IT_IS, CONSTANT, "-2", 0,
	 "Of remote storage, which there is not."},
	{"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", TYPE_LONG, AS_IT_IS, CONSTANT,
	 FOR_EVER, 0, "Compaction is not promised within a time."},
	{"max.message.bytes", "message.max.bytes", TYPE_INT, UP_TO, MAX_BATCH_BYTES, NULL, 0,
	 "The largest record batch that is taken."},
	{"message.downconversion.enable", "log.message.downconversion.enable", TYPE_BOOL, ANY,
	 CONSTANT, "false", 0, "Old forms of batches are not made."},
	{"message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", TYPE_LONG, AS_IT_IS,
	 CONSTANT, FOR_EVER, 0, "How far a record's timestamp may lie ahead."},
	{"message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", TYPE_LONG,
	 AS_IT_IS, CONSTANT, FOR_EVER, 0, "How far a record's timestamp may lie back."},
	{"message.timestamp.type", "log.message.timestamp.type", TYPE_STRING, AS_IT_IS, CONSTANT,
	 "CreateTime", 0, "Records keep the timestamps that producers gave them."},
	{"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", TYPE_DOUBLE, ANY, CONSTANT,
	 "0.5", 0, "When compaction begins; it follows how much of a segment is superseded."},
	{"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", TYPE_LONG, AS_IT_IS, CONSTANT,
	 "0", 0, "No event is kept from compaction for a time."},
	{"min.insync.replicas", "min.insync.replicas", TYPE_INT, ANY, CONSTANT, "1", 1,
	 "Nodes that have an event before its producer is answered."},
	{"preallocate", "log.preallocate", TYPE_BOOL, ANY, CONSTANT, "false", 0,
	 "Whether files take their room on disk beforehand."},
	{"remote.storage.enable", NULL, TYPE_BOOL, AS_IT_IS, CONSTANT, "false", 0,
	 "Whether old segments go to remote storage."},
	{"retention.bytes", "log.retention.bytes", TYPE_LONG, OWN, RETENTION_BYTES, NULL, 0,
	 "What a partition keeps at most, about; -1: no bound."},
	{"retention.ms", "log.retention.ms", TYPE_LONG, OWN, RETENTION_MS, NULL, 0,
	 "How long events are kept; -1: for ever."},
	{"segment.bytes", "log.segment.bytes", TYPE_INT, ANY, SEGMENT_BYTES, NULL, 1,
	 "Size of a segment, which partitions share."},
	{"segment.index.bytes", "log.index.size.max.bytes", TYPE_INT, ANY, CONSTANT, "10485760", 0,
	 "Size of a segment's index."},
	{"segment.jitter.ms", "log.roll.jitter.ms", TYPE_LONG, ANY, CONSTANT, "0", 0,
	 "Spread of the times at which segments end."},
	{"segment.ms", "log.roll.ms", TYPE_LONG, ANY, CONSTANT, FOR_EVER, 1,
	 "Segments end by their size."},
	{"unclean.leader.election.enable", "unclean.leader.election.enable", TYPE_BOOL, ANY, CONSTANT,
	 "false", 0, "A node that lacks events never leads."},
};

static const struct setting broker_settings[] = {
	{"auto.create.topics.enable", NULL, TYPE_BOOL, AS_IT_IS, AUTO_CREATE, NULL, 0,
	 "Whether asking for metadata of a topic makes it."},
	{"broker.id", NULL, TYPE_INT, AS_IT_IS, NODE_ID, NULL, 0, "This node."},
	{"compression.type", NULL, TYPE_STRING, AS_IT_IS, CONSTANT, "producer", 0,
	 "Batches are stored as producers compressed them."},
	{"connections.max.idle.ms", NULL, TYPE_LONG, AS_IT_IS, IDLE_TIMEOUT_MS, NULL, 0,
	 "After so long without a request a connection ends."},
	{"default.replication.factor", NULL, TYPE_INT, AS_IT_IS, CONSTANT, "1", 0,
	 "Copies of a partition."},
	{"delete.topic.enable", NULL, TYPE_BOOL, AS_IT_IS, CONSTANT, "true", 0,
	 "Whether topics can be deleted."},
	{"fetch.max.bytes", NULL, TYPE_INT, AS_IT_IS, MAX_FETCH_BYTES, NULL, 0,
	 "The largest answer to one fetch."},
	{"group.max.session.timeout.ms", NULL, TYPE_INT, AS_IT_IS, CONSTANT, "1800000", 0,
	 "The longest session timeout of a group's member."},
	{"group.min.session.timeout.ms", NULL, TYPE_INT, AS_IT_IS, CONSTANT, "6000", 0,
	 "The shortest session timeout of a group's member."},
	{"log.cleaner.delete.retention.ms", NULL, TYPE_LONG, AS_IT_IS, TOMBSTONE_MS, NULL, 0,
	 "How long compaction keeps the marks of deleted keys."},
	{"log.cleaner.enable", NULL, TYPE_BOOL, AS_IT_IS, CONSTANT, "true", 0,
	 "Whether topics are compacted that say so."},
	{"log.cleanup.policy", NULL, TYPE_LIST, AS_IT_IS, CLEANUP, NULL, 0,
	 "What becomes of old events of topics that do not say it."},
	{"log.flush.interval.messages", NULL, TYPE_LONG, AS_IT_IS, CONSTANT, "1", 0,
	 "Events are on disk before their producer is answered."},
	{"log.message.timestamp.type", NULL, TYPE_STRING, AS_IT_IS, CONSTANT, "CreateTime", 0,
	 "Records keep the timestamps that producers gave them."},
	{"log.retention.bytes", NULL, TYPE_LONG, AS_IT_IS, RETENTION_BYTES, NULL, 0,
	 "What partitions keep of topics that do not say it; -1: no bound."},
	{"log.retention.hours", NULL, TYPE_INT, AS_IT_IS, RETENTION_HOURS, NULL, 0,
	 "How long topics that do not say it keep events; -1: for ever."},
	{"log.retention.ms", NULL, TYPE_LONG, AS_IT_IS, RETENTION_MS, NULL, 0,
	 "How long topics that do not say it keep events; -1: for ever."},
	{"log.segment.bytes", NULL, TYPE_INT, AS_IT_IS, SEGMENT_BYTES, NULL, 0, "Size of a segment."},
	{"message.max.bytes", NULL, TYPE_INT, AS_IT_IS, MAX_BATCH_BYTES, NULL, 0,
	 "The largest record batch that is taken."},
	{"min.insync.replicas", NULL, TYPE_INT, AS_IT_IS, CONSTANT, "1", 0,
	 "Nodes that have an event before its producer is answered."},
	{"num.partitions", NULL, TYPE_INT, AS_IT_IS, DEFAULT_PARTITIONS, NULL, 0,
	 "Partitions of a topic made without a number of them."},
	{"offset.metadata.max.bytes", NULL, TYPE_INT, AS_IT_IS, CONSTANT, "4096", 0,
	 "The longest text beside a committed offset."},
	{"offsets.topic.replication.factor", NULL, TYPE_INT, AS_IT_IS, CONSTANT, "1", 0,
	 "Copies of committed offsets."},
	{"socket.request.max.bytes", NULL, TYPE_INT, AS_IT_IS, MAX_REQUEST_BYTES, NULL, 0,
	 "The largest request that is taken."},
	{"unclean.leader.election.enable", NULL, TYPE_BOOL, AS_IT_IS, CONSTANT, "false", 0,
	 "A node that lacks events never leads."},
};

enum {
	N_TOPIC_SETTINGS = sizeof topic_settings / sizeof *topic_settings,
	N_BROKER_SETTINGS = sizeof broker_settings / sizeof *broker_settings,
};

_Static_assert(GROUPS_SESSION_MIN_MS == 6000, "as group.min.session.timeout.ms says");
_Static_assert(GROUPS_SESSION_MAX_MS == 1800000, "as group.max.session.timeout.ms says");
_Static_assert(GROUPS_METADATA_MAX == 4096, "as offset.metadata.max.bytes says");

/* ---- what they are ------------------------------------------------------------------ */

struct kafka_settings kafka_settings_default(const struct kafka_front *f)
{
	return (struct kafka_settings){
		.retention_ms = core_default_retention(f->core),
		.cleanup = CATALOG_DELETE,
	};
}

struct kafka_settings kafka_settings_of(const struct catalog_hub *hub)
{
	return (struct kafka_settings){
		.retention_ms = hub->retention_ms,
		.retention_bytes = hub->retention_bytes,
		.cleanup = hub->cleanup,
	};
}

void kafka_settings_fill(const struct kafka_settings *s, struct catalog_command *cmd)
{
	cmd->has_retention = s->has_retention;
	cmd->retention_ms = s->has_retention ? s->retention_ms : 0;
	cmd->has_retention_bytes = s->has_retention_bytes;
	cmd->retention_bytes = s->has_retention_bytes ? s->retention_bytes : 0;
	cmd->has_cleanup = s->has_cleanup;
	cmd->cleanup = s->has_cleanup ? s->cleanup : 0;
}

/* Numbers of which 0 is no bound are -1 in Kafka's words. */
static int64_t number_of(const struct kafka_front *f, const struct kafka_settings *s, enum from from)
{
	const struct kafka_options *o = &f->options;
	switch (from) {
	case NODE_ID:
		return o->node_id;
	case DEFAULT_PARTITIONS:
		return kafka_default_partitions(f);
	case MAX_BATCH_BYTES:
		return (int64_t)o->max_batch_bytes;
	case MAX_FETCH_BYTES:
		return (int64_t)o->max_fetch_bytes;
	case MAX_REQUEST_BYTES:
		return (int64_t)o->max_request_bytes;
	case IDLE_TIMEOUT_MS:
		return o->idle_timeout_ms;
	case SEGMENT_BYTES:
		return (int64_t)(o->segment_bytes < INT32_MAX ? o->segment_bytes : INT32_MAX);
	case TOMBSTONE_MS:
		return o->tombstone_retention_ms;
	case RETENTION_MS:
		return s->retention_ms > 0 ? s->retention_ms : -1;
	case RETENTION_HOURS:
		return s->retention_ms > 0 ? s->retention_ms / HOUR_MS : -1;
	case RETENTION_BYTES:
		return s->retention_bytes > 0 && s->retention_bytes <= INT64_MAX
			       ? (int64_t)s->retention_bytes
			       : -1;
	case CONSTANT:
	case AUTO_CREATE:
	case CLEANUP:
		break;
	}
	return 0;
}

/* The value as text, static or in `room`. */
static const char *text_of(const struct kafka_front *f, const struct kafka_settings *s,
			   const struct setting *t, char room[NUMBER_TEXT])
{
	switch (t->from) {
	case CONSTANT:
		return t->value;
	case AUTO_CREATE:
		return f->options.auto_create > 0 ? "true" : "false";
	case CLEANUP:
		return core_cleanup_text(s->cleanup);
	default:
		snprintf(room, NUMBER_TEXT, "%" PRId64, number_of(f, s, t->from));
		return room;
	}
}

/* In the request's arena where it is not static. NULL: kafka_fail was called. */
static const char *value_of(struct kafka_request *r, const struct kafka_settings *s,
			    const struct setting *t)
{
	char room[NUMBER_TEXT];
	const char *text = text_of(r->conn->front, s, t, room);
	return text == room ? kafka_printf(r, "%s", room) : text;
}

static struct kafka_config_value *make_values(struct kafka_request *r,
					      const struct setting *settings, uint32_t n,
					      const struct kafka_settings *s)
{
	struct kafka_settings preset = kafka_settings_default(r->conn->front);
	struct kafka_config_value *v = kafka_alloc(r, n * sizeof *v);
	for (uint32_t i = 0; v != NULL && i < n; i++) {
		const struct setting *t = &settings[i];
		bool is_static = t->from != CONSTANT && t->from != CLEANUP && t->from != RETENTION_BYTES &&
				 (t->from != RETENTION_MS || preset.retention_ms > 0) &&
				 (t->from != RETENTION_HOURS || preset.retention_ms > 0);
		v[i].name = t->name;
		v[i].about = t->about;
		v[i].type = t->type;
		v[i].is_read_only = t->rule != OWN;
		v[i].broker_name = t->broker_name;
		v[i].broker_source = is_static ? KAFKA_SOURCE_STATIC_BROKER : KAFKA_SOURCE_DEFAULT;
		v[i].broker_value = value_of(r, &preset, t);
		v[i].value = v[i].broker_value;
		v[i].source = v[i].broker_source;
		if (v[i].value != NULL && t->rule == OWN) {
			v[i].value = value_of(r, s, t);
		}
		if (v[i].value == NULL) {
			return NULL;
		}
		if (strcmp(v[i].value, v[i].broker_value) != 0) {
			v[i].source = KAFKA_SOURCE_TOPIC;
		}
	}
	return v;
}

struct kafka_config_value *kafka_topic_configs(struct kafka_request *r,
					       const struct kafka_settings *s, uint32_t *n)
{
	*n = N_TOPIC_SETTINGS;
	return make_values(r, topic_settings, *n, s);
}

struct kafka_config_value *kafka_broker_configs(struct kafka_request *r, uint32_t *n)
{
	struct kafka_settings preset = kafka_settings_default(r->conn->front);
	*n = N_BROKER_SETTINGS;
	return make_values(r, broker_settings, *n, &preset);
}

/* ---- what may be asked of them -------------------------------------------------------- */

/* A text in the request's arena; without memory for it, `plain`. */
static const char *say(struct kafka_request *r, const char *plain, const char *fmt, ...)
	PRINTF(3, 4);
static const char *say(struct kafka_request *r, const char *plain, const char *fmt, ...)
{
	char text[ERR_DETAIL_MAX];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	size_t n = strlen(text) + 1;
	char *copy = kafka_arena_alloc(&r->arena, n);
	if (copy == NULL) {
		return plain;
	}
	memcpy(copy, text, n);
	return copy;
}

static struct kafka_refusal bad_value(struct kafka_request *r, const struct setting *t,
				      const char *want)
{
	return (struct kafka_refusal){KAFKA_INVALID_CONFIG, say(r, want, "%s: %s", t->name, want)};
}

/* The whole text as a number. */
static bool read_number(struct span s, int64_t *out)
{
	char text[NUMBER_TEXT];
	char *end = NULL;
	if (s.n == 0 || span_to_cstr(s, text, sizeof text) != ERR_OK || strchr(" \t\n+", text[0]) != NULL) {
		return false;
	}
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool is_ratio(struct span s)
{
	char text[NUMBER_TEXT];
	char *end = NULL;
	if (s.n == 0 || span_to_cstr(s, text, sizeof text) != ERR_OK) {
		return false;
	}
	double v = strtod(text, &end);
	return *end == '\0' && isfinite(v) && v >= 0 && v <= 1;
}

/* A value of a setting that stays as it is. */
static struct kafka_refusal check_ignored(struct kafka_request *r, const struct setting *t,
					  struct span value)
{
	static const struct kafka_refusal fine = {KAFKA_NONE, NULL};
	char room[NUMBER_TEXT];
	struct kafka_settings preset = kafka_settings_default(r->conn->front);
	const char *have = text_of(r->conn->front, &preset, t, room);
	int64_t v;
	if (span_eq_str(value, have)) {
		return fine;
	}
	if (t->rule == AS_IT_IS) {
		return (struct kafka_refusal){
			KAFKA_INVALID_CONFIG,
			say(r, "a setting cannot be set", "%s: cannot be set, it is %s", t->name, have)};
	}
	switch (t->type) {
	case TYPE_BOOL:
		return span_ieq_str(value, "true") || span_ieq_str(value, "false")
			       ? fine
			       : bad_value(r, t, "neither true nor false");
	case TYPE_DOUBLE:
		return is_ratio(value) ? fine : bad_value(r, t, "not a number from 0 to 1");
	case TYPE_INT:
	case TYPE_LONG:
		break;
	default:
		return fine;
	}
	if (!read_number(value, &v) || v < t->least || (t->type == TYPE_INT && v > INT32_MAX)) {
		return bad_value(r, t, "not a number that it may be");
	}
	if (t->rule == UP_TO && v > number_of(r->conn->front, &preset, t->from)) {
		return (struct kafka_refusal){
			KAFKA_INVALID_CONFIG,
			say(r, "a setting is too large", "%s: the server is set to %s, which is the most",
			    t->name, have)};
	}
	return fine;
}

/* Kafka's -1 is our 0, no bound; its 0, nothing, is the least that we know. */
static bool read_bound(struct span value, uint64_t *out)
{
	int64_t v;
	if (!read_number(value, &v) || v < -1) {
		return false;
	}
	*out = v < 0 ? 0 : v == 0 ? 1 : (uint64_t)v;
	return true;
}

static struct kafka_refusal change_cleanup(struct kafka_request *r, const struct setting *t,
					   struct kafka_settings *s, int8_t op, struct span value)
{
	enum catalog_cleanup given;
	if (core_cleanup_parse(value, &given) != ERR_OK) {
		return bad_value(r, t, "is delete, compact, or compact,delete");
	}
	unsigned all = op == KAFKA_CONFIG_APPEND     ? (unsigned)s->cleanup | (unsigned)given
		       : op == KAFKA_CONFIG_SUBTRACT ? (unsigned)s->cleanup & ~(unsigned)given
						     : (unsigned)given;
	if (all == 0) {
		return bad_value(r, t, "would be empty");
	}
	s->cleanup = (enum catalog_cleanup)all;
	s->has_cleanup = true;
	return (struct kafka_refusal){KAFKA_NONE, NULL};
}

/* One of the three that are the hub's own. */
static struct kafka_refusal change_own(struct kafka_request *r, const struct setting *t,
				       struct kafka_settings *s, int8_t op, struct span value)
{
	struct kafka_settings preset = kafka_settings_default(r->conn->front);
	bool is_reset = op == KAFKA_CONFIG_DELETE;
	uint64_t bound = 0;
	if (t->from == CLEANUP) {
		return change_cleanup(r, t, s, is_reset ? KAFKA_CONFIG_SET : op,
				      is_reset ? span_str(core_cleanup_text(preset.cleanup)) : value);
	}
	if (!is_reset && !read_bound(value, &bound)) {
		return bad_value(r, t, "not a number from -1 up");
	}
	if (t->from == RETENTION_MS) {
		s->retention_ms = is_reset ? preset.retention_ms : (int64_t)bound;
		s->has_retention = true;
	} else {
		s->retention_bytes = bound;
		s->has_retention_bytes = true;
	}
	return (struct kafka_refusal){KAFKA_NONE, NULL};
}

static const struct setting *find_setting(struct span name)
{
	for (size_t i = 0; i < N_TOPIC_SETTINGS; i++) {
		if (span_eq_str(name, topic_settings[i].name)) {
			return &topic_settings[i];
		}
	}
	return NULL;
}

struct kafka_refusal kafka_settings_change(struct kafka_request *r, struct kafka_settings *s,
					   int8_t op, struct span name,
					   const struct kafka_string *value)
{
	const struct setting *t = find_setting(name);
	int shown = name.n < SHOWN ? (int)name.n : SHOWN;
	if (t == NULL && op == KAFKA_CONFIG_DELETE) {
		return (struct kafka_refusal){KAFKA_NONE, NULL}; /* as Kafka: there is none of it */
	}
	if (t == NULL) {
		return (struct kafka_refusal){KAFKA_INVALID_CONFIG,
					      say(r, "there is no such setting",
						  "%.*s: there is no such setting", shown,
						  shown > 0 ? (const char *)name.p : "")};
	}
	if (op < KAFKA_CONFIG_SET || op > KAFKA_CONFIG_SUBTRACT) {
		return (struct kafka_refusal){KAFKA_INVALID_REQUEST, "there is no such operation"};
	}
	bool is_of_list = op == KAFKA_CONFIG_APPEND || op == KAFKA_CONFIG_SUBTRACT;
	if (is_of_list && t->type != TYPE_LIST) {
		return bad_value(r, t, "is no list");
	}
	if (op != KAFKA_CONFIG_DELETE && value->is_null) {
		return bad_value(r, t, "has no value");
	}
	if (t->rule == OWN) {
		return change_own(r, t, s, op, value->s);
	}
	return op == KAFKA_CONFIG_SET ? check_ignored(r, t, value->s)
				      : (struct kafka_refusal){KAFKA_NONE, NULL};
}
