#!/usr/bin/env bash
# curl against a real server: the checks in http/, then what came in is read back.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

server_start --hub web:4 --hub checks:2 || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
SLUICE_CS=$(cli connection-string)
export SLUICE_CS SLUICE_BIN SLUICE_CA=$CA SLUICE_HTTPS=localhost:${HTTPS##*:} SLUICE_METRICS=$METRICS
for f in test/interop/http/0*.sh; do
	SLUICE_HUB=checks timeout 100 bash "$f" || FAILED=1
done

post() { # what, path, curl-arguments...
	local name=$1 path=$2
	shift 2
	check "$name" curl -sSf --max-time 20 --cacert "$CA" -H "Authorization: $token" "$@" "https://$SLUICE_HTTPS/web/$path"
}
token=$(cli token --hub web)
batch='Content-Type: application/vnd.microsoft.servicebus.json'
post "one event" messages -H 'X-Colour: red' -d 'hello'
post "one event to a partition" partitions/2/messages --data-binary 'to 2'
post "one event with a key" messages -H 'BrokerProperties: {"PartitionKey":"hello"}' -d 'keyed'
post "a batch" partitions/1/messages -H "$batch" -d '[{"Body":"a","UserProperties":{"n":1,"f":1.5,"b":true}},{"Body":"b"}]'
post "a batch with one key" messages -H "$batch" \
	-d '[{"Body":"k1","BrokerProperties":{"PartitionKey":"hello"}},{"Body":"k2","BrokerProperties":{"PartitionKey":"hello"}}]'
post "nearly a megabyte" partitions/0/messages --data-binary @<(head -c 1000000 /dev/zero | tr '\0' x)

events=$(cli receive web --from earliest --json)
has() { # NAME PATTERN...: some event has all of them
	local name=$1 found=$events p
	shift
	for p in "$@"; do found=$(grep -E "$p" <<<"$found"); done
	[ -n "$found" ] && ok "$name" || not_ok "$name" "$(cut -c1-300 <<<"$events" | head -n 8)"
}
[ "$(grep -c sequenceNumber <<<"$events")" = 8 ] && ok "all eight are read" || not_ok "all eight are read" "$(wc -l <<<"$events")"
has "the partition is right" '"partition": ?"?2"?[,}]' 'to 2'
# From the service's own hash: "hello" of 4 partitions is 2839 % 4 = 3.
has "a key goes where the service puts it" '"partition": ?"?3"?[,}]' 'keyed' '"partitionKey": ?"hello"'
has "headers are properties" 'hello' 'red'
has "properties keep their JSON types" '"n": ?1[,}]' '"f": ?1.5' '"b": ?true'

# Bytes that are not HTTP, and plain HTTP on the TLS port, hurt nobody.
printf 'garbage\r\n\r\n' | timeout 5 openssl s_client -quiet -connect "$HTTPS" -CAfile "$CA" >/dev/null 2>&1
curl -s --max-time 5 "http://$HTTPS/" >/dev/null 2>&1
post "still serving" messages -d 'after'
server_stop || not_ok "server stops" "status $?"
finish
