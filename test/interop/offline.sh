#!/usr/bin/env bash
# A further data directory that is damaged is left out at start: what every protocol
# says of its partitions, that the others serve, and that all is there when it is back.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

more=$WORK_DIR/more
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
start() { server_start --data "$more" --hub h:4 || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }; }
says() { # name, pattern, status, command...
	local name=$1 pattern=$2 want=$3 got
	shift 3
	"$@" >"$WORK_DIR/out" 2>&1
	got=$?
	if [ "$got" = "$want" ] && grep -qE "$pattern" "$WORK_DIR/out"; then
		ok "$name"
	else
		not_ok "$name" "status $got: $(tail -c 300 "$WORK_DIR/out" | tr '\n' ' ')"
	fi
}
send() { echo "$1" | cli send h --partition "$2"; }
post() { # partition
	curl -sk -w ' %{http_code}' -H "Authorization: $(cli token)" -d body "https://$HTTPS/h/partitions/$1/messages"
}
kafka() { # kcat's flags
	kcat -b "localhost:${KAFKA##*:}" -X security.protocol=SASL_SSL -X ssl.ca.location="$CA" -X sasl.mechanism=PLAIN \
		-X sasl.username="\$ConnectionString" -X sasl.password="$(cli connection-string)" "$@"
}
produce() { echo k | kafka -P -t h -p "$1" -X message.timeout.ms=1500 2>&1; }
cli_show() { cli hub show h; }
cli_receive() { cli receive h --partition "$1"; }
start
for p in 0 1 2 3; do check "send to $p" send "first" $p; done
server_stop || not_ok "server stops" "status $?"
for f in "$more"/volume/MANIFEST*; do
	cp "$f" "$WORK_DIR/${f##*/}"
	echo damaged >"$f"
done
start
off=$(cli hub show h --json | python3 -c 'import json, sys; print(*[p["partition"] for p in json.load(sys.stdin)["partitionsInfo"] if p["offline"]])')
[ "$off" = "1 3" ] && ok "hub show names what is offline" || not_ok "hub show names what is offline" "$off"
says "hub show: a table" "^1 *offline" 0 cli_show
says "AMQP: the other serves" "first" 0 cli_receive 0
says "AMQP: a send is refused" "amqp:internal-error.*cannot be used" 1 send second 1
says "AMQP: a reader is refused" "cannot be used" 1 cli_receive 1
says "HTTPS: the other serves" " 201$" 0 post 0
says "HTTPS: 503" "^ 503$" 0 post 1
check "Kafka: the other serves" produce 0
produce 1 >/dev/null
grep -q "KAFKA-BATCH-REFUSED.*partition=1 code=56" "$WORK_DIR/log" && ok "Kafka: storage error" || not_ok "Kafka: storage error"
# A consumer waits: its offset is not out of range, and it does not begin anew.
kafka -C -t h -p 1 -o 1 -e -X auto.offset.reset=error >"$WORK_DIR/out" 2>&1 &
reader=$!
sleep 3
kill -0 $reader 2>/dev/null && still=yes || still=no
kill $reader 2>/dev/null
wait $reader 2>/dev/null
[ $still = yes ] && ok "Kafka: a consumer waits" || not_ok "Kafka: a consumer waits" "$(tail -c 300 "$WORK_DIR/out")"
server_stop || not_ok "server stops" "status $?"
for f in "$more"/volume/MANIFEST*; do cp "$WORK_DIR/${f##*/}" "$f"; done
start
says "all is there again" "first" 0 cli_receive 1
check "and takes more" send third 1
server_stop || not_ok "server stops" "status $?"
finish
