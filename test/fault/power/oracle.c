#include "test/fault/power/oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/batch.h"

enum {
	NAME_SIZE = 64,
	WRITER_EVENTS = 1000000,
	ID_DIGITS = 8,
	IDENTITY = 2 + ID_DIGITS,	/* "EV" and the number */
	HUBS_SEEN_MAX = 256,
};

enum hub_kind { HUB_PLAIN, HUB_TRIM, HUB_RETAIN, HUB_COMPACT };

struct span_of_time {
	uint64_t begun;
	uint64_t acked;		/* UINT64_MAX: never */
};

struct known_hub {
	char name[NAME_SIZE];
	uint32_t partitions;
	enum hub_kind kind;
	struct span_of_time made;
	struct span_of_time gone;
};
struct known_event {
	uint32_t id;
	uint32_t hub;		/* its place */
	uint32_t partition;
	int64_t seq;
	int64_t len;
	char key[NAME_SIZE];
	size_t next_of_key;	/* the next in the journal with its hub, partition and key; round */
	struct span_of_time when;
};
struct known_commit {
	char group[NAME_SIZE];
	uint32_t hub;
	uint32_t partition;
	int64_t offset;
	struct span_of_time when;
};
struct known_trim {
	uint32_t hub;
	uint32_t partition;
	int64_t before;
	struct span_of_time when;
};

#define LIST(type)                                                             \
	struct {                                                               \
		type *v;                                                       \
		size_t n;                                                      \
		size_t cap;                                                    \
	}

struct oracle {
	LIST(struct known_hub) hubs;
	LIST(struct known_event) events;	/* by id */
	LIST(struct known_commit) commits;
	LIST(struct known_trim) trims;
};

struct seen_hub {
	uint32_t id;
	uint32_t known;
	uint32_t partitions;
};

struct look {
	const struct oracle *oracle;
	struct moment at;
	char why[512];
	struct seen_hub hubs[HUBS_SEEN_MAX];
	size_t n_hubs;
	int64_t *seen;		/* of each known event: its sequence number, -1 */
	int64_t *commits;	/* of each known commit's (group, partition): by its first place */
	/* the partition that is being looked at */
	const struct known_hub *hub;
	uint32_t partition;
	int64_t expected;
	int64_t end;
	int64_t gap_end;	/* where events that retention may have taken end */
	uint32_t last_of_writer[128];
	int64_t *starts;	/* of each hub and partition (at most 64): first_seq, -1: not seen */
};
enum { PARTITIONS_SEEN = 64 };

/* ---- the journal ---------------------------------------------------------------------- */

#define LIST_ADD(l)                                                            \
	((l).v = list_grown((l).v, &(l).cap, (l).n + 1, sizeof *(l).v), &(l).v[(l).n++])

static void *list_grown(void *v, size_t *cap, size_t n, size_t size)
{
	if (n > *cap) {
		*cap = n * 2 + 64;
		v = realloc(v, *cap * size);
		if (v == NULL) {
			abort();
		}
	}
	return v;
}

static uint32_t hub_named(const struct oracle *o, const char *name)
{
	for (size_t i = 0; i < o->hubs.n; i++) {
		if (strcmp(o->hubs.v[i].name, name) == 0) {
			return (uint32_t)i;
		}
	}
	fprintf(stderr, "journal: hub %s is unknown\n", name);
	exit(2);
}

static struct span_of_time when(uint64_t begun, uint64_t acked)
{
	return (struct span_of_time){begun, acked != 0 ? acked : UINT64_MAX};
}

static bool read_hub(struct oracle *o, const char *line)
{
	struct known_hub h = {.gone = {UINT64_MAX, UINT64_MAX}};
	char kind[16];
	uint64_t begun;
	uint64_t acked;
	if (sscanf(line, "hub %63s %" SCNu32 " %15s %" SCNu64 " %" SCNu64, h.name, &h.partitions,
		   kind, &begun, &acked) != 5) {
		return false;
	}
	static const char *const kinds[] = {"plain", "trim", "retain", "compact"};
	for (int i = 0; i < 4; i++) {
		h.kind = strcmp(kind, kinds[i]) == 0 ? (enum hub_kind)i : h.kind;
	}
	h.made = when(begun, acked);
	*LIST_ADD(o->hubs) = h;
	return true;
}

