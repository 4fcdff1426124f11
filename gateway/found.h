#ifndef GATEWAY_FOUND_H
#define GATEWAY_FOUND_H

/* What a namespace has from its first start: the root policy with random keys,
 * and the hubs of the configuration; its throughput units, where settings say so; and the files by which local commands find
 * the server: `keys` and `endpoints.json`. Main thread only; may block. */

#include "gateway/config.h"
#include "gateway/core/core.h"

/* Makes what is missing; existing hubs and policies are left as they are. */
enum err found_namespace(struct store *s, const struct config *c, struct err_detail *d) MUST_CHECK;
/* Applies the settings of throughput units that differ from those applied last: at the
 * first start, from their defaults. The others stay as they were set since, so that the
 * later change wins. */
enum err found_units(struct store *s, const struct config *c, struct err_detail *d) MUST_CHECK;
/* Writes the namespace's policies, with keys, to `keys` under the data directory
 * (mode 0600), atomically. */
enum err found_export_keys(struct store *s, const char *host, struct err_detail *d) MUST_CHECK;
/* Writes `text` to `name` under `dir`: temporary file, fsync, rename. */
enum err found_write_file(const char *dir, const char *name, const char *text, size_t n,
			  struct err_detail *d) MUST_CHECK;

#endif
