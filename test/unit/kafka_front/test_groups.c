/* Members, committed offsets and the administration of groups, over the real
 * coordinator. */

#include <string.h>

#include "gateway/kafka/handlers.h"
#include "test/unit/kafka_front/faults.h"

static struct kafka_fix fix;
static struct kafka_arena arena;
static struct kafka_conn *root;

static void setup(void)
{
	fix_open(&fix);
	root = fix_conn(&fix, "", ALL_RIGHTS);
}

static void teardown(void)
{
	fix_conn_close(&fix, &root);
	kafka_arena_fini(&arena);
	fix_close(&fix);
}

/* ---- members ------------------------------------------------------------------------ */

static struct kafka_join_group_request_protocol offered;

static struct kafka_join_group_request join_of(const char *group, struct kafka_string member)
{
	offered = (struct kafka_join_group_request_protocol){.name = TEXT("range"),
							     .metadata = {.s = span_str("topics")}};
	return (struct kafka_join_group_request){
		.group_id = TEXT(group),
		.session_timeout_ms = 10000,
		.rebalance_timeout_ms = 10000,
		.member_id = member,
		.group_instance_id = NONE,
		.protocol_type = TEXT("consumer"),
		.protocols = &offered,
		.n_protocols = 1,
		.reason = NONE,
	};
}

static struct kafka_join_group_response *join(struct kafka_conn *c, int16_t v, const char *group,
					      struct kafka_string member)
{
	struct kafka_join_group_request q = join_of(group, member);
	return fix_call(&fix, c, KAFKA_API_JoinGroup, v, &q, &arena);
}

/* Joins as a new client of that version does; the only member. */
static struct kafka_string join_alone(int16_t v, const char *group, int32_t *generation)
{
	struct kafka_join_group_response *p = join(root, v, group, TEXT(""));
	if (v >= 4) {
		ck_assert_int_eq(p->error_code, GROUP_MEMBER_ID_REQUIRED);
		ck_assert_uint_gt(p->member_id.s.n, 0);
		ck_assert_int_eq(p->generation_id, -1);
		ck_assert_int_eq(p->protocol_name.is_null, v >= 7);
		p = join(root, v, group, p->member_id);
	}
	ck_assert_int_eq(p->error_code, 0);
	ck_assert(span_eq_str(p->protocol_name.s, "range"));
	ck_assert(v < 7 || span_eq_str(p->protocol_type.s, "consumer"));
	ck_assert(span_eq(p->leader.s, p->member_id.s));
	ck_assert_uint_gt(p->member_id.s.n, strlen("tester"));
	ck_assert_mem_eq(p->member_id.s.p, "tester", 6);
	ck_assert_int_eq(p->n_members, 1);
	ck_assert(span_eq(p->members[0].member_id.s, p->member_id.s));
	ck_assert(p->members[0].group_instance_id.is_null);
	ck_assert(span_eq_str(p->members[0].metadata.s, "topics"));
	*generation = p->generation_id;
	return p->member_id;
}

static struct kafka_sync_group_response *sync_group(struct kafka_conn *c, int16_t v,
						    const char *group, struct kafka_string member,
						    int32_t generation)
{
	struct kafka_sync_group_request_assignment a = {.member_id = member,
							.assignment = {.s = span_str("parts")}};
	struct kafka_sync_group_request q = {
		.group_id = TEXT(group),
		.generation_id = generation,
		.member_id = member,
		.group_instance_id = NONE,
		.protocol_type = TEXT("consumer"),
		.protocol_name = TEXT("range"),
		.assignments = &a,
		.n_assignments = 1,
	};
	return fix_call(&fix, c, KAFKA_API_SyncGroup, v, &q, &arena);
}

static int16_t heartbeat(struct kafka_conn *c, int16_t v, const char *group,
			 struct kafka_string member, int32_t generation)
{
	struct kafka_heartbeat_request q = {.group_id = TEXT(group),
					    .generation_id = generation,
					    .member_id = member,
					    .group_instance_id = NONE};
	struct kafka_heartbeat_response *p = fix_call(&fix, c, KAFKA_API_Heartbeat, v, &q, &arena);
	return p->error_code;
}