static bool read_event(struct oracle *o, const char *line)
{
	struct known_event e;
	char hub[NAME_SIZE];
	uint64_t begun;
	uint64_t acked;
	if (sscanf(line,
		   "event %" SCNu32 " %63s %" SCNu32 " %" SCNd64 " %" SCNd64 " %63s %" SCNu64
		   " %" SCNu64,
		   &e.id, hub, &e.partition, &e.seq, &e.len, e.key, &begun, &acked) != 8) {
		return false;
	}
	e.hub = hub_named(o, hub);
	e.when = when(begun, acked);
	*LIST_ADD(o->events) = e;
	return true;
}

static bool read_other(struct oracle *o, const char *line)
{
	struct known_commit c;
	struct known_trim t;
	char hub[NAME_SIZE];
	uint64_t begun;
	uint64_t acked;
	if (sscanf(line, "gone %63s %" SCNu64 " %" SCNu64, hub, &begun, &acked) == 3) {
		o->hubs.v[hub_named(o, hub)].gone = when(begun, acked);
		return true;
	}
	if (sscanf(line, "commit %63s %63s %" SCNu32 " %" SCNd64 " %" SCNu64 " %" SCNu64, c.group, hub,
		   &c.partition, &c.offset, &begun, &acked) == 6) {
		c.hub = hub_named(o, hub);
		c.when = when(begun, acked);
		*LIST_ADD(o->commits) = c;
		return true;
	}
	if (sscanf(line, "trim %63s %" SCNu32 " %" SCNd64 " %" SCNu64 " %" SCNu64, hub, &t.partition,
		   &t.before, &begun, &acked) == 5) {
		t.hub = hub_named(o, hub);
		t.when = when(begun, acked);
		*LIST_ADD(o->trims) = t;
		return true;
	}
	return false;
}

static int by_key(const void *a, const void *b)
{
	const struct known_event *x = *(const struct known_event *const *)a;
	const struct known_event *y = *(const struct known_event *const *)b;
	if (x->hub != y->hub) {
		return x->hub < y->hub ? -1 : 1;
	}
	if (x->partition != y->partition) {
		return x->partition < y->partition ? -1 : 1;
	}
	return strcmp(x->key, y->key);
}

/* Rings of events of the same key. */
static void link_keys(struct oracle *o)
{
	struct known_event **v = malloc((o->events.n + 1) * sizeof(struct known_event *));
	size_t n = 0;
	for (size_t i = 0; v != NULL && i < o->events.n; i++) {
		o->events.v[i].next_of_key = i;
		if (o->hubs.v[o->events.v[i].hub].kind == HUB_COMPACT) {
			v[n++] = &o->events.v[i];
		}
	}
	if (n > 0) {
		qsort(v, n, sizeof *v, by_key);
	}
	for (size_t first = 0, i = 0; i < n; i++) {
		bool is_last = i + 1 == n || by_key(&v[i], &v[i + 1]) != 0;
		v[i]->next_of_key = (size_t)((is_last ? v[first] : v[i + 1]) - o->events.v);
		first = is_last ? i + 1 : first;
	}
	free(v);
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = ((const struct known_event *)a)->id;
	uint32_t y = ((const struct known_event *)b)->id;
	return x < y ? -1 : x > y;
}

