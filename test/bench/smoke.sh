#!/usr/bin/env bash
# The load generator and the raw figure work; nothing is judged by its speed.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
server_start --hub bench:4 || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
for mode in "--mode batch" "--mode single --size 100" "--protocol https" "--mode batch --rate 2000" \
	"--protocol kafka" "--protocol kafka --mode single --size 100 --idempotent" "--protocol kafka --mode read"; do
	# shellcheck disable=SC2086
	check "bench $mode" "$SLUICE_BIN" bench --data "$DATA" --hub bench --duration 1s --json $mode
	grep -q '"errors":0' "$WORK_DIR/out" && ok "no errors" || not_ok "no errors" "$(head -c 300 "$WORK_DIR/out")"
done
check "raw figure" build/release/bench/bench_raw "$WORK_DIR" 65520 4 0.5
server_stop || not_ok "server stops" "status $?"
finish
