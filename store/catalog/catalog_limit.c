/* Limits beside the units: their names, where they stand in their order, what goes
 * with what. */

#include <assert.h>

#include "base/mem.h"
#include "store/catalog/catalog_priv.h"

static const char any[] = "*";

static const char *kind_text(enum catalog_limit_kind kind)
{
	static const char *const texts[] = {
		[CATALOG_LIMIT_HUB] = "hub",
		[CATALOG_LIMIT_PARTITION] = "the partitions of hub",
		[CATALOG_LIMIT_PUBLISHER] = "the publishers of hub",
		[CATALOG_LIMIT_POLICY] = "policy",
		[CATALOG_LIMIT_CLIENT] = "client id",
	};
	return texts[kind];
}

static bool is_kind(enum catalog_limit_kind kind)
{
	return kind >= CATALOG_LIMIT_HUB && kind <= CATALOG_LIMIT_CLIENT;
}

/* ---- order ----------------------------------------------------------------- */

static int exact_compare(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int limit_compare(const struct catalog_limit *l, enum catalog_limit_kind kind,
			 struct span name)
{
	if (l->kind != kind) {
		return l->kind < kind ? -1 : 1;
	}
	return kind == CATALOG_LIMIT_CLIENT ? exact_compare(span_str(l->name), name)
					    : catalog_name_compare(span_str(l->name), name);
}

/* Where it stands or would stand. */
static uint32_t limit_at(const struct catalog *c, enum catalog_limit_kind kind, struct span name,
			 bool *found)
{
	uint32_t lo = 0;
	uint32_t hi = c->n_limits;
	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = limit_compare(&c->limits[mid], kind, name);
		if (order < 0) {
			lo = mid + 1;
		} else {
			*found = *found || order == 0;
			hi = mid;
		}
	}
	return lo;
}

const struct catalog_limit *catalog_limit_find(const struct catalog *c, enum catalog_limit_kind kind,
					       struct span name)
{
	bool found;
	uint32_t at = limit_at(c, kind, name, &found);
	return found ? &c->limits[at] : NULL;
}

/* ---- names ------------------------------------------------------------------- */

size_t catalog_text_char(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (p[0] < 0x80) {
		return p[0] >= ' ' && p[0] != 0x7f;
	}
	size_t len = (p[0] & 0xe0) == 0xc0   ? 2
		     : (p[0] & 0xf0) == 0xe0 ? 3
		     : (p[0] & 0xf8) == 0xf0 ? 4
					     : 0;
	if (len == 0 || len > n) {
		return 0;
	}
	uint32_t c = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
		c = c << 6 | (p[i] & 0x3fu);
	}
	bool is_control = c < 0xa0;
	bool is_surrogate = c >= 0xd800 && c <= 0xdfff;
	return is_control || is_surrogate || c < least[len] || c > 0x10ffff ? 0 : len;
}

static enum err check_client(const char *name, struct err_detail *d)
{
	size_t n = strnlen(name, CATALOG_CLIENT_NAME + 1);
	if (n == 0 || n > CATALOG_CLIENT_NAME) {
		return err_set(d, ERR_INVALID, "a client id has 1 to %d bytes", CATALOG_CLIENT_NAME);
	}
	const uint8_t *p = (const uint8_t *)name;
	for (size_t i = 0; i < n;) {
		size_t len = catalog_text_char(p + i, n - i);
		if (len == 0) {
			return err_set(d, ERR_INVALID, "the client id is not printable UTF-8");
		}
		i += len;
	}
	return ERR_OK;
}

/* "policy" or "hub/policy": policies have no '/' in their name, hubs may. */
static enum err check_policy(const char *name, struct err_detail *d)
{
	const char *slash = strrchr(name, '/');
	if (slash == NULL) {
		return catalog_name_check("policy", name, LIMIT_POLICY_NAME, d);
	}
	char hub[LIMIT_HUB_NAME + 1];
	if (span_to_cstr(span_of(name, (size_t)(slash - name)), hub, sizeof hub) != ERR_OK) {
		return err_set(d, ERR_INVALID, "hub name is longer than %d characters",
			       LIMIT_HUB_NAME);
	}
	enum err e = catalog_name_check("hub", hub, LIMIT_HUB_NAME, d);
	return e == ERR_OK ? catalog_name_check("policy", slash + 1, LIMIT_POLICY_NAME, d) : e;
}

enum err catalog_limit_name_check(enum catalog_limit_kind kind, const char *name,
				  struct err_detail *d)
{
	if (!is_kind(kind)) {
		return err_set(d, ERR_INVALID, "unknown kind of limit %d", (int)kind);
	}
	if (strnlen(name, CATALOG_LIMIT_NAME + 1) > CATALOG_LIMIT_NAME) {
		return err_set(d, ERR_INVALID, "the name of the limit is longer than %d characters",
			       CATALOG_LIMIT_NAME);
	}
	if (strcmp(name, any) == 0) {
		return ERR_OK;
	}
	return kind == CATALOG_LIMIT_CLIENT   ? check_client(name, d)
	       : kind == CATALOG_LIMIT_POLICY ? check_policy(name, d)
					      : catalog_name_check("hub", name, LIMIT_HUB_NAME, d);
}

/* ---- commands ---------------------------------------------------------------- */

static bool limits_nothing(const struct catalog_limit *l)
{
	return l->in_bytes == 0 && l->in_events == 0 && l->out_bytes == 0 && l->out_events == 0;
}

