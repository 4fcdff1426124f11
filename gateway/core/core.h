#ifndef GATEWAY_CORE_CORE_H
#define GATEWAY_CORE_CORE_H

/* The neutral operations all front ends share: resolve an address, check a
 * grant, append, read, watch, own a partition, change the catalogue. A front end
 * turns its wire into these and their errors into its protocol's words; it never
 * talks to the store, the policies or the throttle itself.
 *
 * Order inside every operation: auth, then throttle, then store. Every function
 * may be called on any thread unless it says otherwise; completions run as
 * messages on the mailbox the caller named. */

#include <stdbool.h>
#include <stdint.h>

#include "auth/grant.h"
#include "base/budget.h"
#include "store/store.h"
#include "throttle/throttle.h"

/* The policy every namespace starts with. */
#define CORE_ROOT_POLICY "RootManageSharedAccessKey"

struct core;
struct core_lane;

struct core_options {
	struct store *store;
	const char *host;		/* the namespace's name, for texts */
	size_t inflight_max_bytes;	/* sends received or being received, not yet answered */
	/* A further key that RootManageSharedAccessKey accepts while this process
	 * runs (the emulator's, for its users); NULL: none. */
	const char *extra_key;
	int64_t default_retention_ms;	/* of hubs made without saying so; 0: for ever */
	int64_t throttle_hold_ms;	/* AMQP and HTTPS sends that would wait longer are refused */
	int64_t throttle_delay_ms;	/* the same for Kafka's */
	size_t throttle_hold_bytes;	/* of sends that wait */
	uint32_t management_rate;	/* calls a second; 0: no limit */
	uint32_t max_hubs;		/* these three: 0: only the fixed bound */
	uint32_t max_partitions;	/* of one hub */
	uint32_t max_consumer_groups;	/* of one hub */
};

/* Starts the pacer's thread (see "capacity"). */
enum err core_new(const struct core_options *o, struct core **out) MUST_CHECK;
void core_free(struct core **c);
/* Whatever waits for capacity comes back with ERR_STOPPING, later askers at once.
 * After net_drain, before the store is closed. */
void core_stop_waiting(struct core *c);
struct store *core_store(struct core *c);
const char *core_host(const struct core *c);
/* Bounds the memory of unanswered sends of all front ends. */
struct budget *core_inflight(struct core *c);
/* Policies of the catalogue, for auth_sas_check and auth_password_check. */
const struct auth_source *core_auth(struct core *c);

/* ---- addresses ---------------------------------------------------------- */

enum core_address_kind {
	CORE_HUB,	/* hub */
	CORE_PARTITION,	/* hub/Partitions/N */
	CORE_PUBLISHER,	/* hub/Publishers/P, hub/Publisher/P */
	CORE_READER,	/* hub/ConsumerGroups/G/Partitions/N */
	CORE_MANAGEMENT,/* $management or hub/$management */
	CORE_CBS,	/* $cbs */
};

struct core_address {
	enum core_address_kind kind;
	uint32_t hub_id;
	uint32_t partitions;
	uint32_t partition;
	char hub[LIMIT_HUB_NAME + 1];	/* as created */
	char group[LIMIT_GROUP_NAME + 1];
	char publisher[LIMIT_PUBLISHER_NAME + 1];
	char path[AUTH_SCOPE_MAX];	/* normalised, for grants */
};

/* Any form the SDKs send: with or without scheme and authority, leading '/',
 * percent escapes, any case of the fixed words. ERR_NOT_FOUND (hub, partition,
 * group) with Event Hubs' own text; ERR_INVALID. On ERR_NOT_FOUND, out->path is
 * still set, so that a grant can be checked first and strangers learn nothing. */
enum err core_resolve(struct core *c, struct span address, struct core_address *out,
		      struct err_detail *d) MUST_CHECK;

/* ---- grants of one connection ------------------------------------------- */

enum { CORE_GRANTS_MAX = 1100 };	/* one per link is usual */

