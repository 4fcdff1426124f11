#ifndef STORE_VOLUME_VERIFY_PRIV_H
#define STORE_VOLUME_VERIFY_PRIV_H

/* One volume_verify, in the order it goes: MANIFEST and the list of files (verify.c),
 * state and exports (verify_state.c), cleaned segments from the newest back, so that
 * what a later one covers is known, then log segments from the oldest on
 * (verify_segment.c: checksum and .idx; verify_records.c: records), then what only all
 * of them together tell (verify_parts.c). One thread; children by verify_child.c. */

#include "store/volume/manifest.h"
#include "store/volume/verify.h"
#include "store/volume/volume_priv.h"

enum {
	VERIFY_NAME = 64,	/* "segments/c0000000001.mdb" */
	VERIFY_FINDINGS_MAX = 1000,	/* of one file; the rest is counted */
};

struct verify_segment {
	uint64_t number;
	bool is_cleaned;
	bool has_mdb;
	bool has_idx;
	bool is_leftover;	/* not in the MANIFEST: the next start removes it */
	bool is_headless;	/* its making was cut short: the next start removes it */
	uint64_t mdb_bytes;
	uint64_t idx_bytes;
	/* What the .idx, or else the records, tell. */
	bool is_known;
	uint8_t uuid[IDX_UUID];
	uint64_t first_log_no;
	uint64_t next_log_no;
};

/* Sequence numbers of a partition, merged, rising. */
struct verify_span {
	int64_t first;
	int64_t end;
};
struct verify_spans {
	struct verify_span *v;
	size_t n;
	size_t cap;
};

struct verify_part {
	struct store_part part;
	uint32_t shard;
	struct verify_spans logged;	/* in log segments, whatever became of it */
	struct verify_spans covered;	/* by cleaned segments */
	struct verify_spans lost;	/* told as lost already, or to be told */
	int64_t last_append_ms;
	/* Of the cleaned segment that is being read. */
	struct verify_span cover;
	int64_t cleaned_seq;
	int64_t cleaned_ms;
};

struct verify_parts {
	struct verify_part **v;
	size_t n;
	size_t cap;
	uint32_t *slots;	/* place in v + 1, 0 = empty */
	size_t n_slots;		/* a power of two */
};

struct verify_lost {
	struct store_part part;
	struct verify_span span;
	char file[VERIFY_NAME];
};

struct verify_gap {
	uint32_t shard;
	uint64_t first;
	uint64_t last;
};

struct verify_shard {
	uint64_t applied;	/* what the state knows */
	uint64_t last_index;
	uint64_t last_term;
	bool has_hard;
	struct volume_hard_state hard;
};

struct verify {
	const struct verify_options *o;
	struct verify_result *out;
	struct err_detail *d;
	struct manifest manifest;
	bool has_manifest;
	struct verify_segment *v;	/* log segments by number, then cleaned ones */
	size_t n;
	size_t cap;
	char unknown[VERIFY_NAME];	/* the first file whose content nothing tells; "": none */
	bool is_missing_listed;	/* a segment of the MANIFEST is missing */
	uint64_t all_bytes;
	uint64_t done_bytes;
	struct verify_parts parts;
	struct verify_shard *shards;
	struct verify_gap *gaps;
	size_t n_gaps;
	size_t cap_gaps;
	struct verify_lost *lost;
	size_t n_lost;
	size_t cap_lost;
	char told_file[VERIFY_NAME];	/* of which findings are counted */
	uint32_t told;
	bool has_state;			/* the state, or an export, could be read */
	uint32_t exports;		/* sound ones */
	uint32_t export_shard;		/* whose rows come */
	bool is_log_whole;		/* each shard's log begins with index 1 */
	uint8_t *chunk;
};

/* ---- verify.c ------------------------------------------------------------- */

enum verify_kind { VERIFY_DAMAGE, VERIFY_REPAIRABLE };
void verify_tell(struct verify *v, const char *file, enum verify_kind kind, const char *fmt, ...)
	PRINTF(4, 5);
/* Events that are lost. */
void verify_tell_lost(struct verify *v, const char *file, struct store_part part,
		      struct verify_span span, const char *what);
void verify_progress(struct verify *v, uint64_t bytes);
/* "segments/c0000000001.mdb" */
void verify_name(const struct verify_segment *s, const char *suffix, char out[VERIFY_NAME]);
/* The whole path of a name below the volume's directory. */
enum err verify_path(const struct verify *v, const char *name, char out[SEGMENT_PATH]) MUST_CHECK;
enum err verify_nomem(struct verify *v) MUST_CHECK;

/* ---- verify_child.c --------------------------------------------------------- */

/* Runs fn in a child process, whose standard files are ours. *lived: it came to its
 * end, and *result is what fn gave. ERR_NOMEM, ERR_IO. */