static int16_t leave(struct kafka_conn *c, int16_t v, const char *group, struct kafka_string member)
{
	struct kafka_leave_group_request_member m = {
		.member_id = member, .group_instance_id = NONE, .reason = NONE};
	struct kafka_leave_group_request q = {
		.group_id = TEXT(group), .member_id = member, .members = &m, .n_members = 1};
	struct kafka_leave_group_response *p =
		fix_call(&fix, c, KAFKA_API_LeaveGroup, v, &q, &arena);
	if (v >= 3 && p->error_code == 0) {
		ck_assert_int_eq(p->n_members, 1);
		ck_assert(span_eq(p->members[0].member_id.s, member.s));
		return p->members[0].error_code;
	}
	return p->error_code;
}

static int16_t least(int16_t v, int16_t last)
{
	return v < last ? v : last;
}

START_TEST(a_member_in_every_version)
{
	for (int16_t v = 0; v <= 9; v++) {
		int32_t generation;
		struct kafka_string member = join_alone(v, "g", &generation);
		struct kafka_sync_group_response *s =
			sync_group(root, least(v, 5), "g", member, generation);
		ck_assert_int_eq(s->error_code, 0);
		ck_assert(span_eq_str(s->assignment.s, "parts"));
		ck_assert(v < 5 || span_eq_str(s->protocol_name.s, "range"));
		int16_t h = least(v, 4);
		ck_assert_int_eq(heartbeat(root, h, "g", member, generation), 0);
		ck_assert_int_eq(heartbeat(root, h, "g", member, generation + 1),
				 GROUP_ILLEGAL_GENERATION);
		ck_assert_int_eq(heartbeat(root, h, "g", TEXT("who"), generation),
				 GROUP_UNKNOWN_MEMBER);
		ck_assert_int_eq(leave(root, least(v, 5), "g", TEXT("who")), GROUP_UNKNOWN_MEMBER);
		ck_assert_int_eq(leave(root, least(v, 5), "g", member), 0);
	}
}
END_TEST

START_TEST(refused_joins_fill_every_field)
{
	for (int16_t v = 0; v <= 9; v++) {
		struct kafka_join_group_response *p = join(root, v, "g", TEXT("stranger"));
		ck_assert_int_eq(p->error_code, GROUP_UNKNOWN_MEMBER);
		ck_assert_int_eq(p->generation_id, -1);
		ck_assert(span_eq_str(p->member_id.s, "stranger"));
		ck_assert_uint_eq(p->leader.s.n, 0);
		ck_assert_int_eq(p->protocol_name.is_null, v >= 7);
		ck_assert_int_eq(p->n_members, 0);
		ck_assert_int_eq(join(root, v, "", TEXT(""))->error_code, GROUP_INVALID_ID);
	}
	struct kafka_join_group_request q = join_of("g", TEXT(""));
	q.session_timeout_ms = 1;
	struct kafka_join_group_response *p =
		fix_call(&fix, root, KAFKA_API_JoinGroup, 3, &q, &arena);
	ck_assert_int_eq(p->error_code, GROUP_INVALID_SESSION_TIMEOUT);
}
END_TEST

START_TEST(membership_needs_listen)
{
	struct kafka_conn *sender = fix_conn(&fix, "", AUTH_SEND);
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_LISTEN);
	for (int16_t v = 0; v <= 5; v++) {
		ck_assert_int_eq(join(sender, v, "g", TEXT(""))->error_code, 30);
		ck_assert_int_eq(sync_group(sender, v, "g", TEXT("m"), 1)->error_code, 30);
		ck_assert_int_eq(heartbeat(sender, least(v, 4), "g", TEXT("m"), 1), 30);
		ck_assert_int_eq(leave(sender, v, "g", TEXT("m")), 30);
	}
	struct kafka_join_group_response *p = join(one, 3, "g", TEXT(""));
	ck_assert_int_eq(p->error_code, 0);
	ck_assert_int_eq(leave(one, 3, "g", p->member_id), 0);
	fix_conn_close(&fix, &sender);
	fix_conn_close(&fix, &one);
}
END_TEST

