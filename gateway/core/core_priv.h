#ifndef GATEWAY_CORE_CORE_PRIV_H
#define GATEWAY_CORE_CORE_PRIV_H

/* Shared inside gateway/core only. */

#include "base/lock.h"
#include "gateway/core/core.h"

struct core_registry;	/* readers.c: who reads which partition in which group */
struct core_pacer;	/* pacer.c: the thread that owns what waits for capacity */
struct core_lane;	/* lanes.h */

/* A block of producer ids being given out, and who waits for the next one. */
enum { CORE_PRODUCER_IDS = 1000 };
struct core_producer_ids {
	struct lock lock;	/* a leaf */
	int64_t next;
	int64_t end;
	struct core_producer_id *first;	/* waiting, by msg.next */
	struct core_producer_id *last;
	bool is_asking;
	struct store_command command;	/* while is_asking: of whoever asked */
};

struct core {
	struct store *store;
	char *host;
	char *extra_key;	/* NULL: none */
	int64_t default_retention_ms;
	int64_t hold_ns;
	uint32_t max_hubs;	/* these three: 0: no quota */
	uint32_t max_partitions;
	uint32_t max_consumer_groups;
	struct budget inflight;
	struct auth_source auth;
	struct core_registry *readers;
	struct core_producer_ids producer_ids;
	struct throttle *throttle;
	struct throttle_calls management;
	struct core_pacer *pacer;
};

struct core_registry *core_registry_new(void);
void core_registry_free(struct core_registry **r);

/* How soon whoever sends or reads for long sees that its hub or the limits changed. */
enum { CORE_REFRESH_NS = 200 * 1000 * 1000 };

/* ---- pacer.c ------------------------------------------------------------------ */

/* How often the pacer looks at what changes without telling it. */
struct core_pace {
	int64_t poll_ns;	/* the catalogue */
	int64_t second_ns;	/* use of the namespace, growing and shrinking of units */
	int64_t minute_ns;	/* the log of throttled scopes */
};
extern const struct core_pace core_usual_pace;

/* As core_new, at another pace: for tests. */
enum err core_new_paced(const struct core_options *o, const struct core_pace *pace,
			struct core **out) MUST_CHECK;

/* Puts the catalogue's limits in force and starts the thread. core->throttle exists. */
enum err core_pacer_new(struct core *c, const struct core_pace *pace,
			struct core_pacer **out) MUST_CHECK;
/* Ends the thread once nothing of it is at the store. Nobody asks any more. */
void core_pacer_free(struct core_pacer **p);
/* What waits comes back with ERR_STOPPING before this returns, what is asked for from
 * now on at once; the store sees nothing new of the pacer. */
void core_pacer_stop(struct core_pacer *p);
/* The lane's thread: waits for capacity on `lane`, but not before everything that was
 * deferred on `after` (NULL: nothing) is settled; then appends. */
void core_pacer_append(struct core_pacer *p, struct core_lane *lane, struct core_lane *after,
		       struct core_append *a);
/* The same for a reader. `lane` NULL: it is paid for at once. */
void core_pacer_turn(struct core_pacer *p, struct core_lane *lane, struct core_turn *t);
void core_pacer_use(struct core_pacer *p, struct core_use *out);

/* ---- units.c: the pacer's thread, but for core_units_new ---------------------------- */

/* The limits of the catalogue, and the units that grow and shrink. */
struct core_units;
struct core_units *core_units_new(struct core *c);
void core_units_free(struct core_units **u);	/* not while it is busy */
/* Puts the limits in force when the catalogue's differ. */
void core_units_poll(struct core_units *u);
/* About once a second: grow or shrink. The command is answered to `reply_to`. */
void core_units_adapt(struct core_units *u, int64_t now_ns, struct mailbox *reply_to);
/* A command is at the store. */
bool core_units_is_busy(const struct core_units *u);

/* ---- scopes.c: the pacer's thread ---------------------------------------------------- */

/* What each scope's figures were when they were logged last. */
struct core_minute;
struct core_minute *core_minute_new(void);
void core_minute_free(struct core_minute **m);
/* A line for each scope that was throttled since. */
void core_minute_log(struct core_minute *m, struct throttle *t);

/* ---- quota.c ---------------------------------------------------------------------------- */

/* ERR_LIMIT: the command goes beyond a quota of this core. Fills in its `most`. */
enum err core_quota_check(const struct core *c, struct catalog_command *cmd,
			  struct err_detail *d) MUST_CHECK;

#endif
