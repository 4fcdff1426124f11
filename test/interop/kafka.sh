#!/usr/bin/env bash
# Kafka clients, unmodified, against a real server: every client's scenarios, the
# server killed with -9 and started again, what must still hold then, and events
# that cross from one protocol to another.
#
# The clients learn from the environment where the server is:
#   KAFKA_TLS, KAFKA_PLAIN   host:port of the port with TLS (preferred) and without
#   KAFKA_CA                 what to trust
#   KAFKA_USER, _PASSWORD    the policy with every right, as a connection string
#   KAFKA_POLICY, _KEY       the same as name and key
#   KAFKA_SEND_*, _LISTEN_*  policies with one right
#   KAFKA_HUB_PASSWORD       connection string of a policy of the hub kcat-data
# Each uses the hubs NAME-data (4 partitions), NAME-group (4) and NAME-once (1).
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

here=test/interop/kafka
into=build/interop/kafka
clients="kcat confluent kafka-python"
[ -f build/interop/js/.installed ] && clients="$clients kafkajs"
[ -f $into/.java ] && clients="$clients java-3.9 java-4.3"
# The second and third: the same client, held to what Kafka 2.4 and 1.0 knew.
[ -f $into/.go ] && clients="$clients go go-2.4 go-1.0"

free_port() { /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
ports="--kafka 127.0.0.1:$(free_port) --kafka-plain 127.0.0.1:$(free_port)"
# The Python SDK always uses port 5671: on a loopback address of our own.
address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).1
start() {
	# shellcheck disable=SC2086
	server_start $ports --amqps "$address:5671" "$@" || { not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
}
hubs="--hub cross:4 --hub together:1"
for c in $clients plain; do hubs="$hubs --hub $c-data:4 --hub $c-group:4 --hub $c-once:1"; done
# shellcheck disable=SC2086
start $hubs
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
check "policy create" cli policy create sender --rights send
check "policy create" cli policy create listener --rights listen
check "policy create" cli policy create of-one --hub kcat-data --rights send,listen

KAFKA_TLS=localhost:$(server_field kafka | sed 's/.*://')
KAFKA_PLAIN=localhost:$(server_field kafka_plain | sed 's/.*://')
KAFKA_USER="\$ConnectionString"
KAFKA_PASSWORD=$(cli connection-string)
KAFKA_POLICY=RootManageSharedAccessKey
KAFKA_KEY=$(printf '%s' "$KAFKA_PASSWORD" | sed 's/.*SharedAccessKey=\([^;]*\).*/\1/')
secret() { # policy, flags: its connection string, once the data directory has it
	for _ in $(seq 50); do
		cli connection-string --policy "$@" 2>/dev/null && return
		sleep 0.1
	done
}
KAFKA_SEND_PASSWORD=$(secret sender)
KAFKA_LISTEN_PASSWORD=$(secret listener)
export KAFKA_TLS KAFKA_PLAIN KAFKA_USER KAFKA_PASSWORD KAFKA_POLICY KAFKA_KEY KAFKA_CA=$CA
export KAFKA_SEND_USER=$KAFKA_USER KAFKA_LISTEN_USER=$KAFKA_USER KAFKA_SEND_PASSWORD KAFKA_LISTEN_PASSWORD
KAFKA_HUB_PASSWORD=$(secret of-one --hub kcat-data)
export KAFKA_TRANSACTIONS=refused KAFKA_HUB_PASSWORD

java_client() { # version, stage
	local jars
	jars=$(find $into/jars -name '*.jar' ! -name 'kafka-clients*' | paste -sd: -)
	java -XX:TieredStopAtLevel=1 -Xmx256m -cp "$into/java-$1:$into/jars/kafka-clients-$1.jar:$jars" Client "$2"
}
client() { # name, stage: its lines go to a file of its own
	export KAFKA_NAME=$1
	case $1 in
	kcat | plain) bash $here/kcat.sh "$2" ;;
	confluent) /usr/bin/python3 $here/confluent.py "$2" ;;
	kafka-python) /usr/bin/python3 $here/kafka_python.py "$2" ;;
	kafkajs) node build/interop/js/kafkajs.mjs "$2" ;;
	java-3.9) java_client 3.9.2 "$2" ;;
	java-4.3) java_client 4.3.1 "$2" ;;
	go) $into/go-client "$2" ;;
	go-*) KAFKA_MAX_VERSION=${1#go-} $into/go-client "$2" ;;
	esac
}
one() { # name, stage
	local began=$SECONDS status
	timeout 180 bash -c "$(declare -f client java_client); here=$here into=$into; client $1 $2" \
		>"$WORK_DIR/$1-$2.out" 2>"$WORK_DIR/$1-$2.err"
	status=$?
	echo "time: $1 $2 took $((SECONDS - began)) s" >>"$WORK_DIR/$1-$2.out"
	[ $status -le 1 ] || echo "not ok $1: $2 ended with status $status: $(tail -n 2 "$WORK_DIR/$1-$2.err" | tr '\n' ' ')" >>"$WORK_DIR/$1-$2.out"
}
lane() { # stage, names...: these one after the other, lanes beside each other
	local stage=$1 name
	shift
	for name in "$@"; do case " $clients plain " in *" $name "*) one "$name" "$stage" ;; esac; done
}
lanes() { # stage: all clients, in lanes beside each other
	lane "$1" java-3.9 kcat &
	LANES="$!"
	lane "$1" java-4.3 kafkajs go go-2.4 go-1.0 &
	LANES="$LANES $!"
	lane "$1" kafka-python confluent &
	LANES="$LANES $!"
}
told() { # stage: what the clients said, after the last of them
	local c
	for c in $LANES; do wait "$c"; done
	for c in $clients; do
		[ -f "$WORK_DIR/$c-$1.out" ] || continue
		cat "$WORK_DIR/$c-$1.out"
		if grep -q '^not ok' "$WORK_DIR/$c-$1.out"; then
			FAILED=1
			[ -z "${KEEP_ERRORS:-}" ] || cat "$WORK_DIR/$c-$1.err"
		fi
	done
}
[ -d build/interop/js ] && cp $here/kafkajs.mjs test/interop/js/lib.mjs build/interop/js/

