#ifndef STORE_VOLUME_VERIFY_H
#define STORE_VOLUME_VERIFY_H

/* Checks every byte of a volume that nobody has open, without changing any. What
 * could end the process (LMDB follows damaged pages) is read in a child process. */

#include "store/volume/volume.h"

struct verify_finding {
	const char *file;	/* below the volume's directory */
	char what[256];		/* what is wrong */
	bool is_repairable;	/* made anew at the next start: an index, one of two copies */
	/* What is lost by it, with has_part: these events. Else nothing that was
	 * acknowledged, or what the text says. */
	struct store_part part;
	bool has_part;
	int64_t first_seq;
	int64_t end_seq;
};

struct verify_options {
	const char *dir;		/* the volume's */
	uint8_t store_uuid[16];
	uint32_t shards;
	bool may_lack_manifest;
	bool has_state;			/* the first volume: state and exports too */
	uint32_t volumes;		/* of the store, at least 1 */
	uint32_t ordinal;		/* shard i lives on volume i % volumes */
	/* Of further volumes: up to which raft index the state knows each shard, as `shard`
	 * told of the first one. May be NULL. */
	const uint64_t *applied;
	void *arg;			/* of the functions */
	/* All rows of the state, or when it is of no use of the newest sound export, before
	 * any segment is read; `shard` before the rows of each. With has_state; may be NULL. */
	void (*shard)(void *arg, uint32_t shard, uint64_t applied_index);
	void (*row)(void *arg, uint32_t shard, uint8_t kind, struct span key,
		    struct span content);
	/* Each command in the log that is not a batch, in order; may be NULL. */
	void (*command)(void *arg, uint32_t shard, uint64_t index,
			const struct volume_command *c);
	/* Asked when everything is read: where the partition begins; false: it is gone.
	 * NULL: nobody knows, so that events missing between others, which may have been
	 * removed for good reasons, are not told. */
	bool (*start)(void *arg, struct store_part part, int64_t *first_seq);
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t all_bytes);	/* may be NULL */
	void (*finding)(void *arg, const struct verify_finding *f);
};
struct verify_result {
	uint64_t bytes;
	uint64_t files;
	uint64_t records;
	uint64_t batches;
	uint64_t events;
	uint64_t partitions;
	uint64_t findings;
};
/* ERR_OK: all was looked at, whatever was found. ERR_IO: something could not be read. */
enum err volume_verify(const struct verify_options *o, struct verify_result *out,
		       struct err_detail *d) MUST_CHECK;

#endif