struct oracle *oracle_new(const char *journal)
{
	struct oracle *o = calloc(1, sizeof *o);
	FILE *f = fopen(journal, "re");
	char line[512];
	if (o == NULL || f == NULL) {
		perror(journal);
		exit(2);
	}
	while (fgets(line, sizeof line, f) != NULL) {
		if (!read_event(o, line) && !read_hub(o, line) && !read_other(o, line)) {
			fprintf(stderr, "journal: %s", line);
			exit(2);
		}
	}
	fclose(f);
	if (o->events.n > 0) {
		qsort(o->events.v, o->events.n, sizeof *o->events.v, by_id);
	}
	link_keys(o);
	return o;
}

/* ---- looking --------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void wrong(struct look *l, const char *fmt, ...)
{
	if (l->why[0] != '\0') {
		return;
	}
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(l->why, sizeof l->why, fmt, ap);
	va_end(ap);
}

struct look *look_new(const struct oracle *o, struct moment at)
{
	struct look *l = calloc(1, sizeof *l);
	if (l == NULL) {
		abort();
	}
	l->oracle = o;
	l->at = at;
	l->seen = malloc((o->events.n + 1) * sizeof *l->seen);
	l->commits = malloc((o->commits.n + 1) * sizeof *l->commits);
	l->starts = malloc((o->hubs.n + 1) * PARTITIONS_SEEN * sizeof *l->starts);
	if (l->seen == NULL || l->commits == NULL || l->starts == NULL) {
		abort();
	}
	memset(l->seen, 0xff, o->events.n * sizeof *l->seen);
	memset(l->commits, 0xff, o->commits.n * sizeof *l->commits);
	memset(l->starts, 0xff, o->hubs.n * PARTITIONS_SEEN * sizeof *l->starts);
	return l;
}

void look_free(struct look **lp)
{
	struct look *l = *lp;
	*lp = NULL;
	free(l->seen);
	free(l->commits);
	free(l->starts);
	free(l);
}

void look_hub(struct look *l, const char *name, uint32_t id, uint32_t partitions)
{
	const struct oracle *o = l->oracle;
	for (size_t i = 0; i < o->hubs.n && l->n_hubs < HUBS_SEEN_MAX; i++) {
		if (strcmp(o->hubs.v[i].name, name) != 0) {
			continue;
		}
		l->hubs[l->n_hubs++] = (struct seen_hub){id, (uint32_t)i, partitions};
		if (o->hubs.v[i].made.begun > l->at.may) {
			wrong(l, "hub %s is there before it was asked for", name);
		}
		if (o->hubs.v[i].gone.acked <= l->at.must) {
			wrong(l, "hub %s is there after it was deleted", name);
		}
		if (partitions != o->hubs.v[i].partitions) {
			wrong(l, "hub %s has %u partitions, not %u", name, partitions,
			      o->hubs.v[i].partitions);
		}
		return;
	}
	wrong(l, "hub %s was never made", name);
}

static uint32_t known_of(struct look *l, uint32_t hub_id)
{
	for (size_t i = 0; i < l->n_hubs; i++) {
		if (l->hubs[i].id == hub_id) {
			return l->hubs[i].known;
		}
	}
	return UINT32_MAX;
}

void look_partition(struct look *l, uint32_t hub_id, uint32_t partition, int64_t first_seq,
		    int64_t next_seq)
{
	uint32_t known = known_of(l, hub_id);
	if (known == UINT32_MAX || partition >= PARTITIONS_SEEN) {
		wrong(l, "a partition of hub %u, which is not there", hub_id);
		l->hub = NULL;
		return;
	}
	l->hub = &l->oracle->hubs.v[known];
	l->partition = partition;
	l->expected = first_seq;
	l->end = next_seq;
	l->gap_end = first_seq;
	l->starts[known * PARTITIONS_SEEN + partition] = first_seq;
	memset(l->last_of_writer, 0, sizeof l->last_of_writer);
	int64_t most = 0;	/* where it may begin at the latest */
	for (size_t i = 0; i < l->oracle->trims.n; i++) {
		const struct known_trim *t = &l->oracle->trims.v[i];
		if (t->hub == known && t->partition == partition && t->when.begun <= l->at.may &&
		    t->before > most) {
			most = t->before;
		}
	}
	if (l->hub->kind != HUB_RETAIN && first_seq > most) {
		wrong(l, "%s/%u begins with %" PRId64 ", not %" PRId64, l->hub->name, partition,
		      first_seq, most);
	}
}

