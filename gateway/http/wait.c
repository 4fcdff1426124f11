/* Suspended requests: an operation of the core ends on the http thread, which
 * resumes the request on libmicrohttpd's. Deadlines and the stop are kept here.
 * A request that is answered before its operation ends is only forgotten by it. */

#include <assert.h>
#include <microhttpd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/http/http_priv.h"

enum {
	SCAN_NS = 1000 * 1000 * 1000,	/* resolution of timeouts */
};

/* ---- the list: under lock -------------------------------------------------- */

static void link_locked(struct http_front *f, struct http_wait *w)
{
	w->prev = NULL;
	w->next = f->waiting;
	if (f->waiting != NULL) {
		f->waiting->prev = w;
	}
	f->waiting = w;
}

static void unlink_locked(struct http_front *f, struct http_wait *w)
{
	if (w->prev != NULL) {
		w->prev->next = w->next;
	} else {
		f->waiting = w->next;
	}
	if (w->next != NULL) {
		w->next->prev = w->prev;
	}
	w->prev = NULL;
	w->next = NULL;
}

/* ---- any thread --------------------------------------------------------------- */

/* The request is nobody else's at this moment. Whoever took it out of the list
 * has counted it in `resuming`, which resume_taken takes back: libmicrohttpd must
 * not be stopped in between. */
static void resume(struct http_request *r, enum err outcome, const char *detail,
		   uint32_t retry_after_s)
{
	assert(r->magic == HTTP_REQUEST_MAGIC);
	assert(r->state == HTTP_WAITING);
	r->outcome = outcome;
	r->failure.retry_after_s = retry_after_s;
	if (detail != NULL && outcome != ERR_OK) {
		(void)err_set(&r->failure.d, outcome, "%s", detail);
	}
	r->state = HTTP_RESUMED;
	MHD_resume_connection(r->conn);
}

static void resume_taken(struct http_front *f, struct http_request *r, enum err outcome,
			 const char *detail, uint32_t retry_after_s)
{
	resume(r, outcome, detail, retry_after_s);
	lock_take(&f->lock);
	assert(f->resuming > 0);
	f->resuming--;
	if (f->waiting == NULL && f->resuming == 0) {
		cond_signal(&f->idle);
	}
	lock_give(&f->lock);
}

bool http_wait_begin(struct http_wait *w, struct http_request *r, int64_t deadline_ns)
{
	struct http_front *f = r->front;
	w->front = f;
	w->request = r;
	w->deadline_ns = deadline_ns;
	/* Suspended before it is in the list, so that whoever finds it there may
	 * resume it. */
	r->state = HTTP_WAITING;
	MHD_suspend_connection(r->conn);
	lock_take(&f->lock);
	bool ok = !f->closed;
	if (ok) {
		link_locked(f, w);
		f->outstanding++;
	}
	lock_give(&f->lock);
	if (!ok) {
		resume(r, ERR_STOPPING, "The server is stopping.", 0);
	}
	return ok;
}

static void end(struct http_wait *w, enum err outcome, const char *detail,
		uint32_t retry_after_s, struct str *reply)
{
	struct http_front *f = w->front;
	lock_take(&f->lock);
	struct http_request *r = w->request;
	w->request = NULL;
	if (r != NULL) {
		unlink_locked(f, w);
		f->resuming++;
	}
	assert(f->outstanding > 0);
	f->outstanding--;
	lock_give(&f->lock);
	if (r != NULL) {
		if (reply != NULL) {
			str_fini(&r->reply);
			r->reply = *reply;
			*reply = (struct str){0};
		}
		resume_taken(f, r, outcome, detail, retry_after_s);
	}
}

void http_wait_end(struct http_wait *w, enum err outcome, const char *detail)
{
	end(w, outcome, detail, 0, NULL);
}

void http_wait_end_refused(struct http_wait *w, enum err outcome, const char *detail,
			   uint32_t retry_after_s)
{
	end(w, outcome, detail, retry_after_s, NULL);
}

void http_wait_end_reply(struct http_wait *w, enum err outcome, const char *detail,
			 struct str *reply)
{
	end(w, outcome, detail, 0, reply);
}

/* ---- the http thread ------------------------------------------------------------ */

static struct http_request *take_expired(struct http_front *f, int64_t now_ns)
{
	struct http_request *r = NULL;
	lock_take(&f->lock);
	for (struct http_wait *w = f->waiting; w != NULL; w = w->next) {
		if (w->deadline_ns <= now_ns) {
			r = w->request;
			w->request = NULL;
			unlink_locked(f, w);
			f->resuming++;
			break;
		}
	}
	lock_give(&f->lock);
	return r;
}

static void expire(struct http_front *f, int64_t now_ns, enum err e, const char *text)
{
	for (struct http_request *r; (r = take_expired(f, now_ns)) != NULL;) {
		resume_taken(f, r, e, text, 0);
	}
}

static bool is_over(struct http_front *f)
{
	lock_take(&f->lock);
	bool over = f->wake_posted && f->outstanding == 0;
	lock_give(&f->lock);
	return over;
}

static void *run(void *arg)
{
	struct http_front *f = arg;
	int64_t scan_ns = clock_mono_ns() + SCAN_NS;
	while (!is_over(f)) {
		msg_run_all(mailbox_wait(&f->mailbox, scan_ns));
		int64_t now_ns = clock_mono_ns();
		if (now_ns >= scan_ns) {
			scan_ns = now_ns + SCAN_NS;
			expire(f, now_ns, ERR_TIMEOUT,
			       "The operation did not complete within the time given by 'timeout'. It "
			       "is not known whether the events were stored.");
		}
	}
	return NULL;
}

/* ---- start and stop: main thread --------------------------------------------------- */

static void run_wake(struct msg *m)
{
	(void)m;	/* it has woken the thread */
}

enum err http_wait_start(struct http_front *f)
{
	lock_init(&f->lock);
	cond_init(&f->idle);
	mailbox_init(&f->mailbox, NULL, NULL);
	f->wake.run = run_wake;
	enum err e = thread_start(&f->thread, ROLE_HTTP, "http", run, f);
	f->thread_started = e == ERR_OK;
	return e;
}

void http_wait_close(struct http_front *f)
{
	int64_t end_ns = clock_mono_ns() + HTTP_STOP_GRACE_MS * INT64_C(1000000);
	lock_take(&f->lock);
	while ((f->waiting != NULL || f->resuming != 0) &&
	       cond_wait_until(&f->idle, &f->lock, end_ns)) {
	}
	f->closed = true;
	lock_give(&f->lock);
	expire(f, INT64_MAX, ERR_STOPPING, "The server is stopping.");
	/* The http thread may be resuming the last one: that takes a moment only. */
	lock_take(&f->lock);
	while (f->resuming != 0) {
		cond_wait(&f->idle, &f->lock);
	}
	lock_give(&f->lock);
}

void http_wait_stop(struct http_front *f)
{
	if (f->thread_started) {
		lock_take(&f->lock);
		f->wake_posted = true;
		lock_give(&f->lock);
		mailbox_post(&f->mailbox, &f->wake);
		thread_join(f->thread);
		msg_run_all(mailbox_take(&f->mailbox));
	}
	mailbox_fini(&f->mailbox);
	cond_fini(&f->idle);
	lock_fini(&f->lock);
}
