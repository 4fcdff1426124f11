#include "store/volume/record.h"

#include <assert.h>

#include "base/crc32c.h"

enum { SEGMENT_KIND_LOG = 0, SEGMENT_KIND_CLEANED = 1 };
enum {
	AT_KIND = 4,
	AT_VERSION = 5,
	AT_HEAD_LEN = 8,
	AT_TOTAL = 40,
	/* In a RecordBatch: its CRC field, and where what the CRC covers begins. */
	BATCH_AT_EPOCH = 12,
	BATCH_AT_CRC = 17,
	BATCH_AT_COVERED = 21,
};

static bool kind_is_known(uint8_t kind)
{
	return kind >= RECORD_ENTRY && kind <= RECORD_COVERS;
}

static bool has_commands(const struct record *r)
{
	return r->kind == RECORD_ENTRY || r->kind == RECORD_BATCHES;
}

enum err record_read(struct span bytes, struct record *out)
{
	if (bytes.n < RECORD_HEAD || bytes.n > LIMIT_ENTRY) {
		return ERR_CORRUPT;
	}
	uint32_t head_len = get_u32(bytes.p + AT_HEAD_LEN);
	if (head_len < RECORD_HEAD || head_len > bytes.n || get_u32(bytes.p + AT_TOTAL) != bytes.n) {
		return ERR_CORRUPT;
	}
	if (crc32c(0, bytes.p + AT_KIND, head_len - AT_KIND) != get_u32(bytes.p)) {
		return ERR_CORRUPT;
	}
	if (bytes.p[AT_VERSION] > RECORD_VERSION) {
		return ERR_VERSION;
	}
	struct rd rd = rd_of(span_of(bytes.p + AT_KIND, RECORD_HEAD - AT_KIND));
	uint8_t kind = rd_u8(&rd);
	uint8_t version = rd_u8(&rd);
	uint16_t flags = rd_u16(&rd);
	rd_u32(&rd);
	*out = (struct record){.bytes = bytes, .kind = (enum record_kind)kind, .head_len = head_len};
	out->shard = rd_u32(&rd);
	out->term = rd_u64(&rd);
	out->index = rd_u64(&rd);
	out->log_no = rd_u64(&rd);
	rd_u32(&rd);
	out->n_commands = rd_u32(&rd);
	assert(!rd.bad && rd_left(&rd) == 0);
	if (!kind_is_known(kind) || version != RECORD_VERSION || flags != 0) {
		return ERR_CORRUPT;
	}
	if (!has_commands(out) && (out->n_commands != 0 || head_len != bytes.n)) {
		return ERR_CORRUPT;
	}
	if (out->kind == RECORD_BATCHES && (out->term != 0 || out->index != 0)) {
		return ERR_CORRUPT;
	}
	if (out->n_commands > RECORD_COMMANDS_MAX) {
		return ERR_CORRUPT;
	}
	return ERR_OK;
}

void record_commands(const struct record *r, struct record_iter *it)
{
	assert(has_commands(r));
	*it = (struct record_iter){
		.bytes = r->bytes,
		.batches_only = r->kind == RECORD_BATCHES,
		.rd = rd_of(span_of(r->bytes.p + RECORD_HEAD, r->head_len - RECORD_HEAD)),
		.left = r->n_commands,
		.payload_at = r->head_len,
	};
}

static bool command_is_sound(const struct volume_command *c)
{
	switch (c->kind) {
	case VOLUME_BATCH:
		return (c->encoding == BATCH_AMQP || c->encoding == BATCH_KAFKA) && c->count > 0 &&
		       c->base_seq >= 0 && c->base_seq <= INT64_MAX - c->count &&
		       c->payload.n >= BATCH_HEAD;
	case VOLUME_CATALOG:
	case VOLUME_CONFIGURATION:
	case VOLUME_BARRIER:
	case VOLUME_ROWS:
		return c->encoding == 0;
	}
	return false;
}

