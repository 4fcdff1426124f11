#ifndef TEST_FAULT_POWER_OPLOG_H
#define TEST_FAULT_POWER_OPLOG_H

/* The operation log: what a process did to the files below one directory, in one
 * order, as preload.c writes it and sim.c reads it. Host byte order, records padded
 * to 8 bytes. Handles are the log's length when the file was opened, so that they
 * never repeat.
 *
 * Which cut sees what. A cut lies between two records; everything before it has
 * happened as far as the log says.
 *   - Writes, truncations and changes of directories are done and recorded under one
 *     lock, so their order in the log is the order in which they happened. From its
 *     record on a write may or may not be on the disk.
 *   - A sync is two records. What was recorded before SYNC_BEGIN, of the same file or
 *     directory, is on the disk in every cut after SYNC_END; between the two it may be.
 *     A sync that failed has no SYNC_END and covers nothing.
 *   - A write to a descriptor opened with O_DSYNC or O_SYNC is a WRITE with a sync
 *     number and a SYNC_END with the same number, which covers that write alone. No
 *     other sync covers it in between: it was not finished when that one began.
 * The process does not go on before the SYNC_END is in the log, so whoever got an
 * answer from it finds all that answer rests on below the length the log has then. */

#include <stdint.h>

enum { OPLOG_MAGIC = 0x474f4c4f };

enum oplog_kind {
	OPLOG_START = 1,	/* a process begins; the handles before are gone */
	OPLOG_OPEN,		/* path; a: open flags; handle: its handle */
	OPLOG_WRITE,		/* handle; a: offset; b: sync number or 0; data */
	OPLOG_SYNC_BEGIN,	/* handle; b: sync number */
	OPLOG_SYNC_END,		/* b: sync number */
	OPLOG_TRUNCATE,		/* handle; a: size */
	OPLOG_ALLOCATE,		/* handle; a: size the file has at least */
	OPLOG_RENAME,		/* path, path2 */
	OPLOG_LINK,		/* path, path2 */
	OPLOG_UNLINK,		/* path */
	OPLOG_MKDIR,		/* path */
	OPLOG_RMDIR,		/* path */
};

struct oplog_head {
	uint32_t magic;
	uint32_t total;		/* with this head, rounded up to 8 */
	uint32_t kind;
	uint32_t path_len;	/* without a NUL; relative to the root */
	uint32_t path2_len;
	uint32_t data_len;
	uint64_t handle;
	uint64_t a;
	uint64_t b;
};

/* The four bytes of the control file, which the library maps. */
enum oplog_control {
	CONTROL_RUN = 0,
	CONTROL_DIE = 1,	/* end without a word before the next operation */
	CONTROL_FAIL = 2,	/* faults are on */
};

#endif
