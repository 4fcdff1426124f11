#include "base/mailbox.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "suites.h"

enum { SENDERS = 4, EACH = 5000 };

struct note {
	struct msg msg;		/* first, so that a note is found from its message */
	int sender;
	int number;
	struct inbox *inbox;
};

struct inbox {
	struct mailbox box;
	int next[SENDERS];	/* the number expected of each sender */
	int got;
	atomic_int notified;
};

struct sender {
	struct inbox *inbox;
	struct note notes[EACH];
};
static struct sender senders[SENDERS];

static void on_note(struct msg *m)
{
	struct note *note = (struct note *)m;
	struct inbox *inbox = note->inbox;
	ck_assert_int_eq(note->number, inbox->next[note->sender]);
	inbox->next[note->sender]++;
	inbox->got++;
}

/* Singly and in chains by turns. */
static void *send_all(void *arg)
{
	struct sender *s = arg;
	for (int i = 0; i < EACH;) {
		int n = i % 7 == 0 && i + 3 <= EACH ? 3 : 1;
		for (int k = 0; k + 1 < n; k++) {
			s->notes[i + k].msg.next = &s->notes[i + k + 1].msg;
		}
		if (n == 1) {
			mailbox_post(&s->inbox->box, &s->notes[i].msg);
		} else {
			mailbox_post_list(&s->inbox->box, &s->notes[i].msg,
					  &s->notes[i + n - 1].msg);
		}
		i += n;
	}
	return NULL;
}

static void start(struct inbox *inbox, pthread_t t[SENDERS])
{
	for (int i = 0; i < SENDERS; i++) {
		senders[i].inbox = inbox;
		for (int k = 0; k < EACH; k++) {
			senders[i].notes[k] = (struct note){{NULL, on_note}, i, k, inbox};
		}
		ck_assert_int_eq(thread_start(&t[i], ROLE_BACKGROUND, "sender", send_all,
					      &senders[i]), ERR_OK);
	}
}

START_TEST(each_senders_order_is_kept_while_the_owner_sleeps)
{
	struct inbox inbox = {0};
	pthread_t t[SENDERS];
	mailbox_init(&inbox.box, NULL, NULL);
	start(&inbox, t);
	while (inbox.got < SENDERS * EACH) {
		msg_run_all(mailbox_wait(&inbox.box, INT64_MAX));
	}
	for (int i = 0; i < SENDERS; i++) {
		thread_join(t[i]);
	}
	ck_assert_ptr_null(mailbox_take(&inbox.box));
	mailbox_fini(&inbox.box);
}
END_TEST

static void on_notify(void *arg)
{
	struct inbox *inbox = arg;
	atomic_fetch_add(&inbox->notified, 1);
}

START_TEST(each_senders_order_is_kept_with_a_notifier)
{
	struct inbox inbox = {0};
	pthread_t t[SENDERS];
	mailbox_init(&inbox.box, on_notify, &inbox);
	start(&inbox, t);
	while (inbox.got < SENDERS * EACH) {
		/* As a loop does: takes only after it was told. */
		if (atomic_exchange(&inbox.notified, 0) != 0) {
			msg_run_all(mailbox_take(&inbox.box));
		}
	}
	for (int i = 0; i < SENDERS; i++) {
		thread_join(t[i]);
	}
	mailbox_fini(&inbox.box);
}
END_TEST

START_TEST(notifier_is_called_once_per_filling)
{
	struct inbox inbox = {0};
	struct note a = {{NULL, on_note}, 0, 0, &inbox};
	struct note b = {{NULL, on_note}, 0, 1, &inbox};
	struct note c = {{NULL, on_note}, 0, 2, &inbox};
	mailbox_init(&inbox.box, on_notify, &inbox);
	mailbox_post(&inbox.box, &a.msg);
	mailbox_post(&inbox.box, &b.msg);
	ck_assert_int_eq(atomic_load(&inbox.notified), 1);
	msg_run_all(mailbox_take(&inbox.box));
	ck_assert_int_eq(inbox.got, 2);
	ck_assert_ptr_null(a.msg.next);
	mailbox_post(&inbox.box, &c.msg);
	ck_assert_int_eq(atomic_load(&inbox.notified), 2);
	msg_run_all(mailbox_take(&inbox.box));
	ck_assert_int_eq(inbox.got, 3);
	mailbox_fini(&inbox.box);
}
END_TEST

static void on_again(struct msg *m)
{
	struct note *note = (struct note *)m;
	note->inbox->got++;
	if (--note->number > 0) {
		mailbox_post(&note->inbox->box, m);
	}
}

START_TEST(message_may_post_itself_again)
{
	struct inbox inbox = {0};
	struct note a = {{NULL, on_again}, 0, 3, &inbox};
	struct note b = {{NULL, on_again}, 0, 2, &inbox};
	mailbox_init(&inbox.box, NULL, NULL);
	mailbox_post(&inbox.box, &a.msg);
	mailbox_post(&inbox.box, &b.msg);
	for (struct msg *m = mailbox_take(&inbox.box); m != NULL; m = mailbox_take(&inbox.box)) {
		msg_run_all(m);
	}
	ck_assert_int_eq(inbox.got, 5);
	mailbox_fini(&inbox.box);
}
END_TEST

START_TEST(wait_on_an_empty_box_ends_at_its_deadline)
{
	struct inbox inbox = {0};
	mailbox_init(&inbox.box, NULL, NULL);
	ck_assert_ptr_null(mailbox_wait(&inbox.box, 0));
	int64_t deadline = clock_mono_ns() + 1000000;
	ck_assert_ptr_null(mailbox_wait(&inbox.box, deadline));
	ck_assert_int_ge(clock_mono_ns(), deadline);
	struct note a = {{NULL, on_note}, 0, 0, &inbox};
	mailbox_post(&inbox.box, &a.msg);
	ck_assert_ptr_eq(mailbox_wait(&inbox.box, 0), &a.msg);
	mailbox_fini(&inbox.box);
}
END_TEST

Suite *mailbox_suite(void)
{
	Suite *s = suite_create("mailbox");
	TCase *t = tcase_create("mailbox");
	tcase_set_timeout(t, 60);
	tcase_add_test(t, each_senders_order_is_kept_while_the_owner_sleeps);
	tcase_add_test(t, each_senders_order_is_kept_with_a_notifier);
	tcase_add_test(t, notifier_is_called_once_per_filling);
	tcase_add_test(t, message_may_post_itself_again);
	tcase_add_test(t, wait_on_an_empty_box_ends_at_its_deadline);
	suite_add_tcase(s, t);
	return s;
}