/* Owned by the connection's thread. Zero-initialise. */
struct core_grants {
	struct auth_grant **v;
	size_t n;
	size_t cap;
};
/* Adds, or replaces the grant with the same scope and rights. ERR_LIMIT. */
enum err core_grants_add(struct core_grants *g, const struct auth_grant *grant) MUST_CHECK;
/* ERR_OK: some live grant covers it (*expires_ms: the latest such expiry);
 * ERR_UNAUTHORIZED, ERR_FORBIDDEN otherwise, with Event Hubs' text in d. */
enum err core_grants_check(const struct core *c, const struct core_grants *g, const char *path,
			   enum auth_right right, int64_t now_ms, int64_t *expires_ms,
			   struct err_detail *d) MUST_CHECK;
/* The grant that core_grants_check goes by; NULL: none covers it. Borrowed until the
 * grants change. */
const struct auth_grant *core_grants_find(const struct core_grants *g, const char *path,
					  enum auth_right right, int64_t now_ms);
bool core_grants_any(const struct core_grants *g, int64_t now_ms);
void core_grants_fini(struct core_grants *g);

/* ---- capacity --------------------------------------------------------------- */

/* One client connection, between which capacity is shared fairly. `label` says who
 * it is. Any thread; senders and readers may outlive it. */
enum err core_flow_open(struct core *c, const char *label, struct throttle_flow **out) MUST_CHECK;
void core_flow_close(struct throttle_flow **f);

/* On whose account a sender or reader is. Borrowed while it is being opened. */
struct core_client {
	struct throttle_flow *flow;
	const char *policy;	/* of the grant; NULL or "": none */
	const char *policy_hub;	/* whose policy it is; "": the namespace's */
	const char *client_id;	/* Kafka's; NULL or "": none */
};

/* A wait of a reader for capacity; embed it. */
struct core_turn {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	enum err err;		/* ERR_OK: paid for; ERR_STOPPING */
	/* private */
	struct throttle_request request;
	struct core *core;
	struct core_lane *lane;
};

/* What an error text says of a refusal, with Event Hubs' code 50002 (event-hubs
 * "8.3"): which limit, and when to come again. `d` that refused nothing (memory is
 * short): another text, with 4 seconds. */
void core_busy_text(const struct throttle_decision *d, char *out, size_t size);

/* May one more management call be served now? Otherwise *wait_ms, and ERR_BUSY with
 * Event Hubs' code 50008 in the text. Counts it as throttled. */
enum err core_manage_take(struct core *c, uint32_t *wait_ms, struct err_detail *d) MUST_CHECK;

/* Scopes that have a limit, see throttle_list (never begins `worst` anew); sorted by kind
 * and name, each name once. */
enum err core_scopes(struct core *c, struct throttle_scope_info **out, size_t *n) MUST_CHECK;

/* The scopes as lines of Prometheus' text format, labelled scope, name, direction. */
void core_metrics_render(struct core *c, struct str *out);

/* Use of the namespace over the last whole seconds, all protocols. */
struct core_use {
	struct throttle_rate rate[THROTTLE_DIRECTIONS];
};
void core_use(struct core *c, struct core_use *out);

/* ---- sending -------------------------------------------------------------- */

/* A place events are sent to; owned by one thread. `client` NULL: on nobody's
 * account, so never throttled. */
struct core_sender;
enum err core_sender_open(struct core *c, const struct core_address *a,
			  const struct core_client *client, struct core_sender **out) MUST_CHECK;
/* What keeps a sender just busy under its share of the capacity: about half of the hold
 * time. Sends (of the cost of the last ones) that it should have under way at most, at
 * least 1; UINT32_MAX: no limit. */
uint32_t core_sender_window(struct core_sender *s);
/* What throttle_estimate says of one more send into `partition` (-1: any) of that cost. */
int64_t core_sender_estimate_ns(struct core_sender *s, int64_t partition,
				const struct throttle_cost *cost);
void core_sender_close(struct core_sender **s);

/* One append; embed it. Fill batch (reference passes over), batch_len, key_len,
 * events, encoding, may_merge of `op`, reply_to and done, then core_append. */
