#!/usr/bin/env bash
# What becomes of old events, by unmodified clients: retention by time, deleted
# records, compaction, and the settings of hubs over all protocols. Segments are small
# and looked at often, so that everything happens within seconds.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh

here=test/interop/kafka
into=build/interop/kafka
address=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).1
server_start --amqps "$address:5671" --segment-bytes 1MiB --retention-check 200ms --export-interval 1s --cache-bytes 1MiB \
	--hub cross:1 ||
	{ not_ok "server starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
KAFKA_TLS=localhost:${KAFKA##*:}
KAFKA_USER="\$ConnectionString"
KAFKA_PASSWORD=$("$SLUICE_BIN" connection-string --data "$DATA")
KAFKA_POLICY=RootManageSharedAccessKey
KAFKA_KEY=$(printf '%s' "$KAFKA_PASSWORD" | sed 's/.*SharedAccessKey=\([^;]*\).*/\1/')
SLUICE_CS=$(printf '%s' "$KAFKA_PASSWORD" | sed "s#//localhost[:0-9]*/#//$address/#")
SLUICE_CS_PLAIN=$("$SLUICE_BIN" connection-string --emulator --data "$DATA")
export SLUICE_CS_PLAIN KAFKA_TLS KAFKA_USER KAFKA_PASSWORD KAFKA_POLICY KAFKA_KEY KAFKA_CA=$CA
export SLUICE_CS SLUICE_CA=$CA SLUICE_HTTPS=localhost:${HTTPS##*:} SLUICE_BIN DATA

timeout 240 /usr/bin/python3 $here/retention.py >"$WORK_DIR/python.out" 2>"$WORK_DIR/python.err" || FAILED=1
cat "$WORK_DIR/python.out"
[ -z "${KEEP_ERRORS:-}" ] || cat "$WORK_DIR/python.err"
java_retention() { # version, codecs
	local jars
	jars=$(find $into/jars -name '*.jar' ! -name 'kafka-clients*' | paste -sd: -)
	KAFKA_NAME=java-$1 timeout 200 java -XX:TieredStopAtLevel=1 -Xmx256m \
		-cp "$into/java-$1:$into/jars/kafka-clients-$1.jar:$jars" Retention "$2" 2>"$WORK_DIR/java-$1.err" || FAILED=1
	[ -z "${KEEP_ERRORS:-}" ] || cat "$WORK_DIR/java-$1.err"
}
if [ -f $into/.java ]; then
	java_retention 3.9.2 none,gzip,snappy
	java_retention 4.3.1 lz4,zstd
fi
server_stop || not_ok "server stops" "status $?"
finish
