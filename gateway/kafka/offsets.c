/* OffsetCommit, OffsetFetch, OffsetDelete. Groups know hubs by their ids; names
 * and rights are settled here. */

#include <stdlib.h>
#include <string.h>

#include "gateway/kafka/handlers.h"

enum {
	FIRST_WITH_TOP_CODE = 2, /* OffsetFetch: an error of the whole */
	FIRST_WITH_GROUPS = 8,	 /* OffsetFetch of several groups */
	NO_OFFSET = -1,
	NO_EPOCH = -1,
	/* Stands for hubs that do not exist: ids begin with 1. */
	NO_HUB = 0,
};

static enum kafka_code find_listened(const struct kafka_request *r, struct span name,
				     struct kafka_topic *out)
{
	enum kafka_code code = kafka_topic_find(r->conn, name, AUTH_LISTEN, out);
	if (code == KAFKA_TOPIC_AUTHORIZATION_FAILED) {
		kafka_refused(r, code, "topic", name);
	}
	return code;
}

/* Whether the connection may deal with groups at all. */
static enum kafka_code group_code(const struct kafka_request *r, struct span group)
{
	if (kafka_any_allowed(r->conn, AUTH_LISTEN)) {
		return KAFKA_NONE;
	}
	kafka_refused(r, KAFKA_GROUP_AUTHORIZATION_FAILED, "group_id", group);
	return KAFKA_GROUP_AUTHORIZATION_FAILED;
}

static struct store_part part_of(const struct kafka_topic *topic, int32_t index,
				 enum kafka_code *code)
{
	if (*code == KAFKA_NONE && (index < 0 || (uint32_t)index >= topic->partitions)) {
		*code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
	}
	return *code == KAFKA_NONE ? (struct store_part){topic->hub_id, (uint32_t)index}
				   : (struct store_part){NO_HUB, 0};
}

/* What became of one offset of an operation. */
static int16_t code_of(const struct groups_op *op, const struct groups_offset *o)
{
	return o->code != GROUP_OK ? o->code : op->code;
}

/* ---- OffsetCommit ---------------------------------------------------------------- */

/* `code`: for all; or NULL `op` and that code for each. */
static void commit_answer(struct kafka_request *r, const struct groups_op *op, int16_t code)
{
	const struct kafka_offset_commit_request *q = r->body;
	struct kafka_offset_commit_response p = {.n_topics = q->n_topics};
	const struct groups_offset *o = op != NULL ? op->u.commit.offsets : NULL;
	p.topics = kafka_alloc(r, (size_t)q->n_topics * sizeof *p.topics);
	for (int32_t i = 0; p.topics != NULL && i < q->n_topics; i++) {
		int32_t n = q->topics[i].n_partitions;
		struct kafka_offset_commit_response_partition *rows =
			kafka_alloc(r, (size_t)n * sizeof *rows);
		if (rows == NULL) {
			return;
		}
		for (int32_t k = 0; k < n; k++) {
			rows[k].partition_index = q->topics[i].partitions[k].partition_index;
			rows[k].error_code = op != NULL ? code_of(op, o++) : code;
		}
		p.topics[i] = (struct kafka_offset_commit_response_topic){
			.name = q->topics[i].name, .partitions = rows, .n_partitions = n};
	}
	if (p.topics != NULL) {
		kafka_answer(r, &p);
	}
}

static void commit_done(struct kafka_group_op *g)
{
	commit_answer(g->r, &g->op, GROUP_OK);
}

static void commit_fill(struct kafka_request *r, struct groups_offset *o)
{
	const struct kafka_offset_commit_request *q = r->body;
	for (int32_t i = 0; i < q->n_topics; i++) {
		struct kafka_topic topic;
		enum kafka_code found = find_listened(r, q->topics[i].name.s, &topic);
		for (int32_t k = 0; k < q->topics[i].n_partitions; k++, o++) {
			const struct kafka_offset_commit_request_partition *from =
				&q->topics[i].partitions[k];
			enum kafka_code code = found;
			o->part = part_of(&topic, from->partition_index, &code);
			o->code = (int16_t)code;
			o->offset = from->committed_offset;
			o->leader_epoch = from->committed_leader_epoch;
			o->metadata = from->committed_metadata.s;
		}
	}
}