struct core_append {
	struct store_append op;
	int64_t started_ns;
	uint32_t bytes;		/* payload as received, for units and metrics */
	bool is_patient;	/* Kafka's: waits throttle_delay_ms instead of _hold_ms */
	/* For done: it waited so long for capacity; why it was refused, when the error is
	 * ERR_BUSY (verdict ADMIT: memory was short). */
	int64_t waited_ns;
	struct throttle_decision decision;
	bool is_held;		/* set by core_append: it waits for capacity */
	/* private */
	struct throttle_request request;
	struct core *core;
	struct core_lane *lane;
	struct core_lane *after;
};
/* Routes: the address's partition; else the key's; else round robin. Over the limits
 * it waits its turn; sends of one sender to one partition keep their order. ERR_OK: done
 * will run (call core_append_done first in it). Otherwise nothing was taken and
 * done will not run: ERR_NOMEM, ERR_NOT_FOUND, ERR_INVALID: the hub is compacted and
 * events of AMQP or HTTPS came without a key (CORE_NO_KEY tells it to the client). A
 * key given together with a partition address is allowed and kept. */
enum err core_append(struct core_sender *s, struct core_append *a) MUST_CHECK;
/* The same into partition `partition` of the sender's hub. */
enum err core_append_at(struct core_sender *s, uint32_t partition,
			struct core_append *a) MUST_CHECK;
#define CORE_NO_KEY \
	"The event hub is compacted, so its events need a partition key, and this one has none."
/* Gives back what the append held and counts it; returns its error. */
enum err core_append_done(struct core_append *a);

/* ---- reading -------------------------------------------------------------- */

enum core_from { CORE_EARLIEST, CORE_LATEST, CORE_SEQUENCE, CORE_OFFSET, CORE_TIME };

struct core_start {
	enum core_from from;
	bool inclusive;
	int64_t sequence;	/* SEQUENCE */
	int64_t time_ms;	/* TIME */
	char offset[32];	/* OFFSET: the opaque text */
};

/* Sent to a reader that lost its partition; the receiver frees it with mem_free. */
struct core_stolen {
	struct msg msg;
	uint64_t conn_id;
	uint64_t link_id;
	char text[ERR_DETAIL_MAX];
};

struct core_reader_options {
	bool has_epoch;
	int64_t epoch;		/* owner level */
	char name[128];		/* receiver name, for texts */
	struct mailbox *mailbox;	/* where core_stolen goes */
	msg_fn *stolen;
	uint64_t conn_id;
	uint64_t link_id;
	struct core_client client;	/* flow NULL: on nobody's account */
};

/* A reader of one partition in one group; owned by one thread. */
struct core_reader;
/* Applies the owner-level rules (event-hubs "Epoch and reader limits"):
 * ERR_STOLEN: a higher level owns it, or a reader without level while an owner
 * lives; ERR_LIMIT: sixth reader without level; ERR_NOT_FOUND. */
enum err core_reader_open(struct core *c, const struct core_address *a,
			  const struct core_reader_options *o, struct core_reader **out,
			  struct err_detail *d) MUST_CHECK;
/* A core_stolen already posted still arrives. */
void core_reader_close(struct core_reader **r);
struct store_partition *core_reader_partition(struct core_reader *r);	/* borrowed */
/* The reader has been given everything before `seq`; for core_readers_list. */
void core_reader_at(struct core_reader *r, int64_t seq);

/* A reader as others see it. */
struct core_reader_info {
	struct store_part part;
	char group[LIMIT_GROUP_NAME + 1];
	char name[128];
	bool has_epoch;
	int64_t epoch;
	int64_t next_seq;	/* -1: not known yet */
};
/* The readers there are now, of one hub or (0) of all; *out is the caller's, to
 * be freed with mem_free. ERR_NOMEM. */
enum err core_readers_list(struct core *c, uint32_t hub_id, struct core_reader_info **out,
			   size_t *n) MUST_CHECK;

/* Where to begin. ERR_OK: *seq is set; ERR_AGAIN: it needs a store_seek (by
 * time): start core_seek; ERR_INVALID with Event Hubs' text: a bad offset;
 * ERR_OFFLINE. */
