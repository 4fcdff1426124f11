#!/usr/bin/env bash
# `make bench`: the daemon under the built-in load generator, TLS and fsync on,
# beside this machine's raw figures of the same run. BENCH_SECONDS (6) a row.
set -u
cd "$(dirname "$0")/../.." || exit 1
make -s -j"$(nproc)" build/sluice bench-bins || exit 1
exec python3 test/bench/run.py "$@"
