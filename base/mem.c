#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static _Thread_local long fault_countdown;
static _Thread_local bool fault_fired;

static bool fault(void)
{
	if (fault_countdown == 0) {
		return false;
	}
	if (--fault_countdown > 0) {
		return false;
	}
	fault_fired = true;
	return true;
}

void mem_fault_at(long n)
{
	fault_countdown = n;
	fault_fired = false;
}

bool mem_fault_fired(void)
{
	return fault_fired;
}

void *mem_alloc(size_t size)
{
	return fault() ? NULL : malloc(size != 0 ? size : 1);
}

void *mem_calloc(size_t count, size_t size)
{
	return fault() ? NULL : calloc(count != 0 ? count : 1, size != 0 ? size : 1);
}

void *mem_realloc(void *p, size_t size)
{
	return fault() ? NULL : realloc(p, size != 0 ? size : 1);
}

void mem_free(void *p)
{
	free(p);
}

char *mem_strdup(const char *s)
{
	return mem_dup(s, strlen(s) + 1);
}

void *mem_dup(const void *p, size_t size)
{
	void *copy = mem_alloc(size);
	if (copy != NULL && size != 0) {
		memcpy(copy, p, size);
	}
	return copy;
}

bool mem_grow(void **array, size_t *cap, size_t need, size_t size)
{
	if (need <= *cap) {
		return true;
	}
	size_t n = *cap != 0 ? *cap : 8;
	while (n < need) {
		if (n > SIZE_MAX / 2) {
			return false;
		}
		n *= 2;
	}
	if (n > SIZE_MAX / size) {
		return false;
	}
	void *p = mem_realloc(*array, n * size);
	if (p == NULL) {
		return false;
	}
	*array = p;
	*cap = n;
	return true;
}
