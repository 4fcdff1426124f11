#!/usr/bin/env bash
# kill -9 (and SIGTERM) under load, again and again; everything is read back.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
rounds=6
[ "${1:-}" = long ] && rounds=200
/usr/bin/python3 test/fault/kill.py "$SLUICE_BIN" "$WORK_DIR" "$rounds" || FAILED=1
finish
