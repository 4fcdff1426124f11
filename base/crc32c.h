#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

/* CRC-32C (Castagnoli), as in RecordBatch v2 and all of our records. */

#include <stddef.h>
#include <stdint.h>

/* crc32c(0, p, n) is the checksum of a whole; to continue over a second piece
 * pass the first result. Hardware is used where the CPU has it. Any thread. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
