#include "store/volume/volume_priv.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/volume/file.h"

/* The sealer, which also answers volume_roll: a closed segment gets its checksum and its .idx, then its index in
 * memory is given up. It does not change meanwhile, so it is read without the
 * lock. */

static void seal_message(struct msg *m);

void sealer_post(struct segment *s)
{
	lock_take(&s->volume->lock);
	s->is_posted = true;
	lock_give(&s->volume->lock);
	s->msg.run = seal_message;
	mailbox_post(&s->volume->sealer_box, &s->msg);
}

/* Told apart by its run function; never run. */
static void roll_message(struct msg *m)
{
	(void)m;
}

void sealer_post_roll(struct volume *v, struct volume_roll *r)
{
	r->msg.run = roll_message;
	mailbox_post(&v->sealer_box, &r->msg);
}

static void stop_message(struct msg *m)
{
	(void)m;
}

void sealer_post_stop(struct volume *v)
{
	v->sealer_stop.run = stop_message;
	mailbox_post(&v->sealer_box, &v->sealer_stop);
}

static enum err checksum(struct segment *s, struct idx_head *head, struct err_detail *d)
{
	struct volume *v = s->volume;
	char path[SEGMENT_PATH];
	segment_file(s, ".mdb", path);
	*head = (struct idx_head){
		.number = s->number,
		.shards = v->options.shards,
		.first_log_no = s->first_log_no,
		.next_log_no = s->next_log_no,
	};
	memcpy(head->store_uuid, v->options.store_uuid, IDX_UUID);
	memcpy(head->segment_uuid, s->uuid, IDX_UUID);
	return file_checksum(path, &v->is_stopping, &head->mdb_bytes, &head->mdb_crc, d);
}

/* From the end of the lock on the cleaner may remove it, unless it is posted still. */
static void become_sealed(struct segment *s, const struct idx_head *head, int fd, bool is_message)
{
	struct volume *v = s->volume;
	uint64_t number = s->number;
	lock_take(&v->lock);
	struct index *ix = s->index;
	table_seal(&v->table, s->at, ix);
	s->index = NULL;
	s->idx = *head;
	s->idx_fd = fd;
	s->state = SEGMENT_SEALED;
	s->is_posted = s->is_posted && !is_message;
	s->is_verified = true;
	segment_set_bytes_locked(s, head->mdb_bytes + segment_idx_bytes(head));
	segment_list_locked(s);
	lock_give(&v->lock);
	index_free(&ix);
	segment_evict(v);
	log_debug("SEGMENT-SEALED", "segment=%010llu bytes=%llu", (unsigned long long)number,
		  (unsigned long long)head->mdb_bytes);
}

/* It was not sealed now, or had been before. */
static void message_is_done(struct segment *s)
{
	lock_take(&s->volume->lock);
	s->is_posted = false;
	lock_give(&s->volume->lock);
}

static enum err seal(struct segment *s, bool is_message)
{
	struct volume *v = s->volume;
	struct idx_head head;
	struct err_detail d = {0};
	int fd = -1;
	if (atomic_load(&v->is_stopping)) {
		return ERR_STOPPING;
	}
	if (s->state == SEGMENT_SEALED) {	/* changed by this thread only */
		if (is_message) {
			message_is_done(s);
		}
		return ERR_OK;
	}
	enum err e = checksum(s, &head, &d);
	if (e == ERR_STOPPING) {
		return e;
	}
	if (e == ERR_OK) {
		e = segment_write_idx(s, s->index, NULL, &head, &fd, &d);
		if (e == ERR_IO) {
			/* As for the log: a failed write or sync is never retried. */
			log_fatal("VOLUME-WRITE-FAILED", "dir=%s reason=%s", v->dir,
				  log_quote(d.text));
		}
	}
	if (e != ERR_OK) {
		/* It serves on from memory and is sealed after the next one, start or roll. */
		log_error("SEAL-FAILED", "segment=%010llu reason=%s", (unsigned long long)s->number,
			  log_quote(d.text));
		if (is_message) {
			message_is_done(s);
		}
		return e;
	}
	become_sealed(s, &head, fd, is_message);
	return ERR_OK;
}

/* The next closed segment at or after a place; NULL: none. */
static struct segment *closed_from(struct volume *v, size_t *at)
{
	struct segment *found = NULL;
	lock_take(&v->lock);
	for (; found == NULL && *at < v->n_segments; ++*at) {
		struct segment *s = v->segments[*at];
		if (s != NULL && !s->is_new && s->state == SEGMENT_CLOSED) {
			found = s;
		}
	}
	lock_give(&v->lock);
	return found;
}

static enum err seal_all(struct volume *v)
{
	size_t at = 0;
	struct segment *s;
	enum err e = ERR_OK;
	while (e == ERR_OK && (s = closed_from(v, &at)) != NULL) {
		e = seal(s, false);
	}
	return e;
}

/* What could not be sealed before may well be now. */
static void seal_message(struct msg *m)
{
	_Static_assert(offsetof(struct segment, msg) == 0, "the cast relies on it");
	struct segment *s = (struct segment *)(void *)m;
	struct volume *v = s->volume;
	if (seal(s, true) == ERR_OK) {
		(void)!seal_all(v);
	}
}

/* All that was posted before has had its turn; what could not be sealed then is tried
 * once more. A segment closed meanwhile is sealed too, its own message then finds it so. */
static void roll(struct volume *v, struct volume_roll *r)
{
	if (r->err == ERR_OK) {
		r->err = seal_all(v);
	}
	r->msg.run = r->done;
	mailbox_post(r->reply_to, &r->msg);
}

void *sealer_main(void *arg)
{
	struct volume *v = arg;
	assert(v->magic == VOLUME_MAGIC);
	ASSERT_THREAD(ROLE_BACKGROUND);
	bool is_done = false;
	while (!is_done) {
		struct msg *m = mailbox_wait(&v->sealer_box, INT64_MAX);
		while (m != NULL) {
			struct msg *next = m->next;
			is_done = is_done || m == &v->sealer_stop;
			if (m->run == roll_message) {
				roll(v, (struct volume_roll *)(void *)m);
			} else {
				m->run(m);
			}
			m = next;
		}
	}
	return NULL;
}