enum err record_next(struct record_iter *it, struct record_command *out)
{
	if (it->left == 0) {
		/* Head and payloads must account for every byte. */
		bool whole = rd_left(&it->rd) == 0 && !it->rd.bad && it->payload_at == it->bytes.n;
		return whole ? ERR_EOF : ERR_CORRUPT;
	}
	struct rd *rd = &it->rd;
	struct volume_command c;
	memset(&c, 0, sizeof c);
	uint8_t kind = rd_u8(rd);
	c.kind = (enum volume_kind)kind;
	c.encoding = (enum batch_encoding)rd_u8(rd);
	uint16_t key_len = rd_u16(rd);
	c.part.hub_id = rd_u32(rd);
	c.part.partition = rd_u32(rd);
	c.count = rd_u32(rd);
	c.base_seq = (int64_t)rd_u64(rd);
	c.append_ms = (int64_t)rd_u64(rd);
	c.max_timestamp_ms = (int64_t)rd_u64(rd);
	uint32_t at = rd_u32(rd);
	uint32_t len = rd_u32(rd);
	uint32_t crc = rd_u32(rd);
	uint64_t reserved = rd_u64(rd);
	c.key = rd_span(rd, key_len);
	if (rd->bad || reserved != 0 || at != it->payload_at || len > it->bytes.n - at) {
		return ERR_CORRUPT;
	}
	c.payload = span_of(it->bytes.p + at, len);
	if (!command_is_sound(&c) || (it->batches_only && c.kind != VOLUME_BATCH)) {
		return ERR_CORRUPT;
	}
	it->payload_at = at + len;
	it->left--;
	*out = (struct record_command){.command = c, .crc = crc};
	return ERR_OK;
}

/* The descriptor's count is of sequence numbers; of a compacted batch fewer records are
 * left, its last offset delta is as it was. */
static enum err batch_payload_check(const struct record_command *c)
{
	struct span b = c->command.payload;
	struct batch_head h;
	if (batch_head_read(b, &h) != ERR_OK || h.total != b.n) {
		return ERR_CORRUPT;
	}
	if (h.base_offset != c->command.base_seq || h.crc != c->crc ||
	    get_u32(b.p + BATCH_AT_EPOCH) != 0 || (uint32_t)h.count > c->command.count) {
		return ERR_CORRUPT;
	}
	uint32_t crc = crc32c(0, b.p + BATCH_AT_COVERED, b.n - BATCH_AT_COVERED);
	return crc == c->crc ? ERR_OK : ERR_CORRUPT;
}

enum err record_payload_check(const struct record_command *c)
{
	if (c->command.kind == VOLUME_BATCH) {
		return batch_payload_check(c);
	}
	struct span p = c->command.payload;
	return crc32c(0, p.p, p.n) == c->crc ? ERR_OK : ERR_CORRUPT;
}

enum err record_check(const struct record *r)
{
	if (!has_commands(r)) {
		return ERR_OK;
	}
	struct record_iter it;
	struct record_command c;
	record_commands(r, &it);
	enum err e;
	while ((e = record_next(&it, &c)) == ERR_OK) {
		e = record_payload_check(&c);
		if (e != ERR_OK) {
			return e;
		}
	}
	return e == ERR_EOF ? ERR_OK : e;
}

enum err record_hard_state_read(const struct record *r, struct volume_hard_state *out)
{
	assert(r->kind == RECORD_HARD_STATE);
	bool is_old = r->bytes.n == RECORD_HARD_STATE_OLD;
	if (!is_old && r->bytes.n != RECORD_HARD_STATE_SIZE) {
		return ERR_CORRUPT;
	}
	*out = (struct volume_hard_state){
		.shard = r->shard,
		.term = r->term,
		.vote = get_u64(r->bytes.p + RECORD_HEAD),
		.log_start = get_u64(r->bytes.p + RECORD_HEAD + 8),
		.start_term = is_old ? 0 : get_u64(r->bytes.p + RECORD_HEAD + 16),
	};
	return ERR_OK;
}

enum err record_segment_read(const struct record *r, struct record_segment *out)
{
	assert(r->kind == RECORD_SEGMENT_HEAD);
	if (r->bytes.n != RECORD_SEGMENT_HEAD_SIZE) {
		return ERR_CORRUPT;
	}
	const uint8_t *p = r->bytes.p + RECORD_HEAD;
	out->number = get_u64(p);
	memcpy(out->store_uuid, p + 8, 16);
	memcpy(out->segment_uuid, p + 24, 16);
	out->shards = get_u32(p + 40);
	uint32_t kind = get_u32(p + 44);
	out->is_cleaned = kind == SEGMENT_KIND_CLEANED;
	return kind == SEGMENT_KIND_LOG || out->is_cleaned ? ERR_OK : ERR_CORRUPT;
}

static bool cover_is_sound(const struct record_cover *c)
{
	return c->first_seq >= 0 && c->first_seq < c->end_seq && c->flags <= COVER_FLAGS &&
	       c->shard < LIMIT_SHARDS;
}