/* A second member makes the first join again; a parked join's client goes away. */
START_TEST(parked_joins_and_gone_clients)
{
	int32_t generation;
	struct kafka_string first = join_alone(3, "g", &generation);
	ck_assert_int_eq(sync_group(root, 3, "g", first, generation)->error_code, 0);
	struct kafka_conn *other = fix_conn(&fix, "", AUTH_LISTEN);
	struct kafka_join_group_request q = join_of("g", TEXT(""));
	struct kafka_request *parked = fix_begin(other, KAFKA_API_JoinGroup, 3, &q);
	fix_run_ms(&fix, 50);
	ck_assert(!parked->is_answered);
	ck_assert_int_eq(heartbeat(root, 3, "g", first, generation), GROUP_REBALANCE);
	struct kafka_join_group_response *p = join(root, 3, "g", first);
	ck_assert_int_eq(p->error_code, 0);
	ck_assert_int_eq(p->generation_id, generation + 1);
	fix_wait(&fix, parked);
	struct kafka_join_group_response *second = fix_answer(parked, &arena);
	ck_assert_int_eq(second->error_code, 0);
	struct kafka_join_group_response *leader =
		span_eq(p->leader.s, p->member_id.s) ? p : second;
	ck_assert_int_eq(leader->n_members, 2);
	ck_assert_int_eq((leader == p ? second : p)->n_members, 0);
	/* A sync that waits for the leader's, of a client that goes. */
	struct kafka_join_group_response *follower = leader == p ? second : p;
	struct kafka_sync_group_request s = {.group_id = TEXT("g"),
					     .generation_id = generation + 1,
					     .member_id = follower->member_id,
					     .group_instance_id = NONE,
					     .protocol_type = NONE,
					     .protocol_name = NONE};
	parked = fix_begin(other, KAFKA_API_SyncGroup, 3, &s);
	fix_run_ms(&fix, 50);
	ck_assert(!parked->is_answered);
	fix_conn_close(&fix, &other);
	ck_assert_int_eq(sync_group(root, 3, "g", leader->member_id, generation + 1)->error_code,
			 0);
	ck_assert_int_eq(heartbeat(root, 3, "g", follower->member_id, generation + 1), 0);
}
END_TEST

START_TEST(a_parked_join_ends_with_the_server)
{
	int32_t generation;
	struct kafka_string first = join_alone(3, "g", &generation);
	ck_assert_int_eq(sync_group(root, 3, "g", first, generation)->error_code, 0);
	struct kafka_conn *other = fix_conn(&fix, "", AUTH_LISTEN);
	struct kafka_join_group_request q = join_of("g", TEXT(""));
	struct kafka_request *parked = fix_begin(other, KAFKA_API_JoinGroup, 3, &q);
	fix_run_ms(&fix, 20);
	fix_stop(&fix);
	fix_wait(&fix, parked);
	struct kafka_join_group_response *p = fix_answer(parked, &arena);
	ck_assert_int_eq(p->error_code, GROUP_NOT_COORDINATOR);
	ck_assert_int_eq(heartbeat(root, 3, "g", first, generation), GROUP_NOT_COORDINATOR);
	fix_conn_close(&fix, &other);
}
END_TEST

/* ---- offsets ----------------------------------------------------------------------- */

static int16_t commit(struct kafka_conn *c, int16_t v, const char *group, const char *topic,
		      int32_t partition, int64_t offset, const char *metadata)
{
	struct kafka_offset_commit_request_partition part = {
		.partition_index = partition,
		.committed_offset = offset,
		.committed_leader_epoch = 0,
		.commit_timestamp = -1,
		.committed_metadata = TEXT(metadata),
	};
	struct kafka_offset_commit_request_topic t = {
		.name = TEXT(topic), .partitions = &part, .n_partitions = 1};
	struct kafka_offset_commit_request q = {
		.group_id = TEXT(group),
		.generation_id_or_member_epoch = -1,
		.group_instance_id = NONE,
		.retention_time_ms = -1,
		.topics = &t,
		.n_topics = 1,
	};
	struct kafka_offset_commit_response *p =
		fix_call(&fix, c, KAFKA_API_OffsetCommit, v, &q, &arena);
	ck_assert_int_eq(p->n_topics, 1);
	ck_assert(span_eq_str(p->topics[0].name.s, topic));
	ck_assert_int_eq(p->topics[0].n_partitions, 1);
	ck_assert_int_eq(p->topics[0].partitions[0].partition_index, partition);
	return p->topics[0].partitions[0].error_code;
}

