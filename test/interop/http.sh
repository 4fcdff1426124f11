#!/usr/bin/env bash
# curl against a real server.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

server_start || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
check "hub create" cli hub create web --partitions 4
check "hub create" cli hub create other --partitions 1
check "policy create" cli policy create listener --hub web --rights listen
cs=$(cli connection-string)
token=$(cli token --hub web)
base=https://localhost:${HTTPS##*:}

# status NAME WANTED curl-arguments...
status() {
	local name=$1 want=$2
	shift 2
	local got
	got=$(curl -sS --max-time 20 --cacert "$CA" -o "$WORK_DIR/body" -D "$WORK_DIR/head" -w '%{http_code}' "$@" 2>"$WORK_DIR/err")
	if [ "$got" = "$want" ]; then
		ok "$name"
	else
		not_ok "$name" "got $got, wanted $want: $(head -c 200 "$WORK_DIR/body") $(cat "$WORK_DIR/err")"
	fi
}
body_has() { # NAME PATTERN
	if grep -q "$2" "$WORK_DIR/body"; then ok "$1"; else not_ok "$1" "$(head -c 300 "$WORK_DIR/body")"; fi
}
batch='Content-Type: application/vnd.microsoft.servicebus.json'

status "one event" 201 -H "Authorization: $token" -H 'X-Colour: red' -d 'hello' "$base/web/messages?timeout=60&api-version=2014-01"
status "one event to a partition" 201 -H "Authorization: $token" --data-binary 'to 2' "$base/web/partitions/2/messages"
status "one event with a partition key" 201 -H "Authorization: $token" -H 'BrokerProperties: {"PartitionKey":"hello"}' -d 'keyed' "$base/web/messages"
status "a batch" 201 -H "Authorization: $token" -H "$batch" -d '[{"Body":"a","UserProperties":{"n":1,"f":1.5,"b":true}},{"Body":"b"}]' "$base/web/partitions/1/messages"
status "a batch with one key" 201 -H "Authorization: $token" -H "$batch" -d '[{"Body":"k1","BrokerProperties":{"PartitionKey":"hello"}},{"Body":"k2","BrokerProperties":{"PartitionKey":"hello"}}]' "$base/web/messages"
status "basic authentication" 201 -u "RootManageSharedAccessKey:$(printf '%s' "$cs" | sed 's/.*SharedAccessKey=\([^;]*\).*/\1/')" -d x "$base/web/messages"

events=$(cli receive web --from earliest --json)
count=$(printf '%s\n' "$events" | grep -c sequenceNumber)
[ "$count" = 8 ] && ok "all eight are read" || not_ok "all eight are read" "$count"
printf '%s' "$events" | grep '"partition":"\?2' | grep -q 'to 2' && ok "the partition is right" || not_ok "the partition is right" "$events"
[ "$(printf '%s\n' "$events" | grep '"partition":"\?3' | grep -c hello)" -ge 3 ] && ok "keys go where the service puts them" || not_ok "keys go where the service puts them" "$events"

status "different keys in a batch" 400 -H "Authorization: $token" -H "$batch" -d '[{"Body":"a","BrokerProperties":{"PartitionKey":"x"}},{"Body":"b","BrokerProperties":{"PartitionKey":"y"}}]' "$base/web/messages"
body_has "the item is named" '1'
body_has "a tracking id is given" trackingId
status "malformed JSON" 400 -H "Authorization: $token" -H "$batch" -d '[{"Body":' "$base/web/messages"
status "an empty batch" 400 -H "Authorization: $token" -H "$batch" -d '[]' "$base/web/messages"
status "no token" 401 -d x "$base/web/messages"
status "a wrong token" 401 -H "Authorization: ${token/sig=/sig=A}" -d x "$base/web/messages"
expiring=$(cli token --hub web --ttl 1s)
status "a token for another hub" 401 -H "Authorization: $(cli token --hub other)" -d x "$base/web/messages"
listen=$(cli connection-string --hub web --policy listener)
status "a Listen-only policy" 401 -H "Authorization: $("$SLUICE_BIN" token --hub web --connection-string "$listen")" -d x "$base/web/messages"
status "an unknown hub" 404 -H "Authorization: $(cli token)" -d x "$base/nowhere/messages"
status "an unknown partition" 400 -H "Authorization: $token" -d x "$base/web/partitions/77/messages"
status "a wrong method" 405 -H "Authorization: $token" -X PUT -d x "$base/web/messages"
head -c 1100000 /dev/zero >"$WORK_DIR/big"
status "too large" 413 -H "Authorization: $token" --data-binary @"$WORK_DIR/big" "$base/web/messages"
status "nearly too large" 201 -H "Authorization: $token" --data-binary @<(head -c 1000000 /dev/zero) "$base/web/messages"

sleep 2
status "an expired token" 401 -H "Authorization: $expiring" -d x "$base/web/messages"
body_has "it is called expired" ExpiredToken

status "live" 200 "http://$METRICS/health/live"
status "ready" 200 "http://$METRICS/health/ready"
status "metrics" 200 "http://$METRICS/metrics"
body_has "metrics count events" '^sluice_incoming_events_total [1-9]'
status "health without authentication on the HTTPS port" 200 "$base/health/ready"
status "metrics need a token on the HTTPS port" 401 "$base/metrics"
status "metrics with a token" 200 -H "Authorization: $(cli token)" "$base/metrics"
status "the API describes itself" 200 -H "Authorization: $(cli token)" "$base/\$management/v1/openapi.json"

# Bytes that are not HTTP, and plain HTTP on the TLS port, hurt nobody.
printf 'garbage\r\n\r\n' | timeout 5 openssl s_client -quiet -connect "$HTTPS" -CAfile "$CA" >/dev/null 2>&1
curl -s --max-time 5 "http://$HTTPS/" >/dev/null 2>&1
status "still serving" 201 -H "Authorization: $token" -d 'after' "$base/web/messages"
server_stop || not_ok "server stops" "status $?"
finish