enum err core_start_at(struct core_reader *r, const struct core_start *from, int64_t *seq,
		       struct err_detail *d) MUST_CHECK;
void core_seek(struct core_reader *r, struct store_seek *op);	/* partition is filled in */
/* As store_read_recent, store_read, store_watch; `partition` is filled in. */
enum err core_read_recent(struct core_reader *r, int64_t from, uint32_t max_bytes,
			  struct store_batches *out) MUST_CHECK;
void core_read(struct core_reader *r, struct store_read *op);
void core_watch(struct core_reader *r, struct store_watch *w);

/* Capacity for what is to be delivered, paid for in advance: take tries at once; where
 * it fails, wait comes back to t->done when it is paid for (readers are delayed, never
 * refused); what was not used is given back. */
bool core_reader_take(struct core_reader *r, const struct throttle_cost *cost);
void core_reader_wait(struct core_reader *r, const struct throttle_cost *cost, struct core_turn *t);
void core_reader_give(struct core_reader *r, const struct throttle_cost *cost);
/* The reader's fair share a second at present; UINT64_MAX: no limit. */
struct throttle_rate core_reader_share(struct core_reader *r);

/* The same for whoever reads many partitions of a hub without readers. */
struct core_reading;
enum err core_reading_open(struct core *c, const struct core_client *client, uint32_t hub_id,
			   struct core_reading **out) MUST_CHECK;
void core_reading_close(struct core_reading **r);
bool core_reading_take(struct core_reading *r, uint32_t partition, const struct throttle_cost *cost);
void core_reading_wait(struct core_reading *r, uint32_t partition, const struct throttle_cost *cost,
		       struct core_turn *t);
struct throttle_rate core_reading_share(struct core_reading *r, uint32_t partition);
/* As throttle_estimate. */
int64_t core_reading_estimate_ns(struct core_reading *r, uint32_t partition,
				 const struct throttle_cost *cost);

/* Reading without owner levels, for front ends whose groups are coordinated
 * otherwise. NULL: no such partition; one reference. */
struct store_partition *core_partition(struct core *c, struct store_part part);
enum err core_fetch_recent(struct core *c, struct store_partition *p, int64_t from,
			   uint32_t max_bytes, struct store_batches *out) MUST_CHECK;
/* op->partition is the caller's. */
void core_fetch(struct core *c, struct store_read *op);
void core_fetch_seek(struct core *c, struct store_seek *op);
void core_fetch_watch(struct core *c, struct store_watch *w);
/* As store_trim; whoever asks has checked the right to manage the hub. */
void core_trim(struct core *c, struct store_trim *op);

/* ---- producer ids ----------------------------------------------------------- */

/* An id that no producer had before. Ids come in blocks from the catalogue, so
 * `done` runs at once or after a catalogue change; err as store_command. */
struct core_producer_id {
	struct msg msg;
	struct mailbox *reply_to;
	msg_fn *done;
	enum err err;
	int64_t id;
};
void core_producer_id(struct core *c, struct core_producer_id *op);

/* AMQP's offset of an event; opaque text to everyone else. */
void core_offset_text(int64_t seq, char out[32]);

/* ---- facts ---------------------------------------------------------------- */

/* ERR_NOT_FOUND, ERR_OFFLINE. */
enum err core_position(struct core *c, uint32_t hub_id, uint32_t partition,
		       struct store_position *out) MUST_CHECK;
/* One reference; give back with catalog_drop. */
const struct catalog *core_catalog(struct core *c);
/* Catalogue change, see store_command. A hub made without a retention time gets the
 * default one; what goes beyond the quotas of core_options comes back with ERR_LIMIT. */
void core_command(struct core *c, struct store_command *op);
/* Retention time of hubs made without one; 0: for ever. */
int64_t core_default_retention(const struct core *c);

/* ---- texts ---------------------------------------------------------------- */

/* "<detail or err text> TrackingId:<id>, SystemTracker:<host>:<entity>,
 * Timestamp:<iso>": what clients see; the same id is to be logged. Makes the id. */
void core_error_text(const struct core *c, enum err e, const char *detail, const char *entity,
		     char tracking[33], char *out, size_t out_size);

#endif