static struct kafka_offset_fetch_response_group
fetch_topics(struct kafka_conn *c, int16_t v, const char *group,
	     struct kafka_offset_fetch_request_topic *topics, int32_t n)
{
	struct kafka_offset_fetch_request_group g = {.group_id = TEXT(group),
						     .member_id = NONE,
						     .member_epoch = -1,
						     .topics = topics,
						     .n_topics = n};
	struct kafka_offset_fetch_request q = {.group_id = TEXT(group),
					       .topics = topics,
					       .n_topics = n,
					       .groups = &g,
					       .n_groups = 1,
					       .require_stable = true};
	struct kafka_offset_fetch_response *p =
		fix_call(&fix, c, KAFKA_API_OffsetFetch, v, &q, &arena);
	if (v >= 8) {
		ck_assert_int_eq(p->n_groups, 1);
		ck_assert(span_eq_str(p->groups[0].group_id.s, group));
		return p->groups[0];
	}
	return (struct kafka_offset_fetch_response_group){
		.topics = p->topics, .n_topics = p->n_topics, .error_code = p->error_code};
}

static struct kafka_offset_fetch_response_partition
fetch_one(struct kafka_conn *c, int16_t v, const char *group, const char *topic, int32_t partition)
{
	struct kafka_offset_fetch_request_topic t = {
		.name = TEXT(topic), .partition_indexes = &partition, .n_partition_indexes = 1};
	struct kafka_offset_fetch_response_group g = fetch_topics(c, v, group, &t, 1);
	ck_assert_int_eq(g.error_code, 0);
	ck_assert_int_eq(g.n_topics, 1);
	ck_assert(span_eq_str(g.topics[0].name.s, topic));
	ck_assert_int_eq(g.topics[0].n_partitions, 1);
	ck_assert_int_eq(g.topics[0].partitions[0].partition_index, partition);
	return g.topics[0].partitions[0];
}

START_TEST(offsets_in_every_version)
{
	for (int16_t v = 1; v <= 9; v++) {
		struct kafka_offset_fetch_response_partition p =
			fetch_one(root, v, "new", "events", 1);
		ck_assert_int_eq(p.error_code, 0);
		ck_assert_int_eq(p.committed_offset, -1);
		ck_assert_int_eq(p.committed_leader_epoch, -1);
		ck_assert(!p.metadata.is_null && p.metadata.s.n == 0);
		ck_assert_int_eq(commit(root, v, "g", "events", 1, 100 + v, "text"), 0);
		p = fetch_one(root, v, "g", "EVENTS", 1);
		ck_assert_int_eq(p.committed_offset, 100 + v);
		ck_assert_int_eq(p.committed_leader_epoch, v < 5 ? -1 : v < 6 ? -1 : 0);
		ck_assert(span_eq_str(p.metadata.s, "text"));
		ck_assert_int_eq(commit(root, v, "g", "events", 4, 1, ""), 3);
		ck_assert_int_eq(commit(root, v, "g", "events", -1, 1, ""), 3);
		ck_assert_int_eq(commit(root, v, "g", "nowhere", 0, 1, ""), 3);
		p = fetch_one(root, v, "g", "nowhere", 0);
		ck_assert_int_eq(p.error_code, 0);
		ck_assert_int_eq(p.committed_offset, -1);
		ck_assert_int_eq(fetch_one(root, v, "g", "events", 77).committed_offset, -1);
	}
}
END_TEST

START_TEST(long_metadata_is_refused)
{
	static char text[GROUPS_METADATA_MAX + 2];
	memset(text, 'x', GROUPS_METADATA_MAX);
	ck_assert_int_eq(commit(root, 8, "g", "events", 0, 1, text), 0);
	text[GROUPS_METADATA_MAX] = 'x';
	ck_assert_int_eq(commit(root, 8, "g", "events", 0, 2, text),
			 KAFKA_OFFSET_METADATA_TOO_LARGE);
	ck_assert_int_eq(fetch_one(root, 8, "g", "events", 0).committed_offset, 1);
}
END_TEST

