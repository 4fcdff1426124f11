#include "throttle/throttle_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct throttle_rules {
	size_t n;
	struct throttle_rule rule[];	/* sorted, names folded */
};

static const struct throttle_limit no_limit;

static bool is_folded(enum throttle_kind kind)
{
	return kind != THROTTLE_CLIENT && kind != THROTTLE_NAMESPACE;
}

void throttle_rules_fold(enum throttle_kind kind, const char *name, char *out, size_t size)
{
	assert(size > 0);
	size_t i = 0;
	for (; name[i] != '\0' && i + 1 < size; i++) {
		char c = name[i];
		out[i] = is_folded(kind) && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	out[i] = '\0';
}

static int compare(const void *pa, const void *pb)
{
	const struct throttle_rule *a = pa;
	const struct throttle_rule *b = pb;
	if (a->kind != b->kind) {
		return a->kind < b->kind ? -1 : 1;
	}
	return strcmp(a->name, b->name);
}

enum err throttle_rules_new(const struct throttle_rule *rules, size_t n, struct throttle_rules **out)
{
	if (n > (SIZE_MAX - sizeof **out) / sizeof *rules) {
		return ERR_NOMEM;
	}
	struct throttle_rules *r = mem_calloc(1, sizeof *r + n * sizeof *rules);
	if (r == NULL) {
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		if (rules[i].kind >= THROTTLE_KINDS ||
		    memchr(rules[i].name, '\0', sizeof rules[i].name) == NULL) {
			mem_free(r);
			return ERR_INVALID;
		}
		struct throttle_rule *to = &r->rule[i];
		to->kind = rules[i].kind;
		to->limit = rules[i].limit;
		throttle_rules_fold(to->kind, rules[i].name, to->name, sizeof to->name);
	}
	r->n = n;
	if (n > 0) {
		qsort(r->rule, n, sizeof *r->rule, compare);
	}
	*out = r;
	return ERR_OK;
}

void throttle_rules_free(struct throttle_rules **r)
{
	mem_free(*r);
	*r = NULL;
}

static const struct throttle_limit *find(const struct throttle_rules *r, enum throttle_kind kind,
					 const char *name)
{
	size_t low = 0;
	size_t high = r->n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct throttle_rule *at = &r->rule[mid];
		int c = at->kind != kind ? (at->kind < kind ? -1 : 1) : strcmp(at->name, name);
		if (c == 0) {
			return &at->limit;
		}
		if (c < 0) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return NULL;
}

const struct throttle_limit *throttle_rules_find(const struct throttle_rules *r,
						 enum throttle_kind kind, const char *name)
{
	if (r == NULL) {
		return &no_limit;
	}
	const struct throttle_limit *limit = find(r, kind, name);
	if (limit == NULL && kind != THROTTLE_NAMESPACE) {
		limit = find(r, kind, "*");
	}
	return limit != NULL ? limit : &no_limit;
}
