#ifndef GATEWAY_KAFKA_CODEC_H
#define GATEWAY_KAFKA_CODEC_H

/* Kafka's messages as C structs. messages.def declares every request and
 * response once: its fields with their types, the first and last version that
 * has them, and the first flexible version. From it follow the structs
 * (messages.h), decoding, encoding, the advertised version ranges and the seeds
 * of the fuzzer. Pure; any thread. Sources: Kafka protocol guide; KIP-482 for
 * compact types and tagged fields. */

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	KAFKA_API_MAX = 128,		/* keys are below */
	KAFKA_ARENA_BLOCK = 4096,	/* first block; later ones grow with what was used */
	KAFKA_ARENA_BLOCK_MAX = 64 << 10,
	KAFKA_STRING_MAX = INT16_MAX,	/* also of compact strings */
	/* Memory of one decoded request: beyond it ERR_TOO_LARGE. */
	KAFKA_ARENA_MAX = 16 << 20,
};

/* Memory that goes away at once. Zero-initialise. Allocations are zeroed. */
struct kafka_arena {
	struct kafka_arena_block *blocks;
	size_t used;		/* bytes given out */
	size_t max;		/* 0: KAFKA_ARENA_MAX */
};
void *kafka_arena_alloc(struct kafka_arena *a, size_t n);	/* NULL: no memory, or past max */
struct span kafka_arena_copy(struct kafka_arena *a, struct span s);	/* p NULL: no memory */
void kafka_arena_fini(struct kafka_arena *a);

/* Field types as they stand in the structs. */
struct kafka_string {		/* string; is_null only for nullable ones */
	struct span s;		/* decoded: borrows from the input */
	bool is_null;
};
struct kafka_bytes {
	struct span s;
	bool is_null;
};
/* Records of a partition: decoded, one span that borrows; to be encoded, `s` or
 * the parts one after another, which are not copied but referred to by the
 * output (kafka_out_part) and must live until that was sent, and this struct with
 * them. */
struct kafka_records {
	struct span s;
	const struct span *parts;
	struct buf *const *bufs;	/* NULL, or for each part the buffer it lies in (or NULL) */
	uint32_t n_parts;
	bool is_null;
};
struct kafka_uuid {
	uint8_t b[16];
};
/* Arrays are `struct T *name; int32_t n_name;` (or int32_t *, struct
 * kafka_string *); n -1 is null where the field allows it. */

/* An API: both directions. */
struct kafka_api {
	int16_t key;
	const char *name;		/* "Produce" */
	int16_t first;			/* versions served */
	int16_t last;
	int16_t advertised_first;	/* Produce: 0, see api_versions.c */
	int16_t first_flexible;		/* INT16_MAX: never */
	const struct kafka_struct *request;
	const struct kafka_struct *response;
};
/* NULL: not served. */
const struct kafka_api *kafka_api_find(int16_t key);
/* All, by key; *n their number. */
const struct kafka_api *kafka_apis(uint32_t *n);
size_t kafka_struct_size(const struct kafka_struct *s);
/* Fills with Kafka's defaults: ids -1 where they say so, nullable strings null,
 * arrays empty, tagged fields absent. */
void kafka_defaults(const struct kafka_struct *s, void *out);

static inline struct kafka_string kafka_string_of(struct span s)
{
	return (struct kafka_string){.s = s};
}
static inline struct kafka_string kafka_string_null(void)
{
	return (struct kafka_string){.is_null = true};
}

struct kafka_request_header {
	int16_t key;
	int16_t version;
	int32_t correlation;
	struct kafka_string client_id;
};
/* Reads key, version, correlation, client id and, for flexible versions that are
 * served, the tags; *body_at gets where the body begins. ERR_DECODE
 * (too short, lying length); an unknown key or version is the caller's to see. */
enum err kafka_header_read(struct span frame, struct kafka_request_header *out, size_t *body_at,
			   struct err_detail *d) MUST_CHECK;
/* For clients: appends header v1 or v2. */
void kafka_header_write(struct str *out, const struct kafka_api *api,
			const struct kafka_request_header *h);

/* Decodes one struct of `version`; all of `in` must be used. Strings, bytes and
 * records borrow from `in`; arrays live in the arena; fields the version does
 * not have get their defaults (messages.def). ERR_DECODE with a detail that
 * names the field ("Produce v9 request: topic_data[0].name: ..."), ERR_TOO_LARGE
 * (arena), ERR_NOMEM. */
enum err kafka_decode(const struct kafka_struct *s, int16_t version, bool is_flexible,
		      struct span in, struct kafka_arena *arena, void *out,
		      struct err_detail *d) MUST_CHECK;

/* Output: bytes, and places where parts of records come in between. */
struct kafka_out_part {
	size_t at;		/* in bytes: the parts come before this byte */
	const struct span *parts;
	struct buf *const *bufs;	/* as in kafka_records */
	uint32_t n_parts;
	size_t n;		/* bytes of the parts */
};
struct kafka_out {
	struct str bytes;
	struct kafka_out_part *parts;
	size_t n_parts;
	size_t cap_parts;
	size_t parts_bytes;
	bool bad;		/* no memory, or a value that the version cannot express */
};
/* bytes.len + parts_bytes */
size_t kafka_out_size(const struct kafka_out *o);
void kafka_out_fini(struct kafka_out *o);
/* Appends one struct. Null where the version allows none becomes empty; fields
 * that the version lacks are left out.
 *
 * A response stands behind its header, which the caller writes: the correlation
 * id and, for flexible versions, an empty tag section (one byte 0). ApiVersions
 * is the exception: its response header never has tags, so that a client whose
 * version is refused can read it. */
void kafka_encode(struct kafka_out *o, const struct kafka_struct *s, int16_t version,
		  bool is_flexible, const void *in);
/* Flattens for tests and clients: everything as one run of bytes. */
void kafka_out_flatten(const struct kafka_out *o, struct str *out);

static inline bool kafka_is_flexible(const struct kafka_api *api, int16_t version)
{
	return version >= api->first_flexible;
}

/* Fills a struct with random values that `version` can express: for tests and
 * fuzz seeds. `seed` is changed. */
enum err kafka_random(const struct kafka_struct *s, int16_t version, uint64_t *seed,
		      struct kafka_arena *arena, void *out) MUST_CHECK;
/* Whether two structs mean the same message. */
bool kafka_equal(const struct kafka_struct *s, const void *a, const void *b);

#endif