START_TEST(offsets_and_rights)
{
	struct kafka_conn *sender = fix_conn(&fix, "", AUTH_SEND);
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_LISTEN);
	ck_assert_int_eq(commit(root, 8, "g", "other", 0, 5, ""), 0);
	for (int16_t v = 1; v <= 9; v++) {
		ck_assert_int_eq(commit(sender, v, "g", "events", 0, 1, ""), 30);
		ck_assert_int_eq(commit(one, v, "g", "events", 0, 7, ""), 0);
		ck_assert_int_eq(commit(one, v, "g", "other", 0, 1, ""), 29);
		ck_assert_int_eq(fetch_one(one, v, "g", "other", 0).error_code, 29);
		ck_assert_int_eq(fetch_one(one, v, "g", "other", 0).committed_offset, -1);
		ck_assert_int_eq(fetch_one(one, v, "g", "events", 0).committed_offset, 7);
		int32_t index = 0;
		struct kafka_offset_fetch_request_topic t = {.name = TEXT("events"),
							     .partition_indexes = &index,
							     .n_partition_indexes = 1};
		struct kafka_offset_fetch_response_group g = fetch_topics(sender, v, "g", &t, 1);
		ck_assert_int_eq(v == 1 ? g.topics[0].partitions[0].error_code : g.error_code, 30);
		ck_assert_int_eq(g.n_topics, v == 1);
		if (v >= 2) {
			g = fetch_topics(one, v, "g", NULL, -1);
			ck_assert_int_eq(g.n_topics, 1); /* the other is hidden */
			ck_assert(span_eq_str(g.topics[0].name.s, "events"));
		}
	}
	fix_conn_close(&fix, &sender);
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(all_offsets_of_a_group)
{
	ck_assert_int_eq(commit(root, 8, "g", "other", 1, 21, "b"), 0);
	ck_assert_int_eq(commit(root, 8, "g", "events", 3, 13, "d"), 0);
	ck_assert_int_eq(commit(root, 8, "g", "events", 0, 10, "a"), 0);
	for (int16_t v = 2; v <= 9; v++) {
		struct kafka_offset_fetch_response_group g = fetch_topics(root, v, "g", NULL, -1);
		ck_assert_int_eq(g.n_topics, 2);
		ck_assert(span_eq_str(g.topics[0].name.s, "events"));
		ck_assert_int_eq(g.topics[0].n_partitions, 2);
		ck_assert_int_eq(g.topics[0].partitions[0].committed_offset, 10);
		ck_assert_int_eq(g.topics[0].partitions[1].partition_index, 3);
		ck_assert(span_eq_str(g.topics[0].partitions[1].metadata.s, "d"));
		ck_assert_int_eq(g.topics[1].n_partitions, 1);
		ck_assert_int_eq(g.topics[1].partitions[0].committed_offset, 21);
		ck_assert_int_eq(fetch_topics(root, v, "new", NULL, -1).n_topics, 0);
		ck_assert_int_eq(fetch_topics(root, v, "g", NULL, 0).n_topics, 0);
	}
	struct catalog_command cmd = {.op = CATALOG_HUB_DELETE, .hub = "other"};
	ck_assert_int_eq(fix_command(&fix, &cmd), ERR_OK);
	ck_assert_int_eq(fetch_topics(root, 8, "g", NULL, -1).n_topics, 1);
}
END_TEST

START_TEST(offsets_of_several_groups)
{
	ck_assert_int_eq(commit(root, 8, "g1", "events", 0, 1, "one"), 0);
	ck_assert_int_eq(commit(root, 8, "g2", "events", 2, 2, "two"), 0);
	int32_t indexes[2] = {0, 2};
	struct kafka_offset_fetch_request_topic t = {
		.name = TEXT("events"), .partition_indexes = indexes, .n_partition_indexes = 2};
	struct kafka_offset_fetch_request_group g[3] = {
		{.group_id = TEXT("g1"), .member_id = NONE, .topics = &t, .n_topics = 1},
		{.group_id = TEXT("g2"), .member_id = NONE, .n_topics = -1},
		{.group_id = TEXT("g3"), .member_id = NONE, .topics = &t, .n_topics = 1},
	};
	struct kafka_offset_fetch_request q = {.groups = g, .n_groups = 3};
	struct kafka_offset_fetch_response *p =
		fix_call(&fix, root, KAFKA_API_OffsetFetch, 9, &q, &arena);
	ck_assert_int_eq(p->n_groups, 3);
	ck_assert_int_eq(p->groups[0].topics[0].partitions[0].committed_offset, 1);
	ck_assert_int_eq(p->groups[0].topics[0].partitions[1].committed_offset, -1);
	ck_assert_int_eq(p->groups[1].topics[0].n_partitions, 1);
	ck_assert(span_eq_str(p->groups[1].topics[0].partitions[0].metadata.s, "two"));
	ck_assert_int_eq(p->groups[2].topics[0].partitions[1].committed_offset, -1);
	faults_gone(&fix, KAFKA_API_OffsetFetch, 9, &q);
	faults_each_allocation(&fix, KAFKA_API_OffsetFetch, 9, &q);
}
END_TEST

