#ifndef GATEWAY_UNITS_H
#define GATEWAY_UNITS_H

/* Sizes and durations as people write them, for settings and commands.
 *   size      512  64k  64KiB  1MB  256MiB  2g   (k, m, g, t with or without
 *             "B" or "iB": powers of 1024 all, as Event Hubs counts)
 *   duration  250ms  2s  15m  1h  7d  and sums of them: 1h30m; "0" alone is 0
 * Pure; any thread. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* ERR_INVALID for anything that is not wholly a number of the kind or does not
 * fit; the detail quotes the text and shows an example. */
enum err units_parse_count(const char *text, uint64_t *out, struct err_detail *d) MUST_CHECK;
enum err units_parse_size(const char *text, uint64_t *out, struct err_detail *d) MUST_CHECK;
enum err units_parse_ms(const char *text, uint64_t *out, struct err_detail *d) MUST_CHECK;

enum { UNITS_TEXT = 32 };
/* The largest unit that divides the value: "256MiB", "90s", "1h". */
void units_size_text(uint64_t bytes, char out[UNITS_TEXT]);
void units_ms_text(uint64_t ms, char out[UNITS_TEXT]);

#endif
