#ifndef TEST_UNIT_CORE_CORE_FIX_H
#define TEST_UNIT_CORE_CORE_FIX_H

/* A core over a real store in a temporary directory, with the hubs "events" (4
 * partitions, group "audit") and "a/b" (2), and the policies of test_core.c. */

#include <check.h>

#include "gateway/core/core_priv.h"

struct core_fix {
	char dir[64];
	struct store *store;
	struct core *core;
	struct mailbox reply;
};

void core_fix_open(struct core_fix *f);
/* The same; store and host of `o` are filled in. NULL: the usual pace. */
void core_fix_open_as(struct core_fix *f, const struct core_options *o, const struct core_pace *pace);
void core_fix_close(struct core_fix *f);
/* Runs one catalogue command to its end; the error it gave. */
enum err core_fix_command(struct core_fix *f, const struct catalog_command *cmd);
/* Waits for one message on `reply` and runs it. */
void core_fix_wait(struct core_fix *f);
/* Appends one event whose value is `text` through a sender; its sequence number. */
int64_t core_fix_append(struct core_fix *f, struct core_sender *s, const char *text,
			const char *key);

/* One that tells things to be done every 50 ms, and every 100 ms, "second" and "minute". */
extern const struct core_pace core_fix_quick;

/* Sets units of the namespace, as a user does. */
void core_fix_units(struct core_fix *f, const struct catalog_units *u);
/* Puts one limit, or deletes it (all 0). */
void core_fix_limit(struct core_fix *f, enum catalog_limit_kind kind, const char *name,
		    uint64_t in_bytes, uint64_t out_bytes);
/* Waits until a scope that is in use has that limit of bytes (0: none). */
void core_fix_await_limit(struct core_fix *f, enum throttle_kind kind, const char *name,
			  enum throttle_direction d, uint64_t bytes);

/* A send of one small event that counts as `bytes`. */
struct core_fix_send {
	struct core_append a;
	bool is_done;
	enum err err;		/* of core_append_done */
	uint32_t nth;		/* in which order they came back */
	int64_t done_ns;
};
/* -1: where the sender's way leads. Checks that it was taken. */
void core_fix_post(struct core_fix *f, struct core_sender *s, struct core_fix_send *x,
		   int64_t partition, uint32_t bytes, bool is_patient);
/* Waits until it came back; its error. */
enum err core_fix_done(struct core_fix *f, struct core_fix_send *x);
struct core_sender *core_fix_sender(struct core_fix *f, const char *address,
				    const struct core_client *client);

Suite *address_suite(void);
Suite *grants_suite(void);
Suite *readers_suite(void);
Suite *sender_suite(void);
Suite *producer_id_suite(void);
Suite *pacer_suite(void);
Suite *lanes_suite(void);
Suite *reading_suite(void);
Suite *units_suite(void);
Suite *quota_suite(void);
Suite *scopes_suite(void);
Suite *load_suite(void);

#endif
