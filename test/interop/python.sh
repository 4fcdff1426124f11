#!/usr/bin/env bash
# Python clients of Debian: azure-eventhub and python-qpid-proton. The SDK always
# uses port 5671, so the server listens there on a loopback address of its own.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).1
server_start --amqps "$address:5671" || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
check "hub create py-sdk" cli hub create py-sdk --partitions 4
check "hub create py-proton" cli hub create py-proton --partitions 2
check "policy create" cli policy create listener --hub py-sdk --rights listen

SLUICE_CS=$(cli connection-string | sed "s#//localhost[:0-9]*/#//$address/#")
SLUICE_CS_LISTEN=$(cli connection-string --hub py-sdk --policy listener | sed "s#//localhost[:0-9]*/#//$address/#")
export SLUICE_CS SLUICE_CS_LISTEN SLUICE_CA=$CA SLUICE_ADDRESS=$address
for f in sdk generic; do
	timeout 150 /usr/bin/python3 "test/interop/py/$f.py" || FAILED=1
done
server_stop || not_ok "server stops" "status $?"
finish