START_TEST(offsets_are_deleted)
{
	struct kafka_conn *one = fix_conn(&fix, "events", AUTH_LISTEN);
	struct kafka_conn *sender = fix_conn(&fix, "", AUTH_SEND);
	ck_assert_int_eq(commit(root, 8, "g", "events", 0, 1, ""), 0);
	ck_assert_int_eq(commit(root, 8, "g", "events", 1, 1, ""), 0);
	struct kafka_offset_delete_request_partition parts[2] = {{.partition_index = 0},
								 {.partition_index = 9}};
	struct kafka_offset_delete_request_topic t[2] = {
		{.name = TEXT("events"), .partitions = parts, .n_partitions = 2},
		{.name = TEXT("other"), .partitions = parts, .n_partitions = 1},
	};
	struct kafka_offset_delete_request q = {.group_id = TEXT("g"), .topics = t, .n_topics = 2};
	struct kafka_offset_delete_response *p =
		fix_call(&fix, sender, KAFKA_API_OffsetDelete, 0, &q, &arena);
	ck_assert_int_eq(p->error_code, 30);
	p = fix_call(&fix, one, KAFKA_API_OffsetDelete, 0, &q, &arena);
	ck_assert_int_eq(p->error_code, 0);
	ck_assert_int_eq(p->n_topics, 2);
	ck_assert_int_eq(p->topics[0].partitions[0].error_code, 0);
	ck_assert_int_eq(p->topics[0].partitions[1].error_code, 3);
	ck_assert_int_eq(p->topics[1].partitions[0].error_code, 29);
	ck_assert_int_eq(fetch_one(root, 8, "g", "events", 0).committed_offset, -1);
	ck_assert_int_eq(fetch_one(root, 8, "g", "events", 1).committed_offset, 1);
	q.group_id = TEXT("absent");
	p = fix_call(&fix, one, KAFKA_API_OffsetDelete, 0, &q, &arena);
	ck_assert_int_eq(p->error_code, GROUP_NOT_FOUND);
	fix_conn_close(&fix, &one);
	fix_conn_close(&fix, &sender);
}
END_TEST

/* ---- administration --------------------------------------------------------------------- */

static const struct kafka_describe_groups_response_group *describe(struct kafka_conn *c, int16_t v,
								   const char *group)
{
	struct kafka_string name = TEXT(group);
	struct kafka_describe_groups_request q = {
		.groups = &name, .n_groups = 1, .include_authorized_operations = true};
	struct kafka_describe_groups_response *p =
		fix_call(&fix, c, KAFKA_API_DescribeGroups, v, &q, &arena);
	ck_assert_int_eq(p->n_groups, 1);
	ck_assert(span_eq_str(p->groups[0].group_id.s, group));
	return &p->groups[0];
}

