#!/usr/bin/env bash
# JavaScript clients against a real server.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

js=build/interop/js
cp test/interop/js/*.mjs "$js/"
server_start || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
for h in js-sdk:4 js-many:2 js-owners:3 js-shared:4 js-generic:4; do
	check "hub create ${h%%:*}" cli hub create "${h%%:*}" --partitions "${h##*:}"
done
check "group create" cli group create js-sdk audit
check "group create" cli group create js-owners audit
check "policy create" cli policy create sender --hub js-sdk --rights send

SLUICE_CS=$(cli connection-string)
SLUICE_CS_PLAIN=$(cli connection-string --emulator)
SLUICE_CS_SEND=$(cli connection-string --hub js-sdk --policy sender | sed 's/;EntityPath=[^;]*//')
SLUICE_KEY=$(printf '%s' "$SLUICE_CS" | sed 's/.*SharedAccessKey=\([^;]*\).*/\1/')
export SLUICE_CS SLUICE_CS_PLAIN SLUICE_CS_SEND SLUICE_KEY SLUICE_CA=$CA NODE_EXTRA_CA_CERTS=$CA
for f in sdk owners generic; do
	(cd "$js" && timeout 240 node "$f.mjs") || FAILED=1
done
server_stop || not_ok "server stops" "status $?"
finish
