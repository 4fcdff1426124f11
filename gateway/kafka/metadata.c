/* Metadata, DescribeCluster and FindCoordinator: where things are. Everything is
 * here: this node leads every partition and coordinates every group. */

#include <string.h>

#include "gateway/kafka/handlers.h"

enum {
	/* Rows of partitions in one answer: every hub there can be, whole. */
	METADATA_PARTITIONS_MAX = LIMIT_HUBS * LIMIT_PARTITIONS,
	METADATA_PARTITIONS_FIRST = 32,
	FIRST_WITHOUT_ALL = 1, /* from here an empty list asks for no topic */
	FIRST_WITH_TOPIC_OPERATIONS = 8,
	FIRST_WITH_KEYS = 4, /* FindCoordinator for several */
	KEYS_MAX = 10000,    /* of one FindCoordinator */
	COORDINATE_GROUP = 0,
	COORDINATE_TRANSACTION = 1,
	ENDPOINT_BROKERS = 1,
	CLIENT_KNOWS_NO_NODE = -1,
};

/* Metadata that makes hubs first; commands comes first. */
struct metadata {
	struct kafka_commands commands;
	uint32_t *wanted;	 /* which topics of the request are to be made */
	enum kafka_code *failed; /* by topic of the request: why it was not */
};

/* An answer being built. */
struct builder {
	struct kafka_request *r;
	const struct catalog *catalog;
	struct kafka_metadata_response *p;
	struct kafka_metadata_response_partition *partitions; /* 0 .. n - 1, for all topics */
	uint32_t n_partitions;
	uint64_t total;
	int32_t *nodes; /* this one */
};

/* ---- operations that a client may do (KIP-430) ---------------------------------- */

static int32_t topic_operations(const struct kafka_conn *c, struct span name)
{
	int32_t bits = 0;
	if (kafka_topic_allowed(c, name, AUTH_SEND) == KAFKA_NONE) {
		bits |= KAFKA_OP_WRITE | KAFKA_OP_DESCRIBE | KAFKA_OP_DESCRIBE_CONFIGS;
	}
	if (kafka_topic_allowed(c, name, AUTH_LISTEN) == KAFKA_NONE) {
		bits |= KAFKA_OP_READ | KAFKA_OP_DESCRIBE | KAFKA_OP_DESCRIBE_CONFIGS;
	}
	if (kafka_topic_allowed(c, name, AUTH_MANAGE) == KAFKA_NONE) {
		bits |= KAFKA_OP_CREATE | KAFKA_OP_DELETE | KAFKA_OP_ALTER | KAFKA_OP_DESCRIBE |
			KAFKA_OP_DESCRIBE_CONFIGS;
	}
	return bits;
}

static int32_t cluster_operations(const struct kafka_conn *c)
{
	int32_t bits = KAFKA_OP_DESCRIBE;
	if (kafka_any_allowed(c, AUTH_SEND)) {
		bits |= KAFKA_OP_IDEMPOTENT_WRITE;
	}
	if (kafka_namespace_allowed(c, AUTH_MANAGE)) {
		bits |= KAFKA_OP_CREATE | KAFKA_OP_ALTER | KAFKA_OP_DESCRIBE_CONFIGS;
	}
	return bits;
}

/* ---- rows of topics ---------------------------------------------------------------- */

/* All hubs have the same rows but for how many: one array serves all. */
static bool have_partitions(struct builder *b, uint32_t n)
{
	if (n <= b->n_partitions) {
		return true;
	}
	uint32_t room = b->n_partitions > 0 ? 2 * b->n_partitions : METADATA_PARTITIONS_FIRST;
	room = room < n ? n : room;
	struct kafka_metadata_response_partition *v = kafka_alloc(b->r, room * sizeof *v);
	if (v == NULL) {
		return false;
	}
	for (uint32_t i = 0; i < room; i++) {
		v[i] = (struct kafka_metadata_response_partition){
			.partition_index = (int32_t)i,
			.leader_id = b->nodes[0],
			.leader_epoch = KAFKA_LEADER_EPOCH,
			.replica_nodes = b->nodes,
			.n_replica_nodes = 1,
			.isr_nodes = b->nodes,
			.n_isr_nodes = 1,
		};
	}
	b->partitions = v;
	b->n_partitions = room;
	return true;
}

