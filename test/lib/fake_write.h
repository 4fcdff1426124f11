#ifndef TEST_LIB_FAKE_WRITE_H
#define TEST_LIB_FAKE_WRITE_H

/* Takes the place of write(2) in the test's program: of the calling thread's writes
 * the n-th from now on (1 = the next) fails, or ends the process before or in the
 * middle of it; 0 switches that off. */

#include <stdbool.h>

void fake_write_fail_at(long n, int with_errno);
void fake_write_exit_at(long n);
bool fake_write_fired(void);

#endif
