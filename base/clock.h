#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

/* Time. Pure machines take time as an argument; only loops ask here. */

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ns(void);
static inline int64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}
/* Milliseconds since 1970-01-01 UTC. Tests may shift it. */
int64_t clock_wall_ms(void);
/* Tests only: adds to every later clock_wall_ms of the process. */
void clock_wall_shift_ms(int64_t shift_ms);
/* CPU time of the whole process. */
int64_t clock_cpu_ns(void);

enum { CLOCK_ISO_MAX = 32 };
/* "2026-01-31T12:00:00.123Z". `out` has CLOCK_ISO_MAX bytes. */
void clock_iso(int64_t wall_ms, char *out);

#endif
