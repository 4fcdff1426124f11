#include "store/volume/state_pages.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "store/volume/env.h"

/* LMDB 0.9, data version 1, 64 bit, host byte order.
 *
 * A page: 0 u64 own number, u16 unused, 10 u16 flags, 12 u16 end of the offsets,
 * 14 u16 begin of the nodes (overflow: 12 u32 number of pages), 16 u16 offsets of
 * nodes in the order of their keys. Nodes fill the page from their begin to its end.
 * A node: u16 low and u16 high half of the data's size, u16 flags, u16 size of the
 * key, key, data, padded to two bytes. In a branch the first three together are the
 * number of a page. */
enum {
	PAGE_FLAGS_AT = 10,
	PAGE_LOWER_AT = 12,
	PAGE_UPPER_AT = 14,
	PAGE_COUNT_AT = 12,
	PAGE_HEAD = 16,
	PAGE_BRANCH = 1,
	PAGE_LEAF = 2,
	PAGE_OVERFLOW = 4,
	PAGE_MIN = 4096,
	PAGE_MAX = 32 << 10,	/* offsets have 16 bits */
	NODE_FLAGS_AT = 4,
	NODE_KEY_SIZE_AT = 6,
	NODE_HEAD = 8,
	NODE_BIG = 1,		/* its data is the number of an overflow page */
	META_PAGE_SIZE_AT = 40,
	META_FREE_AT = 40,
	META_ROWS_AT = 88,
	META_LAST_PAGE_AT = 136,
	META_COMMIT_AT = 144,
	META_PAGES = 2,
	TREE_DEPTH_AT = 6,
	TREE_ROWS_AT = 32,
	TREE_ROOT_AT = 40,
	DEPTH_MAX = 32,		/* LMDB's CURSOR_STACK */
	KEY_MAX = 511,
};
static const uint64_t no_page = UINT64_MAX;

struct pages {
	const uint8_t *map;
	uint64_t page_bytes;
	uint64_t in_file;	/* whole pages the file has */
	uint64_t last;		/* the last one that was ever used */
	uint8_t *used;		/* a bit for each of 0..last */
};

struct tree {
	struct pages *p;
	bool is_free;		/* of the free pages: keys are numbers of commits */
	uint32_t depth;
	uint64_t rows;
};

static uint16_t host_u16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* Each page has one use; false: it had one, or cannot have any. */
static bool use(struct pages *p, uint64_t number)
{
	if (number < META_PAGES || number > p->last) {
		return false;
	}
	uint8_t *bits = &p->used[number / 8];
	uint8_t bit = (uint8_t)(1U << number % 8);
	bool was_free = (*bits & bit) == 0;
	*bits |= bit;
	return was_free;
}

/* A page in use whose head fits; NULL otherwise. */
static const uint8_t *page_use(struct pages *p, uint64_t number, uint16_t flags)
{
	if (!use(p, number) || number >= p->in_file) {
		return NULL;
	}
	const uint8_t *page = p->map + number * p->page_bytes;
	return env_host_u64(page) == number && host_u16(page + PAGE_FLAGS_AT) == flags ? page : NULL;
}

/* ---- nodes ----------------------------------------------------------------------- */

struct node {
	struct span key;
	uint64_t child;		/* branch */
	struct span data;	/* leaf; of a big one only the size is right */
	bool is_big;
	uint64_t overflow;
};

