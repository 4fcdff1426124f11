#ifndef GATEWAY_CORE_CLEANUP_H
#define GATEWAY_CORE_CLEANUP_H

/* Clean-up policies of hubs as text: "delete", "compact" or both, as Kafka's topics
 * have them. Pure; any thread. */

#include "base/bytes.h"
#include "store/catalog/catalog.h"

_Static_assert((CATALOG_DELETE | CATALOG_COMPACT) == CATALOG_COMPACT_DELETE, "they are bits");

static inline const char *core_cleanup_text(enum catalog_cleanup c)
{
	return c == CATALOG_COMPACT	     ? "compact"
	       : c == CATALOG_COMPACT_DELETE ? "compact,delete"
					     : "delete";
}

static inline bool core_cleanup_compacts(enum catalog_cleanup c)
{
	return (c & CATALOG_COMPACT) != 0;
}

/* One word: its bit, or 0. */
static inline unsigned core_cleanup_word(struct span word)
{
	while (word.n > 0 && *word.p == ' ') {
		word = span_of(word.p + 1, word.n - 1);
	}
	while (word.n > 0 && word.p[word.n - 1] == ' ') {
		word.n--;
	}
	return span_eq_str(word, "delete") ? CATALOG_DELETE
	       : span_eq_str(word, "compact") ? CATALOG_COMPACT
					      : 0;
}

/* Words in any order, with commas between them. ERR_INVALID: none, or another. */
static inline enum err core_cleanup_parse(struct span text, enum catalog_cleanup *out)
{
	unsigned all = 0;
	for (bool more = true; more;) {
		size_t n = 0;
		while (n < text.n && text.p[n] != ',') {
			n++;
		}
		unsigned one = core_cleanup_word(span_of(text.p, n));
		if (one == 0) {
			return ERR_INVALID;
		}
		all |= one;
		more = n < text.n;
		text = more ? span_of(text.p + n + 1, text.n - n - 1) : text;
	}
	*out = (enum catalog_cleanup)all;
	return ERR_OK;
}

#endif
