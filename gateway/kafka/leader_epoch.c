/* OffsetForLeaderEpoch: there is one epoch, so nothing was ever cut off. */

#include "gateway/kafka/data.h"

enum { RIGHTS = AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE, UNDEFINED = -1 };

static void answer_part(struct kafka_request *r, const struct kafka_topic *topic,
			enum kafka_code code,
			const struct kafka_offset_for_leader_epoch_request_partition *ask,
			struct kafka_offset_for_leader_epoch_response_partition *answer)
{
	struct store_partition *p = NULL;
	struct store_position at = {.deleted = true};
	*answer = (struct kafka_offset_for_leader_epoch_response_partition){
		.partition = ask->partition,
		.leader_epoch = UNDEFINED,
		.end_offset = UNDEFINED,
	};
	if (code == KAFKA_NONE) {
		code = kafka_partition_find(r->conn, topic, ask->partition, &p);
	}
	if (code == KAFKA_NONE) {
		code = kafka_partition_position(p, &at);
	}
	if (code == KAFKA_NONE) {
		code = kafka_epoch_check(ask->current_leader_epoch);
	}
	store_partition_drop(&p);
	answer->error_code = (int16_t)code;
	if (code == KAFKA_NONE && ask->leader_epoch == KAFKA_LEADER_EPOCH) {
		answer->leader_epoch = KAFKA_LEADER_EPOCH;
		answer->end_offset = at.next_seq;
	}
}

void kafka_on_offset_for_leader_epoch(struct kafka_request *r)
{
	const struct kafka_offset_for_leader_epoch_request *req = r->body;
	uint32_t n_topics = kafka_count(req->n_topics);
	struct kafka_offset_for_leader_epoch_response_topic *topics =
		kafka_alloc_array(r, n_topics, sizeof *topics);
	if (topics == NULL) {
		return;
	}
	for (uint32_t t = 0; t < n_topics; t++) {
		const struct kafka_offset_for_leader_epoch_request_topic *ask = &req->topics[t];
		uint32_t n = kafka_count(ask->n_partitions);
		struct kafka_topic topic;
		enum kafka_code code = kafka_topic_find(r->conn, ask->topic.s, RIGHTS, &topic);
		topics[t].topic = ask->topic;
		topics[t].partitions = kafka_alloc_array(r, n, sizeof *topics[t].partitions);
		topics[t].n_partitions = (int32_t)n;
		if (topics[t].partitions == NULL) {
			return;
		}
		for (uint32_t i = 0; i < n; i++) {
			answer_part(r, &topic, code, &ask->partitions[i], &topics[t].partitions[i]);
		}
	}
	struct kafka_offset_for_leader_epoch_response response = {
		.topics = topics,
		.n_topics = (int32_t)n_topics,
	};
	kafka_answer(r, &response);
}
