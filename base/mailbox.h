#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

/* How work changes threads: an operation embeds a `struct msg`, whoever needs
 * something done posts it to the owner's mailbox, the owner takes the whole
 * list and runs each message in order. Completion travels back the same way
 * with the same embedded message. Posting never fails and never allocates;
 * what bounds a mailbox is that operations are bounded by byte budgets and
 * per-connection limits where they are made. */

#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"

struct msg;
typedef void msg_fn(struct msg *m);	/* runs on the thread that owns the mailbox */

struct msg {
	struct msg *next;	/* private to the mailbox while posted */
	msg_fn *run;
};

/* Called outside the lock when the mailbox turns from empty to non-empty;
 * must be callable from any thread and not block (uv_async_send). */
typedef void mailbox_notify_fn(void *arg);

struct mailbox {
	struct lock lock;
	struct cond cond;
	struct msg *head;
	struct msg *tail;
	mailbox_notify_fn *notify;	/* NULL: the owner sleeps in mailbox_wait */
	void *notify_arg;
};

void mailbox_init(struct mailbox *mb, mailbox_notify_fn *notify, void *arg);
void mailbox_fini(struct mailbox *mb);	/* must be empty */

/* Any thread. Keeps `m` until it is run. */
void mailbox_post(struct mailbox *mb, struct msg *m);
/* The same for a chain first..last linked by ->next. */
void mailbox_post_list(struct mailbox *mb, struct msg *first, struct msg *last);

/* Owner only: takes everything posted so far, oldest first (NULL: nothing). */
struct msg *mailbox_take(struct mailbox *mb);
/* Owner only: the same, sleeping until something is there or deadline_ns
 * (CLOCK_MONOTONIC; INT64_MAX = for ever). */
struct msg *mailbox_wait(struct mailbox *mb, int64_t deadline_ns);

/* Runs a chain; each message may be freed or reposted by its run function. */
static inline void msg_run_all(struct msg *m)
{
	while (m != NULL) {
		struct msg *next = m->next;
		m->next = NULL;
		m->run(m);
		m = next;
	}
}

#endif
