#ifndef TEST_LIB_FAKE_PWRITE_H
#define TEST_LIB_FAKE_PWRITE_H

/* Takes the place of pwrite(2) and pwritev(2), with which LMDB writes, in the test's
 * program: of the calling thread's writes the n-th from now on (1 = the next) fails, or
 * ends the process before it; 0 switches that off. */

#include <stdbool.h>

void fake_pwrite_fail_at(long n, int with_errno);
void fake_pwrite_exit_at(long n);
bool fake_pwrite_fired(void);

#endif
