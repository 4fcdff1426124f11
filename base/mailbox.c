#include "base/mailbox.h"

#include <assert.h>
#include <stddef.h>

void mailbox_init(struct mailbox *mb, mailbox_notify_fn *notify, void *arg)
{
	lock_init(&mb->lock);
	cond_init(&mb->cond);
	mb->head = NULL;
	mb->tail = NULL;
	mb->notify = notify;
	mb->notify_arg = arg;
}

void mailbox_fini(struct mailbox *mb)
{
	assert(mb->head == NULL);
	cond_fini(&mb->cond);
	lock_fini(&mb->lock);
}

void mailbox_post(struct mailbox *mb, struct msg *m)
{
	mailbox_post_list(mb, m, m);
}

void mailbox_post_list(struct mailbox *mb, struct msg *first, struct msg *last)
{
	last->next = NULL;
	lock_take(&mb->lock);
	bool was_empty = mb->head == NULL;
	if (was_empty) {
		mb->head = first;
	} else {
		mb->tail->next = first;
	}
	mb->tail = last;
	/* Without notify the mailbox may be gone as soon as the lock is given:
	 * it may stand on the stack of whoever waits for this message. */
	mailbox_notify_fn *notify = was_empty ? mb->notify : NULL;
	void *arg = mb->notify_arg;
	if (was_empty && notify == NULL) {
		cond_signal(&mb->cond);
	}
	lock_give(&mb->lock);
	if (notify != NULL) {
		notify(arg);
	}
}

static struct msg *take_locked(struct mailbox *mb)
{
	struct msg *m = mb->head;
	mb->head = NULL;
	mb->tail = NULL;
	return m;
}

struct msg *mailbox_take(struct mailbox *mb)
{
	lock_take(&mb->lock);
	struct msg *m = take_locked(mb);
	lock_give(&mb->lock);
	return m;
}

struct msg *mailbox_wait(struct mailbox *mb, int64_t deadline_ns)
{
	lock_take(&mb->lock);
	while (mb->head == NULL) {
		if (deadline_ns == INT64_MAX) {
			cond_wait(&mb->cond, &mb->lock);
		} else if (!cond_wait_until(&mb->cond, &mb->lock, deadline_ns)) {
			break;
		}
	}
	struct msg *m = take_locked(mb);
	lock_give(&mb->lock);
	return m;
}