/* The place of "EV<digits> " in what a record holds; NULL: not there. */
static const uint8_t *find_identity(struct span s)
{
	for (size_t i = 0; i + IDENTITY < s.n; i++) {
		const uint8_t *p = memchr(s.p + i, 'E', s.n - i - IDENTITY);
		if (p == NULL) {
			return NULL;
		}
		i = (size_t)(p - s.p);
		if (p[1] == 'V' && p[2] >= '0' && p[2] <= '9' && p[IDENTITY] == ' ') {
			return p;
		}
	}
	return NULL;
}

/* "EV<id> ", then "x<id>x<id>..." cut anywhere. */
static bool body_is_right(const uint8_t *body, int64_t len, uint32_t id)
{
	char period[16];
	size_t n = (size_t)len - IDENTITY - 1;
	size_t m = (size_t)snprintf(period, sizeof period, "x%u", id);
	const uint8_t *filler = body + IDENTITY + 1;
	return memcmp(filler, period, n < m ? n : m) == 0 &&
	       (n <= m || memcmp(filler, filler + m, n - m) == 0);
}

static const struct known_event *event_of(const struct oracle *o, const uint8_t *identity)
{
	char digits[ID_DIGITS + 1] = "";
	memcpy(digits, identity + 2, ID_DIGITS);
	struct known_event key = {.id = (uint32_t)strtoul(digits, NULL, 10)};
	return o->events.n == 0 ? NULL
				: bsearch(&key, o->events.v, o->events.n, sizeof key, by_id);
}

static void look_record(struct look *l, const struct batch_record *r, int64_t seq)
{
	const struct known_hub *h = l->hub;
	const uint8_t *at = find_identity(r->has_value ? r->value : r->headers);
	if (at == NULL) {
		bool is_own = r->value.n >= 3 && memmem(r->value.p, r->value.n, "CK ", 3) != NULL;
		if (!is_own) {
			wrong(l, "%s/%u: event %" PRId64 " is nobody's", h->name, l->partition, seq);
		}
		return;
	}
	const struct known_event *e = event_of(l->oracle, at);
	if (e == NULL || e->when.begun > l->at.may) {
		wrong(l, "%s/%u: event %" PRId64 " (%.10s) was not sent", h->name, l->partition, seq,
		      at);
		return;
	}
	size_t place = (size_t)(e - l->oracle->events.v);
	if (&l->oracle->hubs.v[e->hub] != h || e->partition != l->partition) {
		wrong(l, "%s/%u: event %" PRId64 " (%u) is of another partition", h->name,
		      l->partition, seq, e->id);
	}
	if (l->seen[place] >= 0) {
		wrong(l, "%s/%u: event %u is there twice: %" PRId64 " and %" PRId64, h->name,
		      l->partition, e->id, l->seen[place], seq);
	}
	if (e->seq >= 0 && e->seq != seq) {
		wrong(l, "%s/%u: event %u is at %" PRId64 ", not %" PRId64, h->name, l->partition, e->id,
		      seq, e->seq);
	}
	int64_t n = r->has_value ? r->value.p + r->value.n - at : -1;
	if (n != e->len || (n >= 0 && !body_is_right(at, n, e->id))) {
		wrong(l, "%s/%u: event %u has other bytes", h->name, l->partition, e->id);
	}
	uint32_t *last = &l->last_of_writer[e->id / WRITER_EVENTS % 128];
	if (*last >= e->id && *last != 0) {
		wrong(l, "%s/%u: event %u stands after %u", h->name, l->partition, e->id, *last);
	}
	*last = e->id;
	l->seen[place] = seq;
}