static bool is_beyond(const struct catalog_limit *l)
{
	const uint64_t most = CATALOG_LIMIT_RATE_MAX;
	return l->in_bytes > most || l->in_events > most || l->out_bytes > most ||
	       l->out_events > most;
}

enum err catalog_limit_check(const struct catalog *c, const struct catalog_command *cmd,
			     struct err_detail *d)
{
	const struct catalog_limit *l = &cmd->limit;
	enum err e = catalog_limit_name_check(l->kind, l->name, d);
	if (e != ERR_OK) {
		return e;
	}
	bool is_there = catalog_limit_find(c, l->kind, span_str(l->name)) != NULL;
	if (cmd->op == CATALOG_LIMIT_DELETE) {
		return is_there ? ERR_OK
				: err_set(d, ERR_NOT_FOUND, "%s '%.256s' has no limit",
					  kind_text(l->kind), l->name);
	}
	if (limits_nothing(l)) {
		return err_set(d, ERR_INVALID,
			       "the limit limits nothing: give bytes or events a second, in or out");
	}
	if (is_beyond(l)) {
		return err_set(d, ERR_INVALID, "a limit is at most %llu a second",
			       (unsigned long long)CATALOG_LIMIT_RATE_MAX);
	}
	if (!is_there && c->n_limits >= CATALOG_LIMITS_MAX) {
		return err_set(d, ERR_LIMIT, "a namespace has at most %d limits", CATALOG_LIMITS_MAX);
	}
	return ERR_OK;
}

static void remove_at(struct catalog_box *b, uint32_t at)
{
	struct catalog_limit *v = b->limits;
	b->c.n_limits--;
	memmove(v + at, v + at + 1, (b->c.n_limits - at) * sizeof *v);
}

void catalog_limit_apply(struct catalog_box *b, const struct catalog_command *cmd)
{
	const struct catalog_limit *l = &cmd->limit;
	bool found;
	uint32_t at = limit_at(&b->c, l->kind, span_str(l->name), &found);
	if (cmd->op == CATALOG_LIMIT_DELETE) {
		assert(found);
		remove_at(b, at);
		return;
	}
	if (!found) {
		struct catalog_limit *v = b->limits;
		memmove(v + at + 1, v + at, (b->c.n_limits - at) * sizeof *v);
		b->c.n_limits++;
	}
	b->limits[at] = *l;
}

/* Is it about the hub, or about a policy of it? */
static bool is_of_hub(const struct catalog_limit *l, struct span hub)
{
	struct span name = span_str(l->name);
	if (l->kind == CATALOG_LIMIT_CLIENT) {
		return false;
	}
	if (l->kind == CATALOG_LIMIT_POLICY) {
		const char *slash = strrchr(l->name, '/');
		name = slash != NULL ? span_of(l->name, (size_t)(slash - l->name)) : span_of(NULL, 0);
	}
	return catalog_name_compare(name, hub) == 0;
}

void catalog_limits_forget_hub(struct catalog_box *b, const char *hub)
{
	uint32_t at = 0;
	while (at < b->c.n_limits) {
		if (is_of_hub(&b->limits[at], span_str(hub))) {
			remove_at(b, at);
		} else {
			at++;
		}
	}
}

void catalog_limits_forget_policy(struct catalog_box *b, const char *hub, const char *policy)
{
	char name[CATALOG_LIMIT_NAME + 1] = "";
	struct wr w = wr_of(name, sizeof name - 1);
	if (hub[0] != '\0') {
		wr_span(&w, span_str(hub));
		wr_u8(&w, '/');
	}
	wr_span(&w, span_str(policy));
	assert(!w.bad);
	bool found;
	uint32_t at = limit_at(&b->c, CATALOG_LIMIT_POLICY, span_of(name, wr_len(&w)), &found);
	if (found) {
		remove_at(b, at);
	}
}

/* ---- bytes --------------------------------------------------------------------- */

void catalog_put_limit(struct str *s, const struct catalog_limit *l)
{
	catalog_put_u8(s, (uint8_t)l->kind);
	catalog_put_text(s, l->name);
	catalog_put_u64(s, l->in_bytes);
	catalog_put_u64(s, l->in_events);
	catalog_put_u64(s, l->out_bytes);
	catalog_put_u64(s, l->out_events);
}

void catalog_get_limit(struct rd *r, struct catalog_limit *l)
{
	l->kind = rd_u8(r);
	catalog_get_text(r, l->name, sizeof l->name);
	l->in_bytes = rd_u64(r);
	l->in_events = rd_u64(r);
	l->out_bytes = rd_u64(r);
	l->out_events = rd_u64(r);
}

enum err catalog_get_limits(struct rd *r, struct catalog_box *b)
{
	uint32_t n = rd_u32(r);
	if (r->bad || n > CATALOG_LIMITS_MAX) {
		return ERR_CORRUPT;
	}
	struct catalog_limit *v = mem_calloc(n, sizeof *v);
	if (v == NULL) {
		return ERR_NOMEM;
	}
	mem_free(b->limits);
	b->limits = v;
	b->c.limits = v;
	for (uint32_t i = 0; i < n; i++) {
		catalog_get_limit(r, &v[i]);
		if (r->bad || catalog_limit_name_check(v[i].kind, v[i].name, NULL) != ERR_OK ||
		    limits_nothing(&v[i]) || is_beyond(&v[i]) ||
		    (i > 0 && limit_compare(&v[i - 1], v[i].kind, span_str(v[i].name)) >= 0)) {
			return ERR_CORRUPT;
		}
	}
	b->c.n_limits = n;
	return ERR_OK;
}
