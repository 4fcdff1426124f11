#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"

static atomic_int least_level = LOG_INFO;
static atomic_bool as_json;
static _Atomic(log_sink_fn *) sink_fn;
static void *_Atomic sink_arg;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level least, bool json)
{
	atomic_store(&least_level, (int)least);
	atomic_store(&as_json, json);
}

bool log_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

void log_sink(log_sink_fn *fn, void *arg)
{
	atomic_store(&sink_arg, arg);
	atomic_store(&sink_fn, fn);
}

/* JSON string escaping of the already sanitised text; returns bytes written. */
static size_t json_escape(char *out, size_t size, const char *in)
{
	size_t n = 0;
	for (; *in != '\0' && n + 7 < size; in++) {
		unsigned char c = (unsigned char)*in;
		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = (char)c;
		} else if (c < 0x20) {
			n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
		} else {
			out[n++] = (char)c;
		}
	}
	out[n] = '\0';
	return n;
}

static void emit(enum log_level level, const char *id, const char *text)
{
	char when[CLOCK_ISO_MAX];
	clock_iso(clock_wall_ms(), when);
	char line[3072];
	int n;
	if (atomic_load(&as_json)) {
		char esc[2600];
		json_escape(esc, sizeof esc, text);
		n = snprintf(line, sizeof line,
			     "{\"time\":\"%s\",\"level\":\"%s\",\"id\":\"%s\",\"text\":\"%s\"}\n", when,
			     level_names[level], id, esc);
	} else {
		n = snprintf(line, sizeof line, "%s %-5s %s %s\n", when, level_names[level], id,
			     text);
	}
	if (n < 0) {
		return;
	}
	size_t len = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
	line[len - 1] = '\n';
	log_sink_fn *fn = atomic_load(&sink_fn);
	if (fn != NULL) {
		fn(atomic_load(&sink_arg), level, line);
		return;
	}
	/* A log that cannot be written has nowhere to complain. */
	ssize_t done = write(STDERR_FILENO, line, len);
	(void)done;
}

void log_write(enum log_level level, const char *id, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	emit(level, id, text);
}

bool log_limit_pass(struct log_limit *limit, enum log_level level, const char *id)
{
	long long now = clock_mono_ms() / 1000;
	long long then = atomic_load(&limit->second);
	if (then != now && atomic_compare_exchange_strong(&limit->second, &then, now)) {
		unsigned left_out = atomic_exchange(&limit->left_out, 0);
		atomic_store(&limit->written, 0);
		if (left_out > 0) {
			log_write(level, id, "left_out=%u lines like this one", left_out);
		}
	}
	if (atomic_fetch_add(&limit->written, 1) < LOG_LIMIT_PER_SECOND) {
		return true;
	}
	atomic_fetch_add(&limit->left_out, 1);
	return false;
}

void log_fatal(const char *id, const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	emit(LOG_ERROR, id, text);
	_exit(1);
}

struct log_quoted log_quote_span(struct span s)
{
	struct log_quoted q;
	size_t n = 0;
	q.text[n++] = '"';
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		if (n > 240) {
			memcpy(q.text + n, "...", 3);
			n += 3;
			break;
		}
		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			q.text[n++] = (char)c;
		} else {
			n += (size_t)snprintf(q.text + n, sizeof q.text - n, "\\x%02x", c);
		}
	}
	q.text[n++] = '"';
	q.text[n] = '\0';
	return q;
}
