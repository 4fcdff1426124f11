#ifndef GATEWAY_KAFKA_HANDLERS_H
#define GATEWAY_KAFKA_HANDLERS_H

/* What the handlers of metadata, groups and administration share: catalogue
 * changes and group operations on behalf of a request, and log lines of what was
 * refused. Inside gateway/kafka only; everything belongs to the loop's thread. */

#include <stddef.h>

#include "gateway/kafka/kafka_priv.h"

enum {
	/* Memory of a request whose answer lists much: all hubs, all offsets of a
	 * group, all members of many groups. */
	KAFKA_ANSWER_MAX = 64 << 20,
	/* Catalogue changes of one request under way at the same time. */
	KAFKA_COMMANDS_OUT = 8,
	/* Partitions of a topic that does not say how many, where hubs are not made
	 * by Metadata; as the emulator's hubs have. */
	KAFKA_PARTITIONS_DEFAULT = 4,
	/* Any right on a hub shows it. */
	KAFKA_RIGHTS_ANY = AUTH_SEND | AUTH_LISTEN | AUTH_MANAGE,
};

/* AclOperation's codes, as bits of *_authorized_operations (KIP-430). */
enum kafka_operation {
	KAFKA_OP_READ = 1 << 3,
	KAFKA_OP_WRITE = 1 << 4,
	KAFKA_OP_CREATE = 1 << 5,
	KAFKA_OP_DELETE = 1 << 6,
	KAFKA_OP_ALTER = 1 << 7,
	KAFKA_OP_DESCRIBE = 1 << 8,
	KAFKA_OP_DESCRIBE_CONFIGS = 1 << 10,
	KAFKA_OP_IDEMPOTENT_WRITE = 1 << 12,
};

/* Why something is refused; KAFKA_NONE: it is not. The text is static or in the
 * request's arena; NULL: there was no memory for it. */
struct kafka_refusal {
	enum kafka_code code;
	const char *why;
};

/* Lets the arena grow to KAFKA_ANSWER_MAX. */
static inline void kafka_answer_is_long(struct kafka_request *r)
{
	r->arena.max = r->arena.max < KAFKA_ANSWER_MAX ? KAFKA_ANSWER_MAX : r->arena.max;
}

/* One line: who asked for what and was refused, and which field was to blame. */
void kafka_refused(const struct kafka_request *r, enum kafka_code code, const char *field,
		   struct span value);

static inline struct kafka_string kafka_str(struct span s)
{
	return (struct kafka_string){.s = s};
}
/* p NULL (an absent value) becomes null. */
static inline struct kafka_string kafka_str_or_null(struct span s)
{
	return (struct kafka_string){.s = s, .is_null = s.p == NULL};
}
/* Null becomes a span with p NULL; empty text does not. */
struct span kafka_span_or_none(const struct kafka_string *s);
/* Text in the request's arena; NULL: kafka_fail was called. */
char *kafka_printf(struct kafka_request *r, const char *fmt, ...) PRINTF(2, 3);
/* A copy in the request's arena. False: kafka_fail was called. */
bool kafka_span_copy(struct kafka_request *r, struct span from, struct span *out);

/* Of n names: is_twice[i] tells whether name i (without case) stands more than
 * once, is_later[i] whether an equal one comes before it. In the arena, not
 * quadratic. False: kafka_fail was called. */
struct kafka_twice {
	bool is_twice;
	bool is_later;
};
struct kafka_twice *kafka_find_twice(struct kafka_request *r, const struct kafka_string *names,
				     uint32_t n);

/* num.partitions */
static inline uint32_t kafka_default_partitions(const struct kafka_front *f)
{
	return f->options.auto_create > 0 ? f->options.auto_create : KAFKA_PARTITIONS_DEFAULT;
}

/* Counts a request that is to change something against the namespace's rate of
 * management calls. False: all of it is refused with *why, and the client is to wait
 * for *throttle_ms. The API knows THROTTLING_QUOTA_EXCEEDED from `known_since` on. */
enum { KAFKA_NEVER_KNOWN = INT16_MAX };
bool kafka_may_manage(struct kafka_request *r, int16_t known_since, struct kafka_refusal *why,
		      int32_t *throttle_ms);

/* ---- catalogue changes --------------------------------------------------------- */

/* Up to n catalogue commands for a request, KAFKA_COMMANDS_OUT at a time. The
 * first member of the handler's state: r->state, r->cancel belong to it. Fill in
 * n and the functions, then start. */
struct kafka_commands;
struct kafka_command {
	struct store_command op;
	struct kafka_commands *of;
	uint32_t at;
};
struct kafka_commands {
	struct kafka_request *r;
	uint32_t n;
	uint32_t next;
	uint32_t out;
	/* Fills in command `at`, which is zeroed; false: there is none. */
	bool (*fill)(struct kafka_request *r, uint32_t at, struct catalog_command *cmd);
	void (*done)(struct kafka_request *r, uint32_t at, enum err e, const struct err_detail *d);
	/* All came back, or after a cancel all that had gone out: answers. */
	void (*all)(struct kafka_request *r);
	struct kafka_command slots[KAFKA_COMMANDS_OUT];
};
/* May answer before it returns: the last thing a handler does. */
void kafka_commands_start(struct kafka_request *r, struct kafka_commands *c);

/* ---- group operations ----------------------------------------------------------- */

/* The operation of a request, one after another where there are several. The
 * first member of the handler's state: r->state, r->cancel and r->fini belong to
 * it. */
struct kafka_group_op {
	struct groups_op op;
	struct kafka_request *r;
	void (*done)(struct kafka_group_op *g);
	bool is_out;
	bool is_cancelled;
};
/* Zeroed, `size` bytes of which a kafka_group_op is the first member. NULL:
 * kafka_fail was called. */
void *kafka_group_op_new(struct kafka_request *r, size_t size);
/* Empties `op` for one (more) of this kind; what the last one gave is gone. */
void kafka_group_op_reset(struct kafka_group_op *g, enum groups_kind kind, struct span group);
/* Goes out; `done` runs once it is back, and answers or submits the next one. */
void kafka_group_op_submit(struct kafka_group_op *g, void (*done)(struct kafka_group_op *g));

#endif