typedef bool verify_child_fn(void *arg);
enum err verify_child(struct verify *v, verify_child_fn *fn, void *arg, bool *lived,
		      bool *result) MUST_CHECK;
/* The same in two steps, for a child that sends something meanwhile. */
struct verify_running {
	int pid;
};
enum err verify_child_begin(struct verify *v, verify_child_fn *fn, void *arg,
			    struct verify_running *out) MUST_CHECK;
enum err verify_child_end(struct verify *v, const struct verify_running *c, bool *lived,
			  bool *result) MUST_CHECK;
/* Memory that children and we see. NULL: none. */
void *verify_shared_new(size_t n);
void verify_shared_free(void *p, size_t n);

/* Which records of a damaged segment can be read: each is asked for by its number, and
 * when one ends the child the next child goes on after it. */
enum verify_fate { FATE_UNREAD, FATE_SOUND, FATE_HEAD, FATE_PAYLOAD, FATE_MISSING };
struct verify_salvage {
	uint8_t *fate;		/* of each record; shared */
	uint64_t first_log_no;
	uint64_t n;
	bool has_head;
	struct record_segment head;
};
enum err verify_salvage(struct verify *v, const char *path, struct verify_salvage *s) MUST_CHECK;
void verify_salvage_fini(struct verify_salvage *s);
/* Whether an unsealed segment can be read without danger; `last`: up to which record. */
enum err verify_try_walk(struct verify *v, const char *path, bool *can_be_read,
			 uint64_t *last) MUST_CHECK;
static inline bool verify_is_lost(const struct verify_salvage *s, uint64_t log_no)
{
	return log_no < s->first_log_no || log_no - s->first_log_no >= s->n ||
	       s->fate[log_no - s->first_log_no] != FATE_SOUND;
}

/* ---- verify_segment.c --------------------------------------------------------- */

enum err verify_segment(struct verify *v, struct verify_segment *s) MUST_CHECK;

/* ---- verify_idx.c ---------------------------------------------------------------- */

/* Compares every row of an open .idx with the others and with the records; `ix` NULL:
 * they could not be read, and rows whose record is no good (`fates`) are lost. */
enum err verify_idx_rows(struct verify *v, const struct verify_segment *s, int fd,
			 const struct idx_head *head, const struct index *ix,
			 const struct verify_salvage *fates) MUST_CHECK;
/* Checksums of all blocks. *bad_block: the first wrong one, 0: none is. */
enum err verify_idx_blocks(struct verify *v, int fd, const struct idx_head *head, uint64_t size,
			   uint32_t *bad_block) MUST_CHECK;

/* ---- verify_records.c ----------------------------------------------------------- */

struct verify_raft_run {
	uint64_t first;		/* 0: none */
	uint64_t last;
	uint64_t first_term;
	uint64_t last_term;
};
/* The records of one segment, read in this process. */
struct verify_walk {
	struct verify *v;
	struct verify_segment *segment;
	struct index *index;
	char file[VERIFY_NAME];
	bool has_head;
	bool has_covers;
	bool is_damaged;	/* something was found: `index` is not whole */
	struct verify_raft_run *raft;	/* of each shard */
	struct record_segment head;
	uint64_t first_log_no;
	uint64_t next_log_no;
	struct record_cover *covers;
	uint32_t n_covers;
};
enum err verify_records(struct verify_walk *w, const char *path) MUST_CHECK;
void verify_walk_fini(struct verify_walk *w);

/* ---- verify_parts.c -------------------------------------------------------------- */

enum err verify_span_add(struct verify_spans *s, struct verify_span x) MUST_CHECK;
/* NULL: no memory. */
struct verify_part *verify_part_get(struct verify *v, struct store_part part, uint32_t shard);
/* Events of a partition in a log segment, in order. */
enum err verify_part_logged(struct verify *v, const char *file, struct store_part part,
			    uint32_t shard, struct verify_span span, int64_t first_ms,
			    int64_t last_ms) MUST_CHECK;
enum err verify_part_cover(struct verify *v, const char *file,
			   const struct record_cover *c) MUST_CHECK;
/* Before the covers of the segment it lies in are added. */
enum err verify_part_lost(struct verify *v, const char *file, struct store_part part,
			  uint32_t shard, struct verify_span span) MUST_CHECK;
/* A shard's raft indexes first..last of one log segment, in order of segments. */
enum err verify_raft(struct verify *v, const char *file, uint32_t shard, uint64_t first,
		     uint64_t last, uint64_t first_term, uint64_t last_term) MUST_CHECK;
void verify_hard_state(struct verify *v, const char *file, const struct volume_hard_state *h);
/* What only all segments together tell. */
enum err verify_together(struct verify *v) MUST_CHECK;
void verify_parts_fini(struct verify *v);

/* ---- verify_state.c --------------------------------------------------------------- */

enum err verify_state(struct verify *v) MUST_CHECK;

#endif