void kafka_on_offset_commit(struct kafka_request *r)
{
	const struct kafka_offset_commit_request *q = r->body;
	kafka_answer_is_long(r);
	enum kafka_code code = group_code(r, q->group_id.s);
	if (code != KAFKA_NONE) {
		commit_answer(r, NULL, (int16_t)code);
		return;
	}
	size_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++) {
		n += (size_t)q->topics[i].n_partitions;
	}
	struct kafka_group_op *g = kafka_group_op_new(r, sizeof *g);
	struct groups_offset *offsets = g != NULL ? kafka_alloc(r, n * sizeof *offsets) : NULL;
	if (offsets == NULL) {
		return;
	}
	commit_fill(r, offsets);
	kafka_group_op_reset(g, GROUPS_COMMIT, q->group_id.s);
	g->op.member_id = q->member_id.s;
	g->op.instance_id = kafka_span_or_none(&q->group_instance_id);
	g->op.generation = q->generation_id_or_member_epoch;
	g->op.u.commit.offsets = offsets;
	g->op.u.commit.n_offsets = (uint32_t)n;
	kafka_group_op_submit(g, commit_done);
}

/* ---- OffsetFetch ------------------------------------------------------------------- */

/* The groups of a request are asked one after another; group comes first. */
struct fetch {
	struct kafka_group_op group;
	const struct kafka_offset_fetch_request_group *asked;
	struct kafka_offset_fetch_response_group *told;
	uint32_t n;
	uint32_t at;
	enum kafka_code *denied;		      /* by topic of the group being asked */
	struct kafka_offset_fetch_request_group only; /* versions without groups */
};

static void fetch_step(struct fetch *f);

static void fetch_answer(struct fetch *f)
{
	struct kafka_request *r = f->group.r;
	struct kafka_offset_fetch_response p = {0};
	if (r->version >= FIRST_WITH_GROUPS) {
		p.groups = f->told;
		p.n_groups = (int32_t)f->n;
	} else {
		p.topics = f->told[0].topics;
		p.n_topics = f->told[0].n_topics;
		p.error_code = f->told[0].error_code;
	}
	kafka_answer(r, &p);
}

/* An error of the whole group; before version 2 every partition has to say it. */
static bool fetch_refuse(struct fetch *f, int16_t code)
{
	struct kafka_request *r = f->group.r;
	const struct kafka_offset_fetch_request_group *q = &f->asked[f->at];
	struct kafka_offset_fetch_response_group *p = &f->told[f->at];
	p->group_id = q->group_id;
	p->error_code = code;
	if (r->version >= FIRST_WITH_TOP_CODE || q->n_topics <= 0) {
		return true;
	}
	p->topics = kafka_alloc(r, (size_t)q->n_topics * sizeof *p->topics);
	for (int32_t i = 0; p->topics != NULL && i < q->n_topics; i++) {
		int32_t n = q->topics[i].n_partition_indexes;
		struct kafka_offset_fetch_response_partition *rows =
			kafka_alloc(r, (size_t)n * sizeof *rows);
		if (rows == NULL) {
			return false;
		}
		for (int32_t k = 0; k < n; k++) {
			rows[k] = (struct kafka_offset_fetch_response_partition){
				.partition_index = q->topics[i].partition_indexes[k],
				.committed_offset = NO_OFFSET,
				.committed_leader_epoch = NO_EPOCH,
				.error_code = code,
			};
		}
		p->topics[p->n_topics++] = (struct kafka_offset_fetch_response_topic){
			.name = q->topics[i].name, .partitions = rows, .n_partitions = n};
	}
	return p->topics != NULL;
}

