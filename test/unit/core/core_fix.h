#ifndef TEST_UNIT_CORE_CORE_FIX_H
#define TEST_UNIT_CORE_CORE_FIX_H

/* A core over a real store in a temporary directory, with the hubs "events" (4
 * partitions, group "audit") and "a/b" (2), and the policies of test_core.c. */

#include <check.h>

#include "gateway/core/core.h"

struct core_fix {
	char dir[64];
	struct store *store;
	struct core *core;
	struct mailbox reply;
};

void core_fix_open(struct core_fix *f);
void core_fix_close(struct core_fix *f);
/* Runs one catalogue command to its end; the error it gave. */
enum err core_fix_command(struct core_fix *f, const struct catalog_command *cmd);
/* Waits for one message on `reply` and runs it. */
void core_fix_wait(struct core_fix *f);
/* Appends one event whose value is `text` through a sender; its sequence number. */
int64_t core_fix_append(struct core_fix *f, struct core_sender *s, const char *text,
			const char *key);

Suite *address_suite(void);
Suite *grants_suite(void);
Suite *readers_suite(void);
Suite *sender_suite(void);
Suite *producer_id_suite(void);

#endif
