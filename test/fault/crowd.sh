#!/usr/bin/env bash
# A thousand senders that stop in the middle of a message and a thousand half-open
# connections: memory stays within the budget and everybody else is served.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
ulimit -n 16384 2>/dev/null
server_start --hub crowd:2 --max-inflight-bytes 64MiB --max-unauthenticated-per-address 2000 ||
	{ not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
SLUICE_CS=$("$SLUICE_BIN" connection-string --data "$DATA")
export SLUICE_CS
timeout 200 /usr/bin/python3 test/fault/crowd.py "$SERVER_PID" "$AMQP" "$AMQPS" "$SLUICE_BIN" "$DATA" || FAILED=1
server_stop || not_ok "server stops" "status $?"
finish
