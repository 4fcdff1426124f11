/* Names: which are allowed, how they compare, and where they stand in the
 * sorted arrays. */

#include "store/catalog/catalog_priv.h"

static const char group_default[] = "$Default";

static int lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

int catalog_name_compare(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	for (size_t i = 0; i < n; i++) {
		int order = lower(a.p[i]) - lower(b.p[i]);
		if (order != 0) {
			return order;
		}
	}
	return (a.n > b.n) - (a.n < b.n);
}

/* Both arrays begin each item with its name. */
static uint32_t name_at(const void *v, uint32_t n, size_t size, struct span name, bool *found)
{
	uint32_t lo = 0;
	uint32_t hi = n;
	*found = false;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = catalog_name_compare(span_str((const char *)v + mid * size), name);
		if (order < 0) {
			lo = mid + 1;
		} else {
			*found = *found || order == 0;
			hi = mid;
		}
	}
	return lo;
}

_Static_assert(offsetof(struct catalog_group, name) == 0, "name first");
_Static_assert(offsetof(struct catalog_policy, name) == 0, "name first");

uint32_t catalog_group_at(const struct catalog_hub *h, struct span name, bool *found)
{
	return name_at(h->groups, h->n_groups, sizeof *h->groups, name, found);
}

uint32_t catalog_policy_at(const struct catalog_policy *v, uint32_t n, struct span name,
			   bool *found)
{
	return name_at(v, n, sizeof *v, name, found);
}

bool catalog_group_is_default(struct span name)
{
	return span_ieq_str(name, group_default);
}

/* ---- rules --------------------------------------------------------------- */

struct rule {
	const char *what;
	bool (*edge)(uint8_t c);	/* first and last character */
	bool (*inside)(uint8_t c);
	bool is_path;			/* no empty, "." or ".." part between slashes */
	const char *text;
};

static bool is_alnum(uint8_t c)
{
	return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
}

static bool is_hub_char(uint8_t c)
{
	return is_alnum(c) || c == '.' || c == '_' || c == '/' || c == '-';
}

/* More than the cloud service allows: Kafka's topics may begin and end with any of
 * these ("_schemas"). */
static bool is_hub_edge(uint8_t c)
{
	return is_hub_char(c) && c != '/';
}

static bool is_group_edge(uint8_t c)
{
	return is_alnum(c) || c == '$' || c == '_';
}

static bool is_group_char(uint8_t c)
{
	return is_hub_char(c) || c == '$';
}

static bool is_policy_char(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != ';' && c != '=' && c != '&' && c != '/';
}

/* Spaces are printable, but not at the edges. */
static bool is_policy_inside(uint8_t c)
{
	return c == ' ' || is_policy_char(c);
}

static const struct rule rules[] = {
	{"hub", is_hub_edge, is_hub_char, true,
	 "letters, digits, '.', '_', '-' and, inside, '/'"},
	{"group", is_group_edge, is_group_char, true,
	 "letters, digits, '.', '_', '-', '/' and '$', beginning and ending with a letter, digit, "
	 "'_' or '$'"},
	{"policy", is_policy_char, is_policy_inside, false,
	 "printable ASCII without ';', '=', '&' and '/'"},
};

static bool parts_are_plain(const char *name)
{
	for (const char *p = name;;) {
		const char *slash = strchrnul(p, '/');
		size_t n = (size_t)(slash - p);
		if (n == 0 || (n <= 2 && memcmp(p, "..", n) == 0)) {
			return false;
		}
		if (*slash == '\0') {
			return true;
		}
		p = slash + 1;
	}
}

static bool name_is_valid(const struct rule *rule, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)name[i];
		bool ok = i == 0 || i == n - 1 ? rule->edge(c) : rule->inside(c);
		if (!ok) {
			return false;
		}
	}
	return !rule->is_path || parts_are_plain(name);
}

enum err catalog_name_check(const char *what, const char *name, size_t max,
			    struct err_detail *d)
{
	const struct rule *rule = &rules[0];
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		if (strcmp(what, rules[i].what) == 0) {
			rule = &rules[i];
		}
	}
	size_t n = strnlen(name, max + 1);
	if (n == 0) {
		return err_set(d, ERR_INVALID, "%s name is empty", what);
	}
	if (n > max) {
		return err_set(d, ERR_INVALID, "%s name is longer than %zu characters", what, max);
	}
	if (!name_is_valid(rule, name, n)) {
		return err_set(d, ERR_INVALID, "%s name is not valid: it may have %s", what,
			       rule->text);
	}
	return ERR_OK;
}
