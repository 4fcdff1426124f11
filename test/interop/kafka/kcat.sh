#!/usr/bin/env bash
# kcat against a server; `resume` is what must still hold after the server was
# killed and started again. The environment says where the server is.
FAILED=0
OUT=$(mktemp -d "${TMPDIR:-/tmp}/sluice-kcat.XXXXXX")
trap 'rm -rf "$OUT"' EXIT
name=${KAFKA_NAME:-kcat}
data=${KAFKA_PREFIX:-}$name-data
once=${KAFKA_PREFIX:-}$name-once

ok() { echo "ok $name: $1"; }
not_ok() {
	echo "not ok $name: $1 $(tr '\n' ' ' <<<"${2:-}" | head -c 300)"
	FAILED=1
}
# client USER PASSWORD ARGUMENTS...
client() {
	local user=$1 password=$2
	shift 2
	if [ -n "${KAFKA_TLS:-}" ]; then
		set -- -b "$KAFKA_TLS" -X security.protocol=SASL_SSL -X ssl.ca.location="$KAFKA_CA" "$@"
	else
		set -- -b "$KAFKA_PLAIN" -X security.protocol=SASL_PLAINTEXT "$@"
	fi
	timeout 20 kcat -X sasl.mechanism=PLAIN -X sasl.username="$user" -X sasl.password="$password" "$@" 2>"$OUT/err"
}
k() { client "$KAFKA_USER" "$KAFKA_PASSWORD" "$@"; }
same() { # NAME WANTED GOT
	if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got $3, not $2; $(tail -n 3 "$OUT/err")"; fi
}
fails() { # NAME PATTERN COMMAND...: must say the pattern on its way out
	local what=$1 pattern=$2
	shift 2
	"$@" >"$OUT/out"
	if grep -qE "$pattern" "$OUT/err" "$OUT/out"; then ok "$what"; else not_ok "$what" "$(cat "$OUT/err")"; fi
}
query() { k -Q -t "$data:$1:-1" | grep -oE 'offset [0-9]+' | cut -d' ' -f2; }

if [ "${1:-}" = resume ]; then
	same "committed offsets are there after the server was killed" "three four" \
		"$(k -q -G "$once-reader" -e -X auto.offset.reset=earliest -f '%s\n' "$once" | xargs)"
	exit $FAILED
fi

k -L >"$OUT/list"
if grep -q "topic \"$data\" with 4 partitions" "$OUT/list" && grep -q '(controller)' "$OUT/list"; then
	ok "connects and lists"
else
	not_ok "connects and lists" "$(cat "$OUT/err")"
fi
if [ -n "${KAFKA_TLS:-}" ]; then
	client "$KAFKA_POLICY" "$KAFKA_KEY" -L >"$OUT/list"
	same "connects with a policy's name and key" 1 "$(grep -c "topic \"$data\" with 4" "$OUT/list")"
fi
for codec in none gzip snappy lz4 zstd; do
	start=$(query 0)
	for i in $(seq 40); do echo "key$i=$codec $i squeeze me squeeze me squeeze me squeeze me"; done |
		k -P -t "$data" -p 0 -K= -z "$codec" -H colour=red -H n=1 || cat "$OUT/err"
	k -C -q -t "$data" -p 0 -o "${start:-0}" -e -f '%o %k %h %s\n' >"$OUT/got"
	same "codec $codec, keys, headers" "40 $((start + 39)) key40 colour=red,n=1 $codec 40 squeeze me squeeze me squeeze me squeeze me" \
		"$(grep -c " key.* colour=red,n=1 $codec " "$OUT/got") $(tail -n 1 "$OUT/got")"
done
for acks in 0 1 all; do
	echo "acks $acks" | k -P -t "$data" -p 1 -X acks=$acks || cat "$OUT/err"
	same "acks $acks" "acks $acks" "$(k -C -q -t "$data" -p 1 -o -1 -e)"
done
seq 3000 | k -P -t "$data" -p 2 -X enable.idempotence=true -X batch.num.messages=10
same "idempotent producer in order" "$(seq 3000 | md5sum)" "$(k -C -q -t "$data" -p 2 -o beginning -e | md5sum)"
printf 'a=\n' | k -P -t "$data" -p 3 -K= -Z
same "null value" "a -1" "$(k -C -q -t "$data" -p 3 -o -1 -e -f '%k %S\n')"
now=$(date +%s%3N)
echo later | k -P -t "$data" -p 3
same "from a time" later "$(k -C -q -t "$data" -p 3 -o "s@$now" -e)"
same "time of a query" "$(($(query 3) - 1))" "$(k -Q -t "$data:3:$now" | grep -oE 'offset [0-9]+' | cut -d' ' -f2)"
printf 'one\ntwo\n' | k -P -t "$once" -p 0
same "group reads" "one two" "$(k -q -G "$once-reader" -e -X auto.offset.reset=earliest -f '%s\n' "$once" | xargs)"
printf 'three\nfour\n' | k -P -t "$once" -p 0
fails "wrong password" 'uthentication' client "$KAFKA_USER" wrong -L -m 3
fails "unknown topic" 'Unknown topic' k -L -t no-such-hub
fails "offset out of range" 'out of range' k -C -t "$data" -p 0 -o 1099511627776 -e -X auto.offset.reset=error
fails "Send only may not fetch" 'authorization failed' \
	client "$KAFKA_SEND_USER" "$KAFKA_SEND_PASSWORD" -C -t "$data" -p 0 -o beginning -e
fails "Listen only may not produce" 'authorization failed' \
	client "$KAFKA_LISTEN_USER" "$KAFKA_LISTEN_PASSWORD" -P -t "$data" -p 0 -X message.timeout.ms=6000 <<<x
if [ -n "${KAFKA_HUB_PASSWORD:-}" ] && [ "$name" = kcat ]; then
	client "$KAFKA_USER" "$KAFKA_HUB_PASSWORD" -L >"$OUT/list"
	same "a hub's policy lists its hub alone" "topic \"$data\" with 4 partitions:" "$(grep -oE 'topic ".*' "$OUT/list" | xargs -0)"
	same "a hub's policy reads its hub" "$(k -C -q -t "$data" -p 0 -o beginning -e | md5sum)" \
		"$(client "$KAFKA_USER" "$KAFKA_HUB_PASSWORD" -C -q -t "$data" -p 0 -o beginning -e | md5sum)"
	fails "a hub's policy reads no other hub" 'authorization failed' \
		client "$KAFKA_USER" "$KAFKA_HUB_PASSWORD" -C -t "$once" -p 0 -o beginning -e
fi
exit $FAILED