void look_batch(struct look *l, const struct store_batch *b)
{
	struct batch_iter it;
	struct batch_record r;
	if (l->hub == NULL) {
		return;
	}
	bool may_gap = l->hub->kind == HUB_COMPACT;
	if (l->hub->kind == HUB_RETAIN && b->base_seq > l->expected) {
		l->expected = b->base_seq;
		l->gap_end = b->base_seq;
	}
	if (may_gap ? b->base_seq < l->expected && b->base_seq + b->count <= l->expected
		    : b->base_seq > l->expected || b->base_seq + b->count <= l->expected) {
		wrong(l, "%s/%u: batch %" PRId64 " where %" PRId64 " should be", l->hub->name,
		      l->partition, b->base_seq, l->expected);
	}
	/* Its checksums were checked by who read it. */
	if (batch_iter_init(&it, b->batch) != ERR_OK) {
		wrong(l, "%s/%u: batch %" PRId64 " is damaged", l->hub->name, l->partition,
		      b->base_seq);
		return;
	}
	int32_t n = 0;
	enum err e;
	while ((e = batch_iter_next(&it, &r)) == ERR_OK) {
		n++;
		/* A log that was cut may begin within a batch. */
		if (b->base_seq + r.offset_delta >= l->expected) {
			look_record(l, &r, b->base_seq + r.offset_delta);
		}
	}
	if (e != ERR_EOF || (!may_gap && n != b->count)) {
		wrong(l, "%s/%u: batch %" PRId64 " has %d of %d records", l->hub->name, l->partition,
		      b->base_seq, n, b->count);
	}
	l->expected = b->base_seq + b->count;
	if (l->expected > l->end) {
		wrong(l, "%s/%u: events beyond the end %" PRId64, l->hub->name, l->partition, l->end);
	}
}

void look_partition_end(struct look *l, int64_t first_seq)
{
	if (l->hub == NULL) {
		return;
	}
	size_t known = (size_t)(l->hub - l->oracle->hubs.v);
	l->starts[known * PARTITIONS_SEEN + l->partition] = first_seq;
	if (l->gap_end > first_seq) {
		wrong(l, "%s/%u: events up to %" PRId64 " are lost, it begins with %" PRId64,
		      l->hub->name, l->partition, l->gap_end, first_seq);
	}
	if (l->hub->kind != HUB_RETAIN && l->hub->kind != HUB_COMPACT && l->expected != l->end) {
		wrong(l, "%s/%u: ends with %" PRId64 ", not %" PRId64, l->hub->name, l->partition,
		      l->expected, l->end);
	}
}

void look_offset(struct look *l, struct span group, struct store_part part, int64_t offset)
{
	uint32_t hub = known_of(l, part.hub_id);
	for (size_t i = 0; i < l->oracle->commits.n; i++) {
		const struct known_commit *c = &l->oracle->commits.v[i];
		if (span_eq_str(group, c->group) && c->hub == hub && c->partition == part.partition &&
		    c->offset == offset && c->when.begun <= l->at.may) {
			l->commits[i] = offset;
			return;
		}
	}
	if (hub != UINT32_MAX) {
		wrong(l, "group %.*s: offset %" PRId64 " of %s/%u was not committed", (int)group.n,
		      (const char *)group.p, offset, l->oracle->hubs.v[hub].name, part.partition);
	}
}

/* ---- what must be there ------------------------------------------------------------------ */

static bool is_there(const struct look *l, uint32_t known)
{
	for (size_t i = 0; i < l->n_hubs; i++) {
		if (l->hubs[i].known == known) {
			return true;
		}
	}
	return false;
}

static void end_hubs(struct look *l)
{
	for (uint32_t i = 0; i < l->oracle->hubs.n; i++) {
		const struct known_hub *h = &l->oracle->hubs.v[i];
		if (h->made.acked <= l->at.must && h->gone.begun > l->at.may && !is_there(l, i)) {
			wrong(l, "hub %s is lost", h->name);
		}
	}
}