/* False: the request has failed. */
static bool add_hub(struct builder *b, const struct catalog_hub *hub, struct kafka_string name)
{
	const struct kafka_metadata_request *q = b->r->body;
	b->total += hub->partitions;
	if (b->total > METADATA_PARTITIONS_MAX) {
		kafka_fail(b->r, ERR_TOO_LARGE);
		return false;
	}
	if (!have_partitions(b, hub->partitions)) {
		return false;
	}
	bool with_operations = b->r->version >= FIRST_WITH_TOPIC_OPERATIONS &&
			       q->include_topic_authorized_operations;
	b->p->topics[b->p->n_topics++] = (struct kafka_metadata_response_topic){
		.name = name,
		.topic_id = kafka_topic_id(b->r->conn->front, hub->id),
		.partitions = b->partitions,
		.n_partitions = (int32_t)hub->partitions,
		.topic_authorized_operations =
			with_operations ? topic_operations(b->r->conn, span_str(hub->name))
					: KAFKA_NO_OPERATIONS,
	};
	return true;
}

static void add_error(struct builder *b, const struct kafka_metadata_request_topic *asked,
		      enum kafka_code code)
{
	b->p->topics[b->p->n_topics++] = (struct kafka_metadata_response_topic){
		.error_code = (int16_t)code,
		.name = asked->name,
		.topic_id = asked->topic_id,
		.topic_authorized_operations = KAFKA_NO_OPERATIONS,
	};
	if (code == KAFKA_TOPIC_AUTHORIZATION_FAILED || code == KAFKA_INVALID_TOPIC) {
		kafka_refused(b->r, code, "topic", asked->name.s);
	}
}

static bool add_by_id(struct builder *b, const struct kafka_metadata_request_topic *asked)
{
	uint32_t id = kafka_topic_of_id(b->r->conn->front, &asked->topic_id);
	const struct catalog_hub *hub = id != 0 ? catalog_hub_by_id(b->catalog, id) : NULL;
	/* Whom the hub is hidden from learns no more than that of one that never was. */
	if (hub == NULL || !kafka_topic_name_is_valid(span_str(hub->name)) ||
	    kafka_topic_allowed(b->r->conn, span_str(hub->name), KAFKA_RIGHTS_ANY) != KAFKA_NONE) {
		add_error(b, asked, KAFKA_UNKNOWN_TOPIC_ID);
		return true;
	}
	return add_hub(b, hub, kafka_text(hub->name));
}

