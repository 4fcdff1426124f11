#ifndef BASE_ERR_H
#define BASE_ERR_H

/* Errors of the whole project.
 *
 * Every function that can fail returns `enum err` (0 = ERR_OK) and is marked
 * MUST_CHECK; results go through out-parameters. Foreign codes (errno, MDB_*,
 * pn_*, MHD_*) are translated where they arise, in one function per library.
 * The rows, with their meaning in each protocol, stand in err.def. */

#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

enum err {
#define ERR(name, text, amqp, status, code, kafka, retry) ERR_##name,
#include "base/err.def"
#undef ERR
	ERR__COUNT
};

/* What an error is called in each protocol; never NULL for a valid error. */
struct err_info {
	const char *name;	/* "NOT_FOUND" */
	const char *text;
	const char *amqp;	/* condition symbol */
	int http_status;
	const char *http_code;
	int kafka_code;
	bool retry;
};

/* Any thread. An unknown value gives the row of ERR_INTERNAL. */
const struct err_info *err_info(enum err e);
static inline const char *err_text(enum err e)
{
	return err_info(e)->text;
}

enum { ERR_DETAIL_MAX = 512 };

/* Detail text that travels up beside an error: what was wrong with what.
 * An empty text is valid. */
struct err_detail {
	char text[ERR_DETAIL_MAX];
};

/* Writes the detail (truncating) and returns `e`, so that a failure reads
 * `return err_set(d, ERR_INVALID, "..."); `. `d` may be NULL. */
enum err err_set(struct err_detail *d, enum err e, const char *fmt, ...) PRINTF(3, 4);
/* Puts "prefix: " before the present text. `d` may be NULL. */
void err_wrap(struct err_detail *d, const char *fmt, ...) PRINTF(2, 3);

#endif
