/* The volume against plain LMDB: groups of G entries of S bytes, the same bytes
 * in both, in turns on the same disk.
 *
 *   bench_volume [size [group [seconds [directory]]]]
 *
 * Plain LMDB: one transaction of G puts (MDB_APPEND) into a fresh file, then its
 * commit. The volume: 2 G entries in flight through volume_append, at most G to a
 * commit. MB/s count the batches' bytes (1 MB = 10^6). */

#include <assert.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/volume/volume.h"

enum { ROUNDS = 4, PARTS = 16, PATH_ROOM = 512 };

static size_t entry_bytes;
static uint32_t group;
static int64_t round_ns;
static char dir[PATH_ROOM];

struct result {
	uint64_t bytes;
	int64_t ns;
	struct hist commits;
};
static struct result raw;
static struct result volume;

static void die(const char *what)
{
	fprintf(stderr, "bench_volume: %s\n", what);
	exit(1);
}

static struct buf *make_batch(void)
{
	struct batch_builder b;
	uint8_t *value = mem_alloc(entry_bytes);
	struct buf *out;
	if (value == NULL) {
		die("out of memory");
	}
	for (size_t i = 0; i < entry_bytes; i++) {
		value[i] = (uint8_t)(i * 2654435761U >> 13);
	}
	struct span part = span_of(value, entry_bytes);
	batch_builder_init(&b, entry_bytes, LIMIT_BATCH + BATCH_HEAD + BATCH_RECORD_MAX);
	batch_builder_add(&b, &part, 1);
	if (batch_builder_finish(&b, &out) != ERR_OK) {
		die("the size is too large");
	}
	batch_seal(out->data, out->len, 1000);
	mem_free(value);
	return out;
}

/* ---- plain LMDB --------------------------------------------------------------- */

static void raw_commit(MDB_env *env, uint64_t *next, const void *value, size_t n)
{
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc = mdb_txn_begin(env, NULL, 0, &txn);
	rc = rc != 0 ? rc : mdb_dbi_open(txn, NULL, 0, &dbi);
	for (uint32_t i = 0; rc == 0 && i < group; i++) {
		uint8_t k[8];
		put_u64(k, (*next)++);
		MDB_val key = {sizeof k, k};
		MDB_val val = {n, (void *)(uintptr_t)value};
		rc = mdb_put(txn, dbi, &key, &val, MDB_APPEND);
	}
	rc = rc != 0 ? rc : mdb_txn_commit(txn);
	if (rc != 0) {
		die(mdb_strerror(rc));
	}
}

static void run_raw(const struct volume_command *command)
{
	char path[PATH_ROOM + 16];
	char lock[PATH_ROOM + 32];
	MDB_env *env;
	snprintf(path, sizeof path, "%s/raw.mdb", dir);
	snprintf(lock, sizeof lock, "%s-lock", path);
	/* As many bytes as the record of one entry. */
	size_t n = (size_t)volume_entry_size(command, 1);
	uint8_t *value = mem_calloc(1, n);
	memcpy(value, command->payload.p, command->payload.n);
	if (mdb_env_create(&env) != 0 || mdb_env_set_mapsize(env, (size_t)64 << 30) != 0 ||
	    mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600) != 0) {
		die("cannot open the plain file");
	}
	uint64_t next = 1;
	int64_t start = clock_mono_ns();
	int64_t now = start;
	while (now - start < round_ns) {
		raw_commit(env, &next, value, n);
		int64_t end = clock_mono_ns();
		hist_add(&raw.commits, (uint64_t)(end - now));
		now = end;
	}
	raw.ns += now - start;
	raw.bytes += (next - 1) * command->payload.n;
	mdb_env_close(env);
	unlink(path);
	unlink(lock);
	mem_free(value);
}

/* ---- the volume ---------------------------------------------------------------- */

static struct volume *v;
static struct mailbox box;
static int64_t next_seq[PARTS];
static uint64_t next_index = 1;
static uint32_t next_part;
static uint32_t in_flight;
static uint64_t done_entries;
static bool is_over;

struct slot {
	struct volume_entry e;
	struct volume_command command;
	struct buf *batch;
};

static void submit(struct slot *s)
{
	uint32_t p = next_part++ % PARTS;
	batch_place(s->batch->data, next_seq[p]);
	s->command.part.partition = p;
	s->command.base_seq = next_seq[p]++;
	s->e.index = next_index++;
	in_flight++;
	volume_append(v, &s->e);
}

