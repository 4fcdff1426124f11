#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct err_info infos[] = {
#define ERR(name, text, amqp, status, code, kafka, retry)                      \
	[ERR_##name] = {#name, text, amqp, status, code, kafka, retry},
#include "base/err.def"
#undef ERR
};
_Static_assert(sizeof infos / sizeof *infos == ERR__COUNT, "one row per error");

const struct err_info *err_info(enum err e)
{
	if ((unsigned)e >= ERR__COUNT) {
		e = ERR_INTERNAL;
	}
	return &infos[e];
}

enum err err_set(struct err_detail *d, enum err e, const char *fmt, ...)
{
	if (d != NULL) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(d->text, sizeof d->text, fmt, ap);
		va_end(ap);
	}
	return e;
}

void err_wrap(struct err_detail *d, const char *fmt, ...)
{
	if (d == NULL) {
		return;
	}
	char old[ERR_DETAIL_MAX];
	memcpy(old, d->text, sizeof old);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(d->text, sizeof d->text, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n + 2 < sizeof d->text && old[0] != '\0') {
		size_t left = sizeof d->text - (size_t)n;
		snprintf(d->text + n, left, ": %.*s", (int)(left - 3), old);
	}
}
