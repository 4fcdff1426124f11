#!/usr/bin/env bash
# Throughput units and quotas by unmodified clients of all protocols. Each part has a
# server of its own, on a loopback address of its own (the SDKs always use port 5671);
# parts run beside each other, those that measure shares and sums last.
cd "$(dirname "$0")/../.." || exit 1
here=$PWD/test/interop/throttle
out=$(mktemp -d "${TMPDIR:-/tmp}/sluice-throttle.XXXXXX")
js=build/interop/js
java=build/interop/kafka
FAILED_ANY=0

# part NAME "SERVER FLAGS" COMMAND...: its lines go to a file of its own
part() (
	local name=$1 flags=$2 address
	shift 2
	. test/lib/server.sh
	address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).1
	# shellcheck disable=SC2086
	server_start --amqps "$address:5671" $flags || { not_ok "$name: server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
	KAFKA_TLS=localhost:${KAFKA##*:}
	KAFKA_USER="\$ConnectionString"
	KAFKA_PASSWORD=$("$SLUICE_BIN" connection-string --data "$DATA")
	KAFKA_POLICY=RootManageSharedAccessKey
	KAFKA_KEY=$(printf '%s' "$KAFKA_PASSWORD" | sed 's/.*SharedAccessKey=\([^;]*\).*/\1/')
	SLUICE_CS=$(printf '%s' "$KAFKA_PASSWORD" | sed "s#//localhost[:0-9]*/#//$address/#")
	SLUICE_CS_PLAIN=$("$SLUICE_BIN" connection-string --emulator --data "$DATA")
	export SLUICE_CS_PLAIN KAFKA_TLS KAFKA_USER KAFKA_PASSWORD KAFKA_POLICY KAFKA_KEY KAFKA_CA=$CA SLUICE_CS SLUICE_CA=$CA
	export SLUICE_HTTPS=localhost:${HTTPS##*:} SLUICE_METRICS=$METRICS SLUICE_BIN DATA
	export SERVER_LOG=$WORK_DIR/log NODE_EXTRA_CA_CERTS=$CA
	timeout 100 "$@" 2>"$WORK_DIR/err" || FAILED=1
	[ -z "${KEEP_ERRORS:-}" ] || cat "$WORK_DIR/err"
	server_stop || not_ok "$name: server stops" "status $?"
	finish
)
# begin NAME ...: a part beside the others
begin() {
	local name=$1
	case " ${THROTTLE_ONLY:-$name} " in *" $name "*) ;; *) return ;; esac
	part "$@" >"$out/$name" 2>&1 &
	PARTS="${PARTS:-} $name:$!"
}
ended() {
	local p
	for p in ${PARTS:-}; do
		wait "${p##*:}" || FAILED_ANY=1
		cat "$out/${p%%:*}"
	done
	PARTS=""
}
java_client() {
	local jars
	jars=$(find $java/jars -name '*.jar' ! -name 'kafka-clients*' | paste -sd: -)
	echo java -XX:TieredStopAtLevel=1 -Xmx256m -cp "$java/java-$1:$java/jars/kafka-clients-$1.jar:$jars" Throttle
}

began=$SECONDS
begin sdk "--throughput-units 1 --hub sdk:4 --hub sdk2:4" /usr/bin/python3 "$here/sdk.py"
begin librdkafka "--throughput-units 1 --hub kafka:1" /usr/bin/python3 "$here/librdkafka.py"
if [ -f $js/.installed ]; then
	cp test/interop/js/lib.mjs "$js/lib.mjs"
	cp "$here/sdk.mjs" "$js/throttle.mjs"
	# This SDK takes the port from the connection string, and checks the name.
	begin js "--amqps 127.0.0.1:0 --throughput-units 1 --hub js:2" \
		bash -c "SLUICE_CS=\$KAFKA_PASSWORD exec node $js/throttle.mjs"
fi
if [ -f $java/.java ]; then
	# shellcheck disable=SC2046
	begin java "--throughput-units 1 --hub java-burst:1" $(java_client 3.9.2)
fi
begin quotas "--max-connections 16 --max-links 4 --management-rate 5 --max-hubs 3 --max-partitions 4
	--max-consumer-groups 2 --hub quotas:2" /usr/bin/python3 "$here/quotas.py"
begin readers "--hub small:1 --hub large:1" /usr/bin/python3 "$here/readers.py"
begin scopes "--hub one:1 --hub free:4 --hub parts:2 --hub pubs:2" /usr/bin/python3 "$here/scopes.py"
begin https "--throughput-units 1 --hub https:2" /usr/bin/python3 "$here/https.py"
sleep 1
begin together "--throughput-units 2 --hub together:6" /usr/bin/python3 "$here/together.py"
ended
echo "time: throttle took $((SECONDS - began)) s"
rm -rf "$out"
exit $FAILED_ANY