static void on_done(struct msg *m)
{
	struct slot *s = (struct slot *)(void *)m;
	done_entries++;
	in_flight--;
	if (!is_over) {
		submit(s);
	}
}

static void run_volume(struct slot *slots)
{
	is_over = false;
	done_entries = 0;
	int64_t start = clock_mono_ns();
	for (uint32_t i = 0; i < 2 * group; i++) {
		submit(&slots[i]);
	}
	while (in_flight > 0) {
		msg_run_all(mailbox_wait(&box, INT64_MAX));
		is_over = clock_mono_ns() - start >= round_ns;
	}
	volume.ns += clock_mono_ns() - start;
	volume.bytes += done_entries * slots[0].batch->len;
}

static void make_slots(struct slot *slots)
{
	for (uint32_t i = 0; i < 2 * group; i++) {
		struct slot *s = &slots[i];
		s->batch = make_batch();
		s->command = (struct volume_command){
			.kind = VOLUME_BATCH,
			.encoding = BATCH_AMQP,
			.part = {.hub_id = 1},
			.count = 1,
			.append_ms = 1000,
			.max_timestamp_ms = 1000,
			.payload = span_of(s->batch->data, s->batch->len),
		};
		s->e = (struct volume_entry){
			.reply_to = &box,
			.done = on_done,
			.term = 1,
			.commands = &s->command,
			.n_commands = 1,
		};
	}
}

/* ---- the figure ----------------------------------------------------------------- */

static double print(const char *name, const struct result *r, const struct hist *commits)
{
	double mb_s = (double)r->bytes / 1e6 / ((double)r->ns / 1e9);
	printf("%-7s %9.1f MB/s  %7.0f commits/s  p50 %7.3f ms  p99 %7.3f ms\n", name, mb_s,
	       (double)hist_count(commits) / ((double)r->ns / 1e9),
	       (double)hist_quantile(commits, 0.5) / 1e6, (double)hist_quantile(commits, 0.99) / 1e6);
	return mb_s;
}

static void remove_volume(void)
{
	char path[PATH_ROOM + 64];
	static const char *const suffixes[] = {".mdb", ".idx"};
	for (unsigned number = 1;; number++) {
		bool had = false;
		for (int i = 0; i < 2; i++) {
			snprintf(path, sizeof path, "%s/segments/%010u%s", dir, number, suffixes[i]);
			had = unlink(path) == 0 || had;
		}
		if (!had) {
			break;
		}
	}
	snprintf(path, sizeof path, "%s/segments", dir);
	rmdir(path);
	rmdir(dir);
}

int main(int argc, char **argv)
{
	entry_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 65536;
	group = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 16;
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 10;
	if (entry_bytes == 0 || entry_bytes > LIMIT_BATCH || group == 0 || group > 65536 ||
	    seconds <= 0) {
		die("usage: bench_volume [size [group [seconds [directory]]]]");
	}
	round_ns = (int64_t)(seconds * 1e9 / (2 * ROUNDS));
	snprintf(dir, sizeof dir, "%s/bench-volume-XXXXXX", argc > 4 ? argv[4] : "/tmp");
	if (mkdtemp(dir) == NULL) {
		die("cannot make a directory");
	}
	mailbox_init(&box, NULL, NULL);
	struct slot *slots = mem_calloc((size_t)2 * group, sizeof *slots);
	make_slots(slots);
	struct err_detail d;
	struct volume_options o = {
		.dir = dir,
		.shards = 1,
		.node_id = 1,
		.commit_max_bytes = group * volume_entry_size(&slots[0].command, 1),
	};
	if (volume_open(&o, &v, &d) != ERR_OK || volume_start(v, &d) != ERR_OK) {
		die(d.text);
	}
	for (int i = 0; i < ROUNDS; i++) {
		run_raw(&slots[0].command);
		run_volume(slots);
	}
	volume_stop(&v);
	remove_volume();
	printf("entries of %zu bytes, groups of %u, %d rounds each\n", entry_bytes, group, ROUNDS);
	double a = print("lmdb", &raw, &raw.commits);
	double b = print("volume", &volume, metric_commit_latency());
	printf("volume / lmdb: %.2f\n", b / a);
	for (uint32_t i = 0; i < 2 * group; i++) {
		buf_drop(&slots[i].batch);
	}
	mem_free(slots);
	mailbox_fini(&box);
	return 0;
}
