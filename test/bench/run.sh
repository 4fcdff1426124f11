#!/usr/bin/env bash
# `make bench`: the daemon under the built-in load generator, TLS and fsync on,
# beside this machine's raw figures of the same run, and for Kafka's protocol beside
# a real Apache Kafka, where Java and Maven are. BENCH_SECONDS (6) a row. An argument
# picks rows: run.sh "Kafka produce 1024 x 16". `run.sh throttle` runs the rows about
# throughput units alone; its own arguments: run.sh throttle --help.
set -u
cd "$(dirname "$0")/../.." || exit 1
make -s -j"$(nproc)" build/sluice bench-bins || exit 1
exec python3 test/bench/run.py "$@"