/* False: it does not fit between the page's begin of nodes and its end. */
static bool node_read(const struct pages *p, const uint8_t *page, uint16_t i, bool is_leaf,
		      struct node *out, size_t *bytes)
{
	size_t at = host_u16(page + PAGE_HEAD + 2 * (size_t)i);
	size_t upper = host_u16(page + PAGE_UPPER_AT);
	if (at < upper || at % 2 != 0 || at + NODE_HEAD > p->page_bytes) {
		return false;
	}
	const uint8_t *node = page + at;
	uint16_t flags = host_u16(node + NODE_FLAGS_AT);
	size_t size = host_u16(node) | (size_t)host_u16(node + 2) << 16;
	*out = (struct node){.key = span_of(node + NODE_HEAD, host_u16(node + NODE_KEY_SIZE_AT))};
	size_t n = NODE_HEAD + out->key.n;
	if (is_leaf) {
		out->is_big = flags == NODE_BIG;
		if (flags != 0 && !out->is_big) {
			return false;
		}
		out->data = span_of(node + n, size);
		n += out->is_big ? sizeof out->overflow : size;
	} else {
		out->child = size | (uint64_t)flags << 32;
	}
	n += n % 2;
	if (out->key.n > KEY_MAX || n > p->page_bytes - at) {
		return false;
	}
	if (out->is_big) {
		out->overflow = env_host_u64(out->data.p);
	}
	*bytes = n;
	return true;
}

/* Nodes fill the page from where they begin, without a hole and once. */
static bool page_is_filled(const struct pages *p, const uint8_t *page, bool is_leaf)
{
	uint8_t taken[PAGE_MAX / 2 / 8] = {0};
	size_t lower = host_u16(page + PAGE_LOWER_AT);
	size_t upper = host_u16(page + PAGE_UPPER_AT);
	size_t sum = 0;
	if (lower < PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > p->page_bytes) {
		return false;
	}
	for (size_t i = 0; i < (lower - PAGE_HEAD) / 2; i++) {
		struct node node;
		size_t n;
		if (!node_read(p, page, (uint16_t)i, is_leaf, &node, &n)) {
			return false;
		}
		size_t at = host_u16(page + PAGE_HEAD + 2 * i) / 2U;
		for (size_t k = at; k < at + n / 2; k++) {
			if ((taken[k / 8] & 1U << k % 8) != 0) {
				return false;
			}
			taken[k / 8] |= (uint8_t)(1U << k % 8);
		}
		sum += n;
	}
	return sum == p->page_bytes - upper;
}

/* ---- trees ----------------------------------------------------------------------- */

