#!/usr/bin/env bash
# A disk that errs or is full, file by file. SLUICE_SEED repeats a run's load.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
make -s power-bins || { not_ok "disk errors: the tools build"; finish; }
timeout 280 /usr/bin/python3 test/fault/disk_error.py "$SLUICE_BIN" "$PWD/build/release/fault/power.so" \
	"$WORK_DIR" || FAILED=1
finish