enum err record_covers_read(const struct record *r, uint32_t *n)
{
	assert(r->kind == RECORD_COVERS);
	if (r->bytes.n < RECORD_HEAD + 4) {
		return ERR_CORRUPT;
	}
	*n = get_u32(r->bytes.p + RECORD_HEAD);
	if (*n > RECORD_COVERS_MAX || r->bytes.n != record_covers_size(*n)) {
		return ERR_CORRUPT;
	}
	uint64_t last_key = 0;
	for (uint32_t i = 0; i < *n; i++) {
		struct record_cover c;
		record_cover_at(r, i, &c);
		if (!cover_is_sound(&c) || (i > 0 && store_part_key(c.part) <= last_key)) {
			return ERR_CORRUPT;
		}
		last_key = store_part_key(c.part);
	}
	return ERR_OK;
}

void record_cover_at(const struct record *r, uint32_t i, struct record_cover *out)
{
	assert(r->kind == RECORD_COVERS);
	struct rd rd = rd_of(span_of(r->bytes.p + RECORD_HEAD + 4 + (size_t)i * RECORD_COVER,
				     RECORD_COVER));
	out->part.hub_id = rd_u32(&rd);
	out->part.partition = rd_u32(&rd);
	out->shard = rd_u32(&rd);
	out->flags = rd_u32(&rd);
	out->first_seq = (int64_t)rd_u64(&rd);
	out->end_seq = (int64_t)rd_u64(&rd);
	out->last_append_ms = (int64_t)rd_u64(&rd);
	out->max_timestamp_ms = (int64_t)rd_u64(&rd);
	assert(!rd.bad);
}

uint64_t volume_entry_size(const struct volume_command *commands, uint32_t n)
{
	uint64_t size = RECORD_HEAD;
	if (n > RECORD_COMMANDS_MAX) {
		return UINT64_MAX;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct volume_command *c = &commands[i];
		if (c->key.n > UINT16_MAX || c->payload.n > LIMIT_ENTRY || !command_is_sound(c)) {
			return UINT64_MAX;
		}
		size += RECORD_DESCRIPTOR + c->key.n + c->payload.n;
	}
	return size <= LIMIT_ENTRY ? size : UINT64_MAX;
}

static void write_head(struct wr *w, const struct record *r, uint32_t total)
{
	wr_u32(w, 0);
	wr_u8(w, (uint8_t)r->kind);
	wr_u8(w, RECORD_VERSION);
	wr_u16(w, 0);
	wr_u32(w, r->head_len);
	wr_u32(w, r->shard);
	wr_u64(w, r->term);
	wr_u64(w, r->index);
	wr_u64(w, r->log_no);
	wr_u32(w, total);
	wr_u32(w, r->n_commands);
}

/* A batch carries its CRC since it was sealed; it is not computed again. */
static uint32_t payload_crc(const struct volume_command *c)
{
	if (c->kind == VOLUME_BATCH) {
		assert(get_u64(c->payload.p) == (uint64_t)c->base_seq);
		return get_u32(c->payload.p + BATCH_AT_CRC);
	}
	return crc32c(0, c->payload.p, c->payload.n);
}

static void write_descriptor(struct wr *w, const struct volume_command *c, uint32_t at)
{
	wr_u8(w, (uint8_t)c->kind);
	wr_u8(w, (uint8_t)c->encoding);
	wr_u16(w, (uint16_t)c->key.n);
	wr_u32(w, c->part.hub_id);
	wr_u32(w, c->part.partition);
	wr_u32(w, c->count);
	wr_u64(w, (uint64_t)c->base_seq);
	wr_u64(w, (uint64_t)c->append_ms);
	wr_u64(w, (uint64_t)c->max_timestamp_ms);
	wr_u32(w, at);
	wr_u32(w, (uint32_t)c->payload.n);
	wr_u32(w, payload_crc(c));
	wr_u64(w, 0);
	wr_span(w, c->key);
}

static void seal_head(uint8_t *out, uint32_t head_len)
{
	put_u32(out, crc32c(0, out + AT_KIND, head_len - AT_KIND));
}

