/* InitProducerId: ids of idempotent producers. Transactional ones are refused. */

#include "gateway/kafka/data.h"

struct init {
	struct core_producer_id op;
	struct kafka_request *r;
};

/* Also what may pass is said in the one way that producers of all ages try again. */
static enum kafka_code code_of(enum err e)
{
	return e == ERR_OK ? KAFKA_NONE : KAFKA_COORDINATOR_LOADING;
}

static void answer(struct kafka_request *r, enum kafka_code code, int64_t id)
{
	struct kafka_init_producer_id_response response = {
		.error_code = (int16_t)code,
		.producer_id = code == KAFKA_NONE ? id : -1,
		.producer_epoch = code == KAFKA_NONE ? 0 : -1,
	};
	kafka_answer(r, &response);
}

static void on_id(struct msg *m)
{
	struct init *init = KAFKA_OWNER(struct init, m, op.msg);
	struct kafka_request *r = init->r;
	if (init->op.err != ERR_OK) {
		log_limited(LOG_WARN, "KAFKA-PRODUCER-ID-FAILED", "conn=%llu err=%s",
			    (unsigned long long)r->conn->id, err_info(init->op.err)->name);
	}
	answer(r, code_of(init->op.err), init->op.id);
	kafka_release(r);
}

void kafka_on_init_producer_id(struct kafka_request *r)
{
	const struct kafka_init_producer_id_request *req = r->body;
	if (!req->transactional_id.is_null) {
		answer(r, KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1);
		return;
	}
	if (!kafka_any_allowed(r->conn, AUTH_SEND)) {
		answer(r, KAFKA_CLUSTER_AUTHORIZATION_FAILED, -1);
		return;
	}
	struct init *init = kafka_alloc(r, sizeof *init);
	if (init == NULL) {
		return;
	}
	init->r = r;
	init->op.reply_to = r->conn->mailbox;
	init->op.done = on_id;
	kafka_hold(r);
	core_producer_id(r->conn->front->core, &init->op);
}
