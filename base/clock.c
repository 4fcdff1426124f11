#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_llong wall_shift_ms;

static int64_t read_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return read_ns(CLOCK_REALTIME) / 1000000 + atomic_load(&wall_shift_ms);
}

void clock_wall_shift_ms(int64_t shift_ms)
{
	atomic_fetch_add(&wall_shift_ms, shift_ms);
}

int64_t clock_cpu_ns(void)
{
	return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_iso(int64_t wall_ms, char *out)
{
	int64_t ms = ((wall_ms % 1000) + 1000) % 1000;
	time_t s = (time_t)((wall_ms - ms) / 1000);
	struct tm tm;
	gmtime_r(&s, &tm);
	size_t n = strftime(out, CLOCK_ISO_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, CLOCK_ISO_MAX - n, ".%03dZ", (int)ms);
}