/* Head, descriptors, payloads. `r` comes with kind, shard, term, index, log number. */
static void write_commands(struct record *r, const struct volume_command *commands, uint32_t n,
			   uint8_t *out, size_t size)
{
	r->n_commands = n;
	r->head_len = RECORD_HEAD;
	for (uint32_t i = 0; i < n; i++) {
		r->head_len += RECORD_DESCRIPTOR + (uint32_t)commands[i].key.n;
	}
	struct wr w = wr_of(out, size);
	write_head(&w, r, (uint32_t)size);
	uint32_t at = r->head_len;
	for (uint32_t i = 0; i < n; i++) {
		write_descriptor(&w, &commands[i], at);
		at += (uint32_t)commands[i].payload.n;
	}
	assert(wr_len(&w) == r->head_len);
	for (uint32_t i = 0; i < n; i++) {
		wr_span(&w, commands[i].payload);
	}
	assert(!w.bad);
	assert(w.p == w.end);
	seal_head(out, r->head_len);
}

void record_write_entry(const struct volume_entry *e, uint64_t log_no, uint8_t *out, size_t size)
{
	struct record r = {
		.kind = RECORD_ENTRY,
		.shard = e->shard,
		.term = e->term,
		.index = e->index,
		.log_no = log_no,
	};
	write_commands(&r, e->commands, e->n_commands, out, size);
}

void record_write_batches(uint32_t shard, const struct volume_command *commands, uint32_t n,
			  uint64_t log_no, uint8_t *out, size_t size)
{
	struct record r = {.kind = RECORD_BATCHES, .shard = shard, .log_no = log_no};
	write_commands(&r, commands, n, out, size);
}

void record_write_covers(const struct record_cover *covers, uint32_t n, uint64_t log_no,
			 uint8_t *out)
{
	size_t size = record_covers_size(n);
	struct record r = {.kind = RECORD_COVERS, .head_len = (uint32_t)size, .log_no = log_no};
	assert(n <= RECORD_COVERS_MAX);
	struct wr w = wr_of(out, size);
	write_head(&w, &r, (uint32_t)size);
	wr_u32(&w, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct record_cover *c = &covers[i];
		assert(cover_is_sound(c));
		assert(i == 0 || store_part_key(c->part) > store_part_key(c[-1].part));
		wr_u32(&w, c->part.hub_id);
		wr_u32(&w, c->part.partition);
		wr_u32(&w, c->shard);
		wr_u32(&w, c->flags);
		wr_u64(&w, (uint64_t)c->first_seq);
		wr_u64(&w, (uint64_t)c->end_seq);
		wr_u64(&w, (uint64_t)c->last_append_ms);
		wr_u64(&w, (uint64_t)c->max_timestamp_ms);
	}
	assert(!w.bad && w.p == w.end);
	seal_head(out, (uint32_t)size);
}

void record_write_hard_state(const struct volume_hard_state *h, uint64_t log_no, uint8_t *out)
{
	struct record r = {
		.kind = RECORD_HARD_STATE,
		.head_len = RECORD_HARD_STATE_SIZE,
		.shard = h->shard,
		.term = h->term,
		.log_no = log_no,
	};
	struct wr w = wr_of(out, RECORD_HARD_STATE_SIZE);
	write_head(&w, &r, RECORD_HARD_STATE_SIZE);
	wr_u64(&w, h->vote);
	wr_u64(&w, h->log_start);
	wr_u64(&w, h->start_term);
	assert(!w.bad && w.p == w.end);
	seal_head(out, RECORD_HARD_STATE_SIZE);
}

void record_write_segment(const struct record_segment *s, uint64_t log_no, uint8_t *out)
{
	struct record r = {
		.kind = RECORD_SEGMENT_HEAD,
		.head_len = RECORD_SEGMENT_HEAD_SIZE,
		.log_no = log_no,
	};
	struct wr w = wr_of(out, RECORD_SEGMENT_HEAD_SIZE);
	write_head(&w, &r, RECORD_SEGMENT_HEAD_SIZE);
	wr_u64(&w, s->number);
	wr_bytes(&w, s->store_uuid, 16);
	wr_bytes(&w, s->segment_uuid, 16);
	wr_u32(&w, s->shards);
	wr_u32(&w, s->is_cleaned ? SEGMENT_KIND_CLEANED : SEGMENT_KIND_LOG);
	assert(!w.bad);
	seal_head(out, RECORD_SEGMENT_HEAD_SIZE);
}

void record_write_truncation(uint32_t shard, uint64_t from_index, uint64_t log_no, uint8_t *out)
{
	struct record r = {
		.kind = RECORD_TRUNCATION,
		.head_len = RECORD_HEAD,
		.shard = shard,
		.index = from_index,
		.log_no = log_no,
	};
	struct wr w = wr_of(out, RECORD_HEAD);
	write_head(&w, &r, RECORD_HEAD);
	assert(!w.bad);
	seal_head(out, RECORD_HEAD);
}
