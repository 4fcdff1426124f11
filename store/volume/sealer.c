#include "store/volume/volume_priv.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/volume/file.h"

/* The sealer: a closed segment gets its checksum and its .idx, then its index in
 * memory is given up. It does not change meanwhile, so it is read without the
 * lock. */

static void seal_message(struct msg *m);

void sealer_post(struct segment *s)
{
	s->msg.run = seal_message;
	mailbox_post(&s->volume->sealer_box, &s->msg);
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
	segment_path(v, s->number, ".mdb", path);
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

static void become_sealed(struct segment *s, const struct idx_head *head, int fd)
{
	struct volume *v = s->volume;
	lock_take(&v->lock);
	struct index *ix = s->index;
	s->index = NULL;
	s->idx = *head;
	s->idx_fd = fd;
	s->state = SEGMENT_SEALED;
	s->is_verified = true;
	segment_list_locked(s);
	lock_give(&v->lock);
	index_free(&ix);
	segment_evict(v);
	log_debug("SEGMENT-SEALED", "segment=%010llu bytes=%llu", (unsigned long long)s->number,
		  (unsigned long long)head->mdb_bytes);
}

static void seal_message(struct msg *m)
{
	_Static_assert(offsetof(struct segment, msg) == 0, "the cast relies on it");
	struct segment *s = (struct segment *)(void *)m;
	struct volume *v = s->volume;
	struct idx_head head;
	struct err_detail d = {0};
	int fd = -1;
	if (atomic_load(&v->is_stopping)) {
		return;
	}
	enum err e = checksum(s, &head, &d);
	if (e == ERR_STOPPING) {
		return;
	}
	if (e == ERR_OK) {
		e = segment_write_idx(s, s->index, &head, &fd, &d);
		if (e == ERR_IO) {
			/* As for the log: a failed write or sync is never retried. */
			log_fatal("VOLUME-WRITE-FAILED", "dir=%s reason=%s", v->dir,
				  log_quote(d.text));
		}
	}
	if (e != ERR_OK) {
		/* It serves on from memory and is sealed after the next start. */
		log_error("SEAL-FAILED", "segment=%010llu reason=%s", (unsigned long long)s->number,
			  log_quote(d.text));
		return;
	}
	become_sealed(s, &head, fd);
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
			m->run(m);
			m = next;
		}
	}
	return NULL;
}