START_TEST(groups_are_described)
{
	int32_t generation;
	struct kafka_string member = join_alone(5, "g", &generation);
	ck_assert_int_eq(sync_group(root, 5, "g", member, generation)->error_code, 0);
	struct kafka_conn *one = fix_conn(&fix, "events", ALL_RIGHTS);
	for (int16_t v = 0; v <= 5; v++) {
		const struct kafka_describe_groups_response_group *g = describe(root, v, "g");
		ck_assert_int_eq(g->error_code, 0);
		ck_assert(span_eq_str(g->group_state.s, "Stable"));
		ck_assert(span_eq_str(g->protocol_type.s, "consumer"));
		ck_assert(span_eq_str(g->protocol_data.s, "range"));
		ck_assert_int_eq(g->n_members, 1);
		ck_assert(span_eq(g->members[0].member_id.s, member.s));
		ck_assert(span_eq_str(g->members[0].client_id.s, "tester"));
		ck_assert(span_eq_str(g->members[0].client_host.s, "/127.0.0.1"));
		ck_assert(span_eq_str(g->members[0].member_metadata.s, "topics"));
		ck_assert(span_eq_str(g->members[0].member_assignment.s, "parts"));
		ck_assert(g->members[0].group_instance_id.is_null);
		ck_assert_int_eq(g->authorized_operations,
				 v >= 3 ? 1 << 3 | 1 << 6 | 1 << 8 : KAFKA_NO_OPERATIONS);
		g = describe(root, v, "absent");
		ck_assert_int_eq(g->error_code, 0);
		ck_assert(span_eq_str(g->group_state.s, "Dead"));
		ck_assert_int_eq(describe(one, v, "g")->error_code, 30);
	}
	struct kafka_string names[3] = {TEXT("g"), TEXT("absent"), TEXT("g")};
	struct kafka_describe_groups_request q = {.groups = names, .n_groups = 3};
	struct kafka_describe_groups_response *p =
		fix_call(&fix, root, KAFKA_API_DescribeGroups, 5, &q, &arena);
	ck_assert_int_eq(p->n_groups, 3);
	ck_assert_int_eq(p->groups[2].n_members, 1);
	faults_gone(&fix, KAFKA_API_DescribeGroups, 5, &q);
	faults_each_allocation(&fix, KAFKA_API_DescribeGroups, 5, &q);
	fix_conn_close(&fix, &one);
}
END_TEST

static int32_t list(struct kafka_conn *c, int16_t v, const char *state, const char *type)
{
	struct kafka_string states = TEXT(state);
	struct kafka_string types = TEXT(type);
	struct kafka_list_groups_request q = {.states_filter = &states,
					      .n_states_filter = state[0] != '\0',
					      .types_filter = &types,
					      .n_types_filter = type[0] != '\0'};
	struct kafka_list_groups_response *p =
		fix_call(&fix, c, KAFKA_API_ListGroups, v, &q, &arena);
	ck_assert_int_eq(p->error_code, 0);
	for (int32_t i = 0; i < p->n_groups; i++) {
		ck_assert(v < 5 || span_eq_str(p->groups[i].group_type.s, "classic"));
	}
	return p->n_groups;
}

START_TEST(groups_are_listed)
{
	int32_t generation;
	(void)join_alone(3, "live", &generation);
	ck_assert_int_eq(commit(root, 8, "idle", "events", 0, 1, ""), 0);
	struct kafka_conn *one = fix_conn(&fix, "events", ALL_RIGHTS);
	for (int16_t v = 0; v <= 5; v++) {
		ck_assert_int_eq(list(root, v, "", ""), 2);
		ck_assert_int_eq(list(one, v, "", ""), 0);
	}
	ck_assert_int_eq(list(root, 4, "eMPTY", ""), 1);
	ck_assert_int_eq(list(root, 4, "Stable", ""), 0);
	ck_assert_int_eq(list(root, 5, "CompletingRebalance", "Classic"), 1);
	ck_assert_int_eq(list(root, 5, "", "consumer"), 0);
	struct kafka_list_groups_request q = {0};
	faults_gone(&fix, KAFKA_API_ListGroups, 5, &q);
	faults_each_allocation(&fix, KAFKA_API_ListGroups, 5, &q);
	fix_conn_close(&fix, &one);
}
END_TEST

