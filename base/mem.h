#ifndef BASE_MEM_H
#define BASE_MEM_H

/* All allocation of the project goes through here, so that tests can make the
 * n-th one fail. Results are NULL on failure; nothing aborts. Any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size);
void *mem_calloc(size_t count, size_t size);	/* zeroed; checks overflow */
void *mem_realloc(void *p, size_t size);	/* on failure `p` is untouched */
void mem_free(void *p);
char *mem_strdup(const char *s);
void *mem_dup(const void *p, size_t size);	/* size 0 gives a 1-byte block */

/* Tests: the n-th allocation from now on (1 = the next) of the calling thread
 * fails once; 0 switches that off. mem_fault_fired tells whether it did. */
void mem_fault_at(long n);
bool mem_fault_fired(void);

#define MEM_NEW(T) ((T *)mem_calloc(1, sizeof(T)))

/* Grows a plain array so that it holds at least `need` items of `size` bytes;
 * doubles. Returns false when memory is short; the array is then untouched. */
bool mem_grow(void **array, size_t *cap, size_t need, size_t size);

#endif