static bool fill_row(struct kafka_request *r, struct kafka_offset_fetch_response_partition *row,
		     int32_t index, const struct groups_offset *o, enum kafka_code denied)
{
	*row = (struct kafka_offset_fetch_response_partition){
		.partition_index = index,
		.committed_offset = NO_OFFSET,
		.committed_leader_epoch = NO_EPOCH,
		.error_code = denied != KAFKA_NONE ? (int16_t)denied : o->code,
	};
	if (row->error_code == KAFKA_NONE && o->offset >= 0) {
		row->committed_offset = o->offset;
		row->committed_leader_epoch = o->leader_epoch;
		return kafka_span_copy(r, o->metadata, &row->metadata.s);
	}
	return true;
}

/* The topics that were asked for. False: the request has failed. */
static bool tell_asked(struct fetch *f)
{
	struct kafka_request *r = f->group.r;
	const struct kafka_offset_fetch_request_group *q = &f->asked[f->at];
	struct kafka_offset_fetch_response_group *p = &f->told[f->at];
	const struct groups_offset *o = f->group.op.u.fetch.offsets;
	p->topics = kafka_alloc(r, (size_t)q->n_topics * sizeof *p->topics);
	for (int32_t i = 0; p->topics != NULL && i < q->n_topics; i++) {
		int32_t n = q->topics[i].n_partition_indexes;
		struct kafka_offset_fetch_response_partition *rows =
			kafka_alloc(r, (size_t)n * sizeof *rows);
		for (int32_t k = 0; rows != NULL && k < n; k++, o++) {
			if (!fill_row(r, &rows[k], q->topics[i].partition_indexes[k], o,
				      f->denied[i])) {
				return false;
			}
		}
		if (rows == NULL) {
			return false;
		}
		p->topics[p->n_topics++] = (struct kafka_offset_fetch_response_topic){
			.name = q->topics[i].name, .partitions = rows, .n_partitions = n};
	}
	return p->topics != NULL;
}

static int by_part(const void *a, const void *b)
{
	uint64_t x = store_part_key(((const struct groups_offset *)a)->part);
	uint64_t y = store_part_key(((const struct groups_offset *)b)->part);
	return (x > y) - (x < y);
}

/* One hub's run of offsets; left out when the hub is gone or hidden. */
static bool tell_hub(struct fetch *f, const struct catalog *catalog, const struct groups_offset *o,
		     uint32_t n)
{
	struct kafka_request *r = f->group.r;
	struct kafka_offset_fetch_response_group *p = &f->told[f->at];
	const struct catalog_hub *hub = catalog_hub_by_id(catalog, o[0].part.hub_id);
	if (hub == NULL || !kafka_topic_name_is_valid(span_str(hub->name)) ||
	    kafka_topic_allowed(r->conn, span_str(hub->name), AUTH_LISTEN) != KAFKA_NONE) {
		return true;
	}
	struct kafka_offset_fetch_response_topic *t = &p->topics[p->n_topics];
	struct kafka_offset_fetch_response_partition *rows = kafka_alloc(r, n * sizeof *rows);
	if (rows == NULL || !kafka_span_copy(r, span_str(hub->name), &t->name.s)) {
		return false;
	}
	t->partitions = rows;
	for (uint32_t i = 0; i < n; i++) {
		if (o[i].offset < 0) {
			continue;
		}
		if (!fill_row(r, &rows[t->n_partitions++], (int32_t)o[i].part.partition, &o[i],
			      KAFKA_NONE)) {
			return false;
		}
	}
	p->n_topics += t->n_partitions > 0;
	return true;
}