START_TEST(groups_are_deleted)
{
	int32_t generation;
	(void)join_alone(3, "live", &generation);
	struct kafka_conn *reader = fix_conn(&fix, "", AUTH_LISTEN);
	for (int16_t v = 0; v <= 2; v++) {
		ck_assert_int_eq(commit(root, 8, "idle", "events", 0, 1, ""), 0);
		struct kafka_string names[3] = {TEXT("idle"), TEXT("live"), TEXT("absent")};
		struct kafka_delete_groups_request q = {.groups_names = names, .n_groups_names = 3};
		struct kafka_delete_groups_response *p =
			fix_call(&fix, reader, KAFKA_API_DeleteGroups, v, &q, &arena);
		ck_assert_int_eq(p->n_results, 3);
		ck_assert_int_eq(p->results[0].error_code, 30);
		p = fix_call(&fix, root, KAFKA_API_DeleteGroups, v, &q, &arena);
		ck_assert_int_eq(p->n_results, 3);
		ck_assert(span_eq_str(p->results[0].group_id.s, "idle"));
		ck_assert_int_eq(p->results[0].error_code, 0);
		ck_assert_int_eq(p->results[1].error_code, GROUP_NOT_EMPTY);
		ck_assert_int_eq(p->results[2].error_code, GROUP_NOT_FOUND);
		ck_assert_int_eq(fetch_one(root, 8, "idle", "events", 0).committed_offset, -1);
	}
	fix_conn_close(&fix, &reader);
}
END_TEST

/* The members of the rounds before stay: a join may wait for them. */
START_TEST(no_memory_and_gone_for_members)
{
	struct kafka_join_group_request j = join_of("faulty", TEXT(""));
	faults_gone(&fix, KAFKA_API_JoinGroup, 9, &j);
	faults_each_allocation(&fix, KAFKA_API_JoinGroup, 9, &j);
	struct kafka_heartbeat_request h = {.group_id = TEXT("faulty"), .group_instance_id = NONE};
	faults_gone(&fix, KAFKA_API_Heartbeat, 4, &h);
	faults_each_allocation(&fix, KAFKA_API_Heartbeat, 4, &h);
	struct kafka_leave_group_request_member m = {
		.member_id = TEXT("x"), .group_instance_id = TEXT("i"), .reason = NONE};
	struct kafka_leave_group_request l = {
		.group_id = TEXT("faulty"), .members = &m, .n_members = 1};
	faults_gone(&fix, KAFKA_API_LeaveGroup, 5, &l);
	faults_each_allocation(&fix, KAFKA_API_LeaveGroup, 5, &l);
	struct kafka_offset_commit_request_partition part = {.committed_offset = 1,
							     .committed_metadata = TEXT("m")};
	struct kafka_offset_commit_request_topic t = {
		.name = TEXT("events"), .partitions = &part, .n_partitions = 1};
	struct kafka_offset_commit_request c = {.group_id = TEXT("faulty"),
						.generation_id_or_member_epoch = -1,
						.group_instance_id = NONE,
						.topics = &t,
						.n_topics = 1};
	faults_gone(&fix, KAFKA_API_OffsetCommit, 9, &c);
	faults_each_allocation(&fix, KAFKA_API_OffsetCommit, 9, &c);
	struct kafka_offset_delete_request_partition dp = {.partition_index = 0};
	struct kafka_offset_delete_request_topic dt = {
		.name = TEXT("events"), .partitions = &dp, .n_partitions = 1};
	struct kafka_offset_delete_request d = {
		.group_id = TEXT("faulty"), .topics = &dt, .n_topics = 1};
	faults_each_allocation(&fix, KAFKA_API_OffsetDelete, 0, &d);
	struct kafka_string name = TEXT("faulty");
	struct kafka_delete_groups_request g = {.groups_names = &name, .n_groups_names = 1};
	faults_each_allocation(&fix, KAFKA_API_DeleteGroups, 2, &g);
}
END_TEST

Suite *kafka_groups_suite(void)
{
	Suite *s = suite_create("groups");
	TCase *t = tcase_create("groups");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_member_in_every_version);
	tcase_add_test(t, refused_joins_fill_every_field);
	tcase_add_test(t, membership_needs_listen);
	tcase_add_test(t, parked_joins_and_gone_clients);
	tcase_add_test(t, a_parked_join_ends_with_the_server);
	tcase_add_test(t, offsets_in_every_version);
	tcase_add_test(t, long_metadata_is_refused);
	tcase_add_test(t, offsets_and_rights);
	tcase_add_test(t, all_offsets_of_a_group);
	tcase_add_test(t, offsets_of_several_groups);
	tcase_add_test(t, offsets_are_deleted);
	tcase_add_test(t, groups_are_described);
	tcase_add_test(t, groups_are_listed);
	tcase_add_test(t, groups_are_deleted);
	tcase_add_test(t, no_memory_and_gone_for_members);
	suite_add_tcase(s, t);
	return s;
}
