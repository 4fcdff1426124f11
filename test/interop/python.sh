#!/usr/bin/env bash
# Python clients of Debian: azure-eventhub, python-qpid-proton, and bare sockets
# that break the rules. The SDK always uses port 5671, so the server listens there
# on a loopback address of its own.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).1
server_start --amqps "$address:5671" --hub sdk:3 --hub proton:2 --hub hostile:2 ||
	{ not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
SLUICE_CS=$("$SLUICE_BIN" connection-string --data "$DATA" | sed "s#//localhost[:0-9]*/#//$address/#")
export SLUICE_CS SLUICE_CA=$CA
run() { SLUICE_HUB=$1 timeout 150 /usr/bin/python3 "test/interop/amqp/$2.py" || FAILED=1; }
run sdk azure_python
run proton proton_client
run hostile hostile
server_stop || not_ok "server stops" "status $?"
finish