lanes main
told main
(
	unset KAFKA_TLS
	client plain main
) >"$WORK_DIR/plain.out" 2>&1
sed -i 's/^\(not ok\|ok\) plain:/\1 without TLS:/' "$WORK_DIR/plain.out"
cat "$WORK_DIR/plain.out"
grep -q '^not ok' "$WORK_DIR/plain.out" && FAILED=1

SLUICE_CS_PLAIN=$(cli connection-string --emulator)
export SLUICE_CS SLUICE_CS_PLAIN SLUICE_CA=$CA SLUICE_HTTPS=localhost:${HTTPS##*:} SLUICE_BIN DATA
SLUICE_CS=$(printf '%s' "$KAFKA_PASSWORD" | sed "s#//localhost[:0-9]*/#//$address/#")
timeout 150 /usr/bin/python3 $here/cross.py >"$WORK_DIR/cross.out" 2>"$WORK_DIR/cross.err" || FAILED=1
cat "$WORK_DIR/cross.out"
[ -z "${KEEP_ERRORS:-}" ] || cat "$WORK_DIR/cross.err"

# kcat's group has committed two of four events; a member shows while it is there.
cli group show kcat-once-reader >"$WORK_DIR/group"
grep -q '^kcat-once  *0  *2  *4  *2 ' "$WORK_DIR/group" && ok "group show: position and lag" ||
	not_ok "group show: position and lag" "$(tail -n 2 "$WORK_DIR/group" | tr '\n' ' ')"
cli group list | grep -q '^kcat-once-reader  *kafka  *kcat-once  *Empty  *0  *2 *$' && ok "group list: lag" ||
	not_ok "group list: lag" "$(cli group list | grep kcat-once)"
kcat -b "$KAFKA_TLS" -X security.protocol=SASL_SSL -X ssl.ca.location="$CA" -X sasl.mechanism=PLAIN \
	-X sasl.username="$KAFKA_USER" -X sasl.password="$KAFKA_PASSWORD" -G shown kcat-data >/dev/null 2>&1 &
member=$!
for _ in $(seq 100); do
	cli group show shown 2>/dev/null | grep -q '^rdkafka-.* 4 *$' && break
	sleep 0.1
done
cli group show shown | grep -q '^shown: Stable, generation 1, assignor range' && ok "group show: a member" ||
	not_ok "group show: a member" "$(cli group show shown | head -n 1)"
kill "$member"
wait "$member" 2>/dev/null

# Idempotent producers write while the server is killed, twice.
LANES=""
for c in java-3.9 java-4.3 go; do
	lane through $c &
	LANES="$LANES $!"
done
for _ in 1 2; do
	sleep 3
	server_stop KILL
	start
done
told through
lanes resume
told resume
server_stop || not_ok "server stops" "status $?"
[ "$SLUICE_BIN" != build/sluice ] || bash $here/printed.sh || FAILED=1
finish