/* Everything the group committed. */
static bool tell_all(struct fetch *f)
{
	struct kafka_request *r = f->group.r;
	struct kafka_offset_fetch_response_group *p = &f->told[f->at];
	uint32_t n = f->group.op.u.fetch.n_offsets;
	uint32_t hubs = 0;
	struct groups_offset *v = kafka_alloc(r, n * sizeof *v);
	if (v == NULL) {
		return false;
	}
	if (n > 0) {
		memcpy(v, f->group.op.u.fetch.offsets, n * sizeof *v);
		qsort(v, n, sizeof *v, by_part);
	}
	for (uint32_t i = 0; i < n; i++) {
		hubs += i == 0 || v[i].part.hub_id != v[i - 1].part.hub_id;
	}
	p->topics = kafka_alloc(r, hubs * sizeof *p->topics);
	const struct catalog *catalog = core_catalog(r->conn->front->core);
	bool fine = p->topics != NULL;
	for (uint32_t i = 0; fine && i < n;) {
		uint32_t end = i + 1;
		while (end < n && v[end].part.hub_id == v[i].part.hub_id) {
			end++;
		}
		fine = tell_hub(f, catalog, v + i, end - i);
		i = end;
	}
	catalog_drop(&catalog);
	return fine;
}

static void fetch_done(struct kafka_group_op *g)
{
	struct fetch *f = (struct fetch *)(void *)g;
	const struct kafka_offset_fetch_request_group *q = &f->asked[f->at];
	f->told[f->at].group_id = q->group_id;
	if (!(g->op.code != GROUP_OK ? fetch_refuse(f, g->op.code)
	      : q->n_topics < 0	     ? tell_all(f)
				     : tell_asked(f))) {
		return;
	}
	f->at++;
	fetch_step(f);
}

/* False: the request has failed. */
static bool fetch_fill(struct fetch *f)
{
	struct kafka_request *r = f->group.r;
	const struct kafka_offset_fetch_request_group *q = &f->asked[f->at];
	size_t n = 0;
	kafka_group_op_reset(&f->group, GROUPS_FETCH, q->group_id.s);
	if (q->n_topics < 0) {
		return true;
	}
	for (int32_t i = 0; i < q->n_topics; i++) {
		n += (size_t)q->topics[i].n_partition_indexes;
	}
	/* Of no bytes it is not NULL either, which would ask for all. */
	struct groups_offset *o = kafka_alloc(r, n * sizeof *o);
	f->denied = o != NULL ? kafka_alloc(r, (size_t)q->n_topics * sizeof *f->denied) : NULL;
	if (f->denied == NULL) {
		return false;
	}
	f->group.op.u.fetch.offsets = o;
	f->group.op.u.fetch.n_offsets = (uint32_t)n;
	for (int32_t i = 0; i < q->n_topics; i++) {
		struct kafka_topic topic;
		enum kafka_code found = find_listened(r, q->topics[i].name.s, &topic);
		/* Of topics that do not exist nothing is committed: no error in Kafka. */
		f->denied[i] = found == KAFKA_UNKNOWN_TOPIC_OR_PARTITION ? KAFKA_NONE : found;
		for (int32_t k = 0; k < q->topics[i].n_partition_indexes; k++, o++) {
			enum kafka_code code = found;
			o->part = part_of(&topic, q->topics[i].partition_indexes[k], &code);
			o->offset = NO_OFFSET;
		}
	}
	return true;
}

/* Asks the next group, or answers when all were asked. */
static void fetch_step(struct fetch *f)
{
	struct kafka_request *r = f->group.r;
	for (; f->at < f->n; f->at++) {
		enum kafka_code code = f->group.is_cancelled
					       ? KAFKA_NOT_COORDINATOR
					       : group_code(r, f->asked[f->at].group_id.s);
		if (code == KAFKA_NONE) {
			if (fetch_fill(f)) {
				kafka_group_op_submit(&f->group, fetch_done);
			}
			return;
		}
		if (!fetch_refuse(f, (int16_t)code)) {
			return;
		}
	}
	fetch_answer(f);
}