static int key_cmp(const struct tree *t, struct span a, struct span b)
{
	if (t->is_free) {
		uint64_t x = env_host_u64(a.p);
		uint64_t y = env_host_u64(b.p);
		return x < y ? -1 : x > y;
	}
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
	return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* The pages that one row of the list names: a count, then that many, each of which
 * is in no other use. */
static bool free_row_is_sound(struct pages *p, struct span row)
{
	if (row.n < sizeof(uint64_t)) {
		return false;
	}
	uint64_t n = env_host_u64(row.p);
	if (n > row.n / sizeof(uint64_t) - 1) {
		return false;
	}
	for (uint64_t i = 1; i <= n; i++) {
		if (!use(p, env_host_u64(row.p + i * sizeof(uint64_t)))) {
			return false;
		}
	}
	return true;
}

static bool leaf_row_is_sound(struct tree *t, const struct node *node)
{
	struct pages *p = t->p;
	struct span data = node->data;
	if (node->is_big) {
		const uint8_t *page = page_use(p, node->overflow, PAGE_OVERFLOW);
		if (page == NULL) {
			return false;
		}
		uint64_t n = env_host_u32(page + PAGE_COUNT_AT);
		if (n == 0 || n > p->in_file - node->overflow ||
		    n * p->page_bytes < PAGE_HEAD + data.n) {
			return false;
		}
		for (uint64_t i = 1; i < n; i++) {
			if (!use(p, node->overflow + i)) {
				return false;
			}
		}
		data.p = page + PAGE_HEAD;
	}
	t->rows++;
	return !t->is_free || free_row_is_sound(p, data);
}

/* Keys of the page are at least `low` and below `high`, where these are given. */
static bool page_is_sound(struct tree *t, uint64_t number, uint32_t level, const struct span *low,
			  const struct span *high)
{
	bool is_leaf = level == t->depth;
	const uint8_t *page = page_use(t->p, number, is_leaf ? PAGE_LEAF : PAGE_BRANCH);
	if (page == NULL || !page_is_filled(t->p, page, is_leaf)) {
		return false;
	}
	uint16_t n = (uint16_t)((host_u16(page + PAGE_LOWER_AT) - PAGE_HEAD) / 2);
	struct node last = {0};
	struct node node = {0};
	size_t bytes;
	/* LMDB itself allows the list of free pages a branch of one. */
	bool is_sound = n >= (is_leaf || t->is_free ? 1 : 2);
	for (uint16_t i = 0; is_sound && i < n; i++, last = node) {
		is_sound = node_read(t->p, page, i, is_leaf, &node, &bytes);
		/* The first key of a branch is not looked at: it stands for `low`. */
		bool has_key = is_leaf || i > 0;
		if (is_sound && has_key) {
			is_sound = (!t->is_free || node.key.n == sizeof(uint64_t)) &&
				   (low == NULL || key_cmp(t, *low, node.key) <= 0) &&
				   (high == NULL || key_cmp(t, node.key, *high) < 0) &&
				   (i == (is_leaf ? 0 : 1) || key_cmp(t, last.key, node.key) < 0);
		}
		if (is_sound && is_leaf) {
			is_sound = leaf_row_is_sound(t, &node);
		} else if (is_sound && i > 0) {
			is_sound = page_is_sound(t, last.child, level + 1, i > 1 ? &last.key : low,
						 &node.key);
		}
	}
	return is_sound && (is_leaf || page_is_sound(t, last.child, level + 1, &last.key, high));
}

static bool tree_is_sound(struct pages *p, const uint8_t *record, bool is_free)
{
	struct tree t = {.p = p, .is_free = is_free, .depth = host_u16(record + TREE_DEPTH_AT)};
	uint64_t root = env_host_u64(record + TREE_ROOT_AT);
	if (root == no_page) {
		return t.depth == 0 && env_host_u64(record + TREE_ROWS_AT) == 0;
	}
	return t.depth > 0 && t.depth <= DEPTH_MAX && page_is_sound(&t, root, 1, NULL, NULL) &&
	       t.rows == env_host_u64(record + TREE_ROWS_AT);
}

/* ---- the file -------------------------------------------------------------------- */

static bool map_is_sound(const uint8_t *map, uint64_t size)
{
	struct pages p = {.map = map};
	if (size < PAGE_MIN) {
		return false;
	}
	p.page_bytes = env_host_u32(map + META_PAGE_SIZE_AT);
	if (p.page_bytes < PAGE_MIN || p.page_bytes > PAGE_MAX ||
	    (p.page_bytes & (p.page_bytes - 1)) != 0) {
		return false;
	}
	p.in_file = size / p.page_bytes;
	if (p.in_file < META_PAGES) {
		return false;
	}
	const uint8_t *meta = map;
	const uint8_t *other = map + p.page_bytes;
	if (env_host_u64(other + META_COMMIT_AT) > env_host_u64(meta + META_COMMIT_AT)) {
		meta = other;
	}
	p.last = env_host_u64(meta + META_LAST_PAGE_AT);
	/* The last page of a commit may be a free one that was never written; many such
	 * there are not. */
	if (p.last < META_PAGES - 1 || p.last / 2 > p.in_file) {
		return false;
	}
	p.used = mem_calloc(p.last / 8 + 1, 1);
	if (p.used == NULL) {
		return false;
	}
	bool is_sound = tree_is_sound(&p, meta + META_ROWS_AT, false) &&
			tree_is_sound(&p, meta + META_FREE_AT, true);
	for (uint64_t i = p.in_file; is_sound && i <= p.last; i++) {
		is_sound = (p.used[i / 8] & 1U << i % 8) != 0;	/* by the list of free ones */
	}
	mem_free(p.used);
	return is_sound;
}

bool state_pages_are_sound(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return false;
	}
	bool is_sound = false;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (map != MAP_FAILED) {
			is_sound = map_is_sound(map, (uint64_t)st.st_size);
			munmap(map, (size_t)st.st_size);
		}
	}
	close(fd);
	return is_sound;
}
