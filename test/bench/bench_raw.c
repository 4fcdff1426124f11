/* The machine's raw figure: durable LMDB commits of a fresh file, keys appended,
 * one thread, nothing else. Prints one line of JSON.
 *
 *   bench_raw DIR VALUE_BYTES VALUES_PER_COMMIT SECONDS [MB_PER_S]
 *
 * With MB_PER_S the commits are paced evenly at that offered rate, and latency
 * counts from the planned time. 1 MB = 1,048,576 bytes. */

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hist.h"

static struct hist latency;

static void must(int r, const char *what)
{
	if (r != 0) {
		fprintf(stderr, "bench_raw: %s: %s\n", what, mdb_strerror(r));
		exit(1);
	}
}

static void wait_until(int64_t at_ns)
{
	int64_t left = at_ns - clock_mono_ns();
	if (left > 0) {
		struct timespec ts = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
		nanosleep(&ts, NULL);
	}
}

static MDB_env *open_env(const char *path, MDB_dbi *dbi)
{
	MDB_env *env;
	MDB_txn *txn;
	must(mdb_env_create(&env), "create");
	must(mdb_env_set_mapsize(env, (size_t)64 << 30), "mapsize");
	must(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600), "open");
	must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	must(mdb_dbi_open(txn, NULL, 0, dbi), "dbi");
	must(mdb_txn_commit(txn), "commit");
	return env;
}

static void commit_one(MDB_env *env, MDB_dbi dbi, uint64_t *key, const uint8_t *value, size_t size,
		       int group)
{
	MDB_txn *txn;
	must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	for (int i = 0; i < group; i++) {
		uint8_t k[8];
		put_u64(k, (*key)++);
		MDB_val kv = {sizeof k, k};
		MDB_val vv = {size, NULL};
		must(mdb_put(txn, dbi, &kv, &vv, MDB_APPEND | MDB_RESERVE), "put");
		memcpy(vv.mv_data, value, size);
	}
	must(mdb_txn_commit(txn), "commit");
}

int main(int argc, char **argv)
{
	if (argc < 5) {
		fprintf(stderr, "usage: bench_raw DIR VALUE_BYTES VALUES_PER_COMMIT SECONDS [MB_PER_S]\n");
		return 2;
	}
	size_t size = (size_t)strtoull(argv[2], NULL, 10);
	int group = atoi(argv[3]);
	double seconds = atof(argv[4]);
	double rate = argc > 5 ? atof(argv[5]) : 0;
	char path[4096];
	snprintf(path, sizeof path, "%s/raw.mdb", argv[1]);
	uint8_t *value = calloc(1, size + 1);
	if (value == NULL || size == 0 || group <= 0) {
		return 2;
	}
	MDB_dbi dbi;
	MDB_env *env = open_env(path, &dbi);
	double per_commit = (double)size * group;
	int64_t step_ns = rate > 0 ? (int64_t)(per_commit / (rate * 1048576) * 1e9) : 0;
	int64_t start = clock_mono_ns();
	int64_t cpu = clock_cpu_ns();
	int64_t due = start;
	uint64_t key = 0;
	uint64_t commits = 0;
	while (clock_mono_ns() - start < (int64_t)(seconds * 1e9)) {
		if (step_ns != 0) {
			wait_until(due);
		} else {
			due = clock_mono_ns();
		}
		commit_one(env, dbi, &key, value, size, group);
		hist_add(&latency, (uint64_t)(clock_mono_ns() - due));
		due += step_ns;
		commits++;
	}
	double took = (double)(clock_mono_ns() - start) / 1e9;
	printf("{\"mbPerSecond\":%.2f,\"commitsPerSecond\":%.1f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"maxMs\":%.3f,"
	       "\"cpuSeconds\":%.3f,\"seconds\":%.3f}\n",
	       (double)commits * per_commit / 1048576 / took, (double)commits / took,
	       (double)hist_quantile(&latency, 0.5) / 1e6, (double)hist_quantile(&latency, 0.99) / 1e6,
	       (double)hist_quantile(&latency, 1) / 1e6,
	       (double)(clock_cpu_ns() - cpu) / 1e9, took);
	mdb_env_close(env);
	unlink(path);
	strncat(path, "-lock", sizeof path - strlen(path) - 1);
	unlink(path);
	free(value);
	return 0;
}
