#ifndef BASE_LOG_H
#define BASE_LOG_H

/* The log: one line per event on standard error, `key=value` or JSON.
 *
 * Levels by who must act: error = the operator, now; warn = the operator, some
 * day, or a client that misbehaves; info = nobody, what the daemon did;
 * debug = a developer. Every line has a stable message id (upper-case words
 * joined by '-'), then `key=value` pairs written by the caller. Values that
 * come from outside go through log_quote. Any thread; a line is written by one
 * write(2). */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_setup(enum log_level least, bool json);
bool log_on(enum log_level level);
void log_write(enum log_level level, const char *id, const char *fmt, ...) PRINTF(3, 4);

#define log_at(level, id, ...)                                                 \
	do {                                                                   \
		if (log_on(level)) {                                           \
			log_write(level, id, __VA_ARGS__);                     \
		}                                                              \
	} while (0)
#define log_debug(id, ...) log_at(LOG_DEBUG, id, __VA_ARGS__)
#define log_info(id, ...) log_at(LOG_INFO, id, __VA_ARGS__)
#define log_warn(id, ...) log_at(LOG_WARN, id, __VA_ARGS__)
#define log_error(id, ...) log_at(LOG_ERROR, id, __VA_ARGS__)

/* For lines that a misbehaving client can cause as often as it likes: at most
 * LOG_LIMIT_PER_SECOND of each place in the code and second are written; a line
 * with the same id tells how many were left out. */
enum { LOG_LIMIT_PER_SECOND = 50 };
struct log_limit {
	_Atomic long long second;
	atomic_uint written;
	atomic_uint left_out;
};
bool log_limit_pass(struct log_limit *limit, enum log_level level, const char *id);
#define log_limited(level, id, ...)                                            \
	do {                                                                   \
		static struct log_limit limit_;                                \
		if (log_on(level) && log_limit_pass(&limit_, level, id)) {     \
			log_write(level, id, __VA_ARGS__);                     \
		}                                                              \
	} while (0)

/* Renders foreign text as a quoted value: printable ASCII kept, the rest as
 * \xNN, cut after about 200 characters. */
struct log_quoted {
	char text[256];
};
struct log_quoted log_quote_span(struct span s);
#define log_quote(s) (log_quote_span(span_str(s)).text)

/* One line on standard error and exit status 1: for what the process cannot
 * survive (a failed sync, a full start-up). Does not return, runs no handlers. */
void log_fatal(const char *id, const char *fmt, ...) PRINTF(2, 3) __attribute__((noreturn));

/* Tests: lines go to `fn` instead of standard error; NULL restores. */
typedef void log_sink_fn(void *arg, enum log_level level, const char *line);
void log_sink(log_sink_fn *fn, void *arg);

#endif