/* Whether an event of the same key that is newer than `e` is there, or must be. */
static bool is_superseded(const struct look *l, const struct known_event *e)
{
	const struct known_event *all = l->oracle->events.v;
	for (size_t i = e->next_of_key; &all[i] != e; i = all[i].next_of_key) {
		bool is_newer = l->seen[i] >= 0 ? l->seen[i] > e->seq : all[i].seq > e->seq;
		/* A tombstone may have come and gone without an answer. */
		if (is_newer && (l->seen[i] >= 0 || all[i].when.acked <= l->at.must ||
				 (all[i].len < 0 && all[i].when.begun <= l->at.may))) {
			return true;
		}
	}
	return false;
}

/* A deleted key must not come back: nothing older may stand where its tombstone is
 * gone. */
static bool has_come_back(const struct look *l, const struct known_event *e)
{
	const struct known_event *all = l->oracle->events.v;
	for (size_t i = e->next_of_key; &all[i] != e; i = all[i].next_of_key) {
		if (l->seen[i] >= 0 && l->seen[i] < e->seq) {
			return true;
		}
	}
	return false;
}

static void end_event(struct look *l, size_t place)
{
	const struct known_event *e = &l->oracle->events.v[place];
	const struct known_hub *h = &l->oracle->hubs.v[e->hub];
	if (e->when.acked > l->at.must || l->seen[place] >= 0 || !is_there(l, e->hub)) {
		return;
	}
	int64_t start = l->starts[e->hub * PARTITIONS_SEEN + e->partition];
	bool is_cut = h->kind == HUB_TRIM || h->kind == HUB_RETAIN;
	if (is_cut && start >= 0 && (e->seq < 0 || e->seq < start)) {
		return;
	}
	if (h->kind == HUB_COMPACT && e->key[0] != '-' && e->seq >= 0) {
		if (e->len < 0 ? !has_come_back(l, e) || is_superseded(l, e) : is_superseded(l, e)) {
			return;
		}
	}
	wrong(l, "%s/%u: event %u, acknowledged as %" PRId64 ", is lost (the log is [%" PRId64
		 ", ...))", h->name, e->partition, e->id, e->seq, start);
}

static void end_commits(struct look *l)
{
	const struct oracle *o = l->oracle;
	for (size_t i = 0; i < o->commits.n; i++) {
		const struct known_commit *c = &o->commits.v[i];
		if (c->when.acked > l->at.must || !is_there(l, c->hub)) {
			continue;
		}
		bool is_kept = false;
		for (size_t k = 0; k < o->commits.n && !is_kept; k++) {
			const struct known_commit *f = &o->commits.v[k];
			is_kept = l->commits[k] >= c->offset && f->hub == c->hub &&
				  f->partition == c->partition && strcmp(f->group, c->group) == 0;
		}
		if (!is_kept) {
			wrong(l, "group %s: offset %" PRId64 " of %s/%u is lost", c->group, c->offset,
			      o->hubs.v[c->hub].name, c->partition);
		}
	}
}

static void end_trims(struct look *l)
{
	for (size_t i = 0; i < l->oracle->trims.n; i++) {
		const struct known_trim *t = &l->oracle->trims.v[i];
		int64_t start = l->starts[t->hub * PARTITIONS_SEEN + t->partition];
		if (t->when.acked <= l->at.must && start >= 0 && start < t->before) {
			wrong(l, "%s/%u: begins with %" PRId64 ", was cut at %" PRId64,
			      l->oracle->hubs.v[t->hub].name, t->partition, start, t->before);
		}
	}
}

const char *look_end(struct look *l)
{
	end_hubs(l);
	for (size_t i = 0; i < l->oracle->events.n && l->why[0] == '\0'; i++) {
		end_event(l, i);
	}
	end_commits(l);
	end_trims(l);
	return l->why[0] != '\0' ? l->why : NULL;
}