void kafka_on_offset_fetch(struct kafka_request *r)
{
	const struct kafka_offset_fetch_request *q = r->body;
	kafka_answer_is_long(r);
	struct fetch *f = kafka_group_op_new(r, sizeof *f);
	if (f == NULL) {
		return;
	}
	if (r->version >= FIRST_WITH_GROUPS) {
		f->asked = q->groups;
		f->n = (uint32_t)q->n_groups;
	} else {
		f->only = (struct kafka_offset_fetch_request_group){
			.group_id = q->group_id, .topics = q->topics, .n_topics = q->n_topics};
		f->asked = &f->only;
		f->n = 1;
	}
	f->told = kafka_alloc(r, f->n * sizeof *f->told);
	if (f->told != NULL) {
		fetch_step(f);
	}
}

/* ---- OffsetDelete ------------------------------------------------------------------- */

struct delete
{
	struct kafka_group_op group;
	int16_t *refused; /* by partition: what kept it from the group */
};

static void delete_refuse(struct kafka_request *r, int16_t code)
{
	struct kafka_offset_delete_response p = {.error_code = code};
	kafka_answer(r, &p);
}

static void delete_done(struct kafka_group_op *g)
{
	struct kafka_request *r = g->r;
	const struct kafka_offset_delete_request *q = r->body;
	const int16_t *refused = ((const struct delete *)(const void *)g)->refused;
	const struct groups_offset *o = g->op.u.commit.offsets;
	if (g->op.code != GROUP_OK) {
		delete_refuse(r, g->op.code);
		return;
	}
	struct kafka_offset_delete_response p = {.n_topics = q->n_topics};
	p.topics = kafka_alloc(r, (size_t)q->n_topics * sizeof *p.topics);
	for (int32_t i = 0; p.topics != NULL && i < q->n_topics; i++) {
		int32_t n = q->topics[i].n_partitions;
		struct kafka_offset_delete_response_partition *rows =
			kafka_alloc(r, (size_t)n * sizeof *rows);
		if (rows == NULL) {
			return;
		}
		for (int32_t k = 0; k < n; k++, o++, refused++) {
			rows[k].partition_index = q->topics[i].partitions[k].partition_index;
			rows[k].error_code = *refused != KAFKA_NONE ? *refused : o->code;
		}
		p.topics[i] = (struct kafka_offset_delete_response_topic){
			.name = q->topics[i].name, .partitions = rows, .n_partitions = n};
	}
	if (p.topics != NULL) {
		kafka_answer(r, &p);
	}
}

void kafka_on_offset_delete(struct kafka_request *r)
{
	const struct kafka_offset_delete_request *q = r->body;
	kafka_answer_is_long(r);
	enum kafka_code code = group_code(r, q->group_id.s);
	if (code != KAFKA_NONE) {
		delete_refuse(r, (int16_t)code);
		return;
	}
	size_t n = 0;
	for (int32_t i = 0; i < q->n_topics; i++) {
		n += (size_t)q->topics[i].n_partitions;
	}
	struct delete *d = kafka_group_op_new(r, sizeof *d);
	struct groups_offset *o = d != NULL ? kafka_alloc(r, n * sizeof *o) : NULL;
	int16_t *refused = o != NULL ? kafka_alloc(r, n * sizeof *refused) : NULL;
	if (refused == NULL) {
		return;
	}
	kafka_group_op_reset(&d->group, GROUPS_DELETE_OFFSETS, q->group_id.s);
	d->refused = refused;
	d->group.op.u.commit.offsets = o;
	d->group.op.u.commit.n_offsets = (uint32_t)n;
	for (int32_t i = 0; i < q->n_topics; i++) {
		struct kafka_topic topic;
		enum kafka_code found = find_listened(r, q->topics[i].name.s, &topic);
		for (int32_t k = 0; k < q->topics[i].n_partitions; k++, o++) {
			enum kafka_code each = found;
			o->part =
				part_of(&topic, q->topics[i].partitions[k].partition_index, &each);
			o->code = (int16_t)each;
			*refused++ = (int16_t)each;
		}
	}
	kafka_group_op_submit(&d->group, delete_done);
}
