#!/usr/bin/env bash
# Writers and readers of three protocols on one hub, and kill -9 now and then.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
seconds=40
[ "${1:-}" = long ] && seconds=1200
/usr/bin/python3 test/fault/kafka_mixed.py "$SLUICE_BIN" "$WORK_DIR" "$seconds" || FAILED=1
finish