/* `failed`: why the hub could not be made just now, KAFKA_NONE if nobody tried. */
static bool add_by_name(struct builder *b, const struct kafka_metadata_request_topic *asked,
			enum kafka_code failed)
{
	struct span name = asked->name.s;
	enum kafka_code code = kafka_topic_name_is_valid(name)
				       ? kafka_topic_allowed(b->r->conn, name, KAFKA_RIGHTS_ANY)
				       : KAFKA_INVALID_TOPIC;
	const struct catalog_hub *hub =
		code == KAFKA_NONE ? catalog_hub_find(b->catalog, name) : NULL;
	if (hub != NULL) {
		return add_hub(b, hub, asked->name);
	}
	add_error(b, asked,
		  code != KAFKA_NONE	 ? code
		  : failed != KAFKA_NONE ? failed
					 : KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
	return true;
}

static bool add_asked(struct builder *b, const struct metadata *made)
{
	const struct kafka_metadata_request *q = b->r->body;
	b->p->topics = kafka_alloc(b->r, (size_t)q->n_topics * sizeof *b->p->topics);
	for (int32_t i = 0; b->p->topics != NULL && i < q->n_topics; i++) {
		enum kafka_code failed = made != NULL ? made->failed[i] : KAFKA_NONE;
		bool fine = q->topics[i].name.is_null ? add_by_id(b, &q->topics[i])
						      : add_by_name(b, &q->topics[i], failed);
		if (!fine) {
			return false;
		}
	}
	return b->p->topics != NULL;
}

static bool add_all(struct builder *b)
{
	b->p->topics = kafka_alloc(b->r, b->catalog->n_hubs * sizeof *b->p->topics);
	for (uint32_t i = 0; b->p->topics != NULL && i < b->catalog->n_hubs; i++) {
		const struct catalog_hub *hub = b->catalog->hubs[i];
		struct span name = span_str(hub->name);
		if (kafka_topic_name_is_valid(name) &&
		    kafka_topic_allowed(b->r->conn, name, KAFKA_RIGHTS_ANY) == KAFKA_NONE &&
		    !add_hub(b, hub, kafka_text(hub->name))) {
			return false;
		}
	}
	return b->p->topics != NULL;
}

/* ---- Metadata ------------------------------------------------------------------------ */

static bool asks_for_all(const struct kafka_request *r)
{
	const struct kafka_metadata_request *q = r->body;
	return q->n_topics < 0 || (q->n_topics == 0 && r->version < FIRST_WITHOUT_ALL);
}

/* `made`: NULL when no hub was to be made. */
static void metadata_answer(struct kafka_request *r, const struct metadata *made)
{
	const struct kafka_metadata_request *q = r->body;
	const struct kafka_listener *l = r->conn->listener;
	const struct kafka_front *f = r->conn->front;
	int32_t node = (int32_t)f->options.node_id;
	struct kafka_metadata_response_broker broker = {
		.node_id = node,
		.host = kafka_text(l->host),
		.port = l->port,
		.rack = kafka_string_null(),
	};
	struct kafka_metadata_response p = {
		.brokers = &broker,
		.n_brokers = 1,
		.cluster_id = kafka_text(f->cluster_id),
		.controller_id = node,
		.cluster_authorized_operations = q->include_cluster_authorized_operations
							 ? cluster_operations(r->conn)
							 : KAFKA_NO_OPERATIONS,
	};
	struct builder b = {.r = r, .p = &p, .nodes = &node};
	b.catalog = core_catalog(f->core);
	if (asks_for_all(r) ? add_all(&b) : add_asked(&b, made)) {
		kafka_answer(r, &p);
	}
	catalog_drop(&b.catalog);
}

static bool make_fill(struct kafka_request *r, uint32_t at, struct catalog_command *cmd)
{
	const struct metadata *m = r->state;
	const struct kafka_metadata_request *q = r->body;
	cmd->op = CATALOG_HUB_CREATE;
	cmd->partitions = r->conn->front->options.auto_create;
	return span_to_cstr(q->topics[m->wanted[at]].name.s, cmd->hub, sizeof cmd->hub) == ERR_OK;
}

static void make_done(struct kafka_request *r, uint32_t at, enum err e, const struct err_detail *d)
{
	const struct metadata *m = r->state;
	const struct kafka_metadata_request *q = r->body;
	enum kafka_code code = e == ERR_OK || e == ERR_EXISTS ? KAFKA_NONE
			       : e == ERR_INVALID	      ? KAFKA_INVALID_TOPIC
			       : err_info(e)->retry	      ? KAFKA_LEADER_NOT_AVAILABLE
							      : kafka_code_of(e);
	m->failed[m->wanted[at]] = code;
	(void)d;
	if (code != KAFKA_NONE) {
		kafka_refused(r, code, "topic", q->topics[m->wanted[at]].name.s);
	}
}

static void make_all(struct kafka_request *r)
{
	metadata_answer(r, r->state);
}

/* Which topics are missing and may be made. NULL: none, or the request failed
 * (then it is answered). */
static struct metadata *find_missing(struct kafka_request *r)
{
	const struct kafka_metadata_request *q = r->body;
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	struct metadata *m = NULL;
	/* More hubs than there can be are not tried. */
	for (int32_t i = 0; i < q->n_topics && (m == NULL || m->commands.n < LIMIT_HUBS); i++) {
		struct span name = q->topics[i].name.s;
		if (q->topics[i].name.is_null || !kafka_topic_name_is_valid(name) ||
		    catalog_hub_find(catalog, name) != NULL ||
		    kafka_topic_allowed(r->conn, name, AUTH_MANAGE) != KAFKA_NONE) {
			continue;
		}
		if (m == NULL) {
			size_t n = (size_t)q->n_topics;
			m = kafka_alloc(r, sizeof *m);
			m = m != NULL &&
					    (m->wanted = kafka_alloc(r, n * sizeof *m->wanted)) !=
						    NULL &&
					    (m->failed = kafka_alloc(r, n * sizeof *m->failed)) !=
						    NULL
				    ? m
				    : NULL;
		}
		if (m == NULL) {
			break;
		}
		m->wanted[m->commands.n++] = (uint32_t)i;
	}
	catalog_drop(&catalog);
	return m;
}

void kafka_on_metadata(struct kafka_request *r)
{
	const struct kafka_metadata_request *q = r->body;
	struct metadata *m = NULL;
	kafka_answer_is_long(r);
	if (r->conn->front->options.auto_create > 0 && q->allow_auto_topic_creation &&
	    !asks_for_all(r)) {
		m = find_missing(r);
	}
	if (m != NULL) {
		r->state = m;
		m->commands.fill = make_fill;
		m->commands.done = make_done;
		m->commands.all = make_all;
		kafka_commands_start(r, &m->commands);
	} else if (!r->is_answered) {
		metadata_answer(r, NULL);
	}
}

/* ---- DescribeCluster ------------------------------------------------------------------- */

void kafka_on_describe_cluster(struct kafka_request *r)
{
	const struct kafka_describe_cluster_request *q = r->body;
	const struct kafka_listener *l = r->conn->listener;
	const struct kafka_front *f = r->conn->front;
	struct kafka_describe_cluster_response_broker broker = {
		.broker_id = (int32_t)f->options.node_id,
		.host = kafka_text(l->host),
		.port = l->port,
		.rack = kafka_string_null(),
	};
	struct kafka_describe_cluster_response p = {
		.error_message = kafka_string_null(),
		.endpoint_type = q->endpoint_type,
		.cluster_id = kafka_text(f->cluster_id),
		.controller_id = (int32_t)f->options.node_id,
		.brokers = &broker,
		.n_brokers = 1,
		.cluster_authorized_operations = q->include_cluster_authorized_operations
							 ? cluster_operations(r->conn)
							 : KAFKA_NO_OPERATIONS,
	};
	if (q->endpoint_type != ENDPOINT_BROKERS) {
		p = (struct kafka_describe_cluster_response){
			.error_code = KAFKA_UNSUPPORTED_ENDPOINT_TYPE,
			.error_message = kafka_text("brokers are the only endpoints here"),
			.endpoint_type = q->endpoint_type,
			.controller_id = CLIENT_KNOWS_NO_NODE,
			.cluster_authorized_operations = KAFKA_NO_OPERATIONS,
		};
		kafka_refused(r, KAFKA_UNSUPPORTED_ENDPOINT_TYPE, "endpoint_type", span_str(""));
	}
	kafka_answer(r, &p);
}

/* ---- FindCoordinator ------------------------------------------------------------------- */

static enum kafka_code coordinator_code(const struct kafka_request *r, int8_t key_type,
					struct span key, const char **why)
{
	if (key_type == COORDINATE_TRANSACTION) {
		*why = "transactions are not served";
		return KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
	}
	if (key_type != COORDINATE_GROUP) {
		*why = "unknown kind of coordinator";
		return KAFKA_INVALID_REQUEST;
	}
	if (!kafka_any_allowed(r->conn, AUTH_LISTEN)) {
		*why = "the right to listen is missing";
		return KAFKA_GROUP_AUTHORIZATION_FAILED;
	}
	if (key.n == 0) {
		*why = "the group has no name";
		return KAFKA_INVALID_GROUP_ID;
	}
	return KAFKA_NONE;
}

static struct kafka_find_coordinator_response_coordinator
find_coordinator(const struct kafka_request *r, int8_t key_type, struct kafka_string key)
{
	const struct kafka_listener *l = r->conn->listener;
	const char *why = NULL;
	enum kafka_code code = coordinator_code(r, key_type, key.s, &why);
	if (code != KAFKA_NONE) {
		kafka_refused(r, code, "key", key.s);
		return (struct kafka_find_coordinator_response_coordinator){
			.key = key,
			.node_id = CLIENT_KNOWS_NO_NODE,
			.port = -1,
			.error_code = (int16_t)code,
			.error_message = kafka_text(why),
		};
	}
	return (struct kafka_find_coordinator_response_coordinator){
		.key = key,
		.node_id = (int32_t)r->conn->front->options.node_id,
		.host = kafka_text(l->host),
		.port = l->port,
		.error_message = kafka_string_null(),
	};
}

void kafka_on_find_coordinator(struct kafka_request *r)
{
	const struct kafka_find_coordinator_request *q = r->body;
	struct kafka_find_coordinator_response p = {0};
	if (r->version < FIRST_WITH_KEYS) {
		struct kafka_find_coordinator_response_coordinator one =
			find_coordinator(r, q->key_type, q->key);
		p.error_code = one.error_code;
		p.error_message = one.error_message;
		p.node_id = one.node_id;
		p.host = one.host;
		p.port = one.port;
		kafka_answer(r, &p);
		return;
	}
	if (q->n_coordinator_keys > KEYS_MAX) {
		kafka_fail(r, ERR_TOO_LARGE);
		return;
	}
	p.coordinators = kafka_alloc(r, (size_t)q->n_coordinator_keys * sizeof *p.coordinators);
	if (p.coordinators == NULL) {
		return;
	}
	p.n_coordinators = q->n_coordinator_keys;
	for (int32_t i = 0; i < q->n_coordinator_keys; i++) {
		p.coordinators[i] = find_coordinator(r, q->key_type, q->coordinator_keys[i]);
	}
	kafka_answer(r, &p);
}
