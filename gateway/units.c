#include "gateway/units.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"TiB", UINT64_C(1) << 40}, {"GiB", UINT64_C(1) << 30}, {"MiB", UINT64_C(1) << 20},
	{"KiB", UINT64_C(1) << 10}, {"TB", UINT64_C(1) << 40},	{"GB", UINT64_C(1) << 30},
	{"MB", UINT64_C(1) << 20},  {"KB", UINT64_C(1) << 10},	{"T", UINT64_C(1) << 40},
	{"G", UINT64_C(1) << 30},   {"M", UINT64_C(1) << 20},	{"K", UINT64_C(1) << 10},
	{"B", 1},		    {"", 1},
};
enum { SIZE_PRINTED = 4 };	/* the first rows are those used for printing */

static const struct unit time_units[] = {
	{"d", UINT64_C(86400000)}, {"h", UINT64_C(3600000)}, {"m", UINT64_C(60000)},
	{"s", UINT64_C(1000)},	   {"ms", 1},
};

/* Reads digits at *p; false when there are none or they overflow. */
static bool read_digits(const char **p, uint64_t *out)
{
	uint64_t v = 0;
	const char *at = *p;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*at - '0'), &v)) {
			return false;
		}
	}
	bool any = at != *p;
	*p = at;
	*out = v;
	return any;
}

enum err units_parse_count(const char *text, uint64_t *out, struct err_detail *d)
{
	const char *p = text;
	if (!read_digits(&p, out) || *p != '\0') {
		return err_set(d, ERR_INVALID, "\"%.64s\" is not a whole number", text);
	}
	return ERR_OK;
}

enum err units_parse_size(const char *text, uint64_t *out, struct err_detail *d)
{
	const char *p = text;
	uint64_t v;
	if (read_digits(&p, &v)) {
		for (size_t i = 0; i < sizeof size_units / sizeof *size_units; i++) {
			if (strcasecmp(p, size_units[i].name) == 0 &&
			    !__builtin_mul_overflow(v, size_units[i].factor, out)) {
				return ERR_OK;
			}
		}
	}
	return err_set(d, ERR_INVALID, "\"%.64s\" is not a size like 64MiB, 512k or 1GB", text);
}

/* The unit named by the letters at *p, which moves past them. */
static const struct unit *read_time_unit(const char **p)
{
	size_t n = strspn(*p, "abcdefghijklmnopqrstuvwxyz");
	for (size_t i = 0; i < sizeof time_units / sizeof *time_units; i++) {
		if (strlen(time_units[i].name) == n && memcmp(*p, time_units[i].name, n) == 0) {
			*p += n;
			return &time_units[i];
		}
	}
	return NULL;
}

enum err units_parse_ms(const char *text, uint64_t *out, struct err_detail *d)
{
	const char *p = text;
	uint64_t sum = 0;
	if (strcmp(text, "0") == 0) {
		*out = 0;
		return ERR_OK;
	}
	while (*p != '\0') {
		uint64_t v;
		const struct unit *unit;
		if (!read_digits(&p, &v) || (unit = read_time_unit(&p)) == NULL ||
		    __builtin_mul_overflow(v, unit->factor, &v) ||
		    __builtin_add_overflow(sum, v, &sum)) {
			break;
		}
		if (*p == '\0') {
			*out = sum;
			return ERR_OK;
		}
	}
	return err_set(d, ERR_INVALID, "\"%.64s\" is not a duration like 500ms, 2s, 1h or 7d",
		       text);
}

static void print_unit(uint64_t v, const struct unit *units, size_t n, const char *plain,
		       char out[UNITS_TEXT])
{
	for (size_t i = 0; v != 0 && i < n; i++) {
		if (v % units[i].factor == 0) {
			(void)snprintf(out, UNITS_TEXT, "%" PRIu64 "%s", v / units[i].factor,
				       units[i].name);
			return;
		}
	}
	(void)snprintf(out, UNITS_TEXT, "%" PRIu64 "%s", v, plain);
}

void units_size_text(uint64_t bytes, char out[UNITS_TEXT])
{
	print_unit(bytes, size_units, SIZE_PRINTED, "", out);
}

void units_ms_text(uint64_t ms, char out[UNITS_TEXT])
{
	print_unit(ms, time_units, sizeof time_units / sizeof *time_units, "", out);
}
