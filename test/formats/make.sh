#!/usr/bin/env bash
# Makes a data directory of the present format, to be kept: NAME.tar.xz with the
# directory (and a further one, more) as kill -9 left it, NAME.events with what
# `receive --json` gave. It has sealed and cleaned segments, exports, rows, and a hub of
# which the newest of each key is kept; units and limits are set.
# Run it once for each format version; later versions must open what it made.
#
#   test/formats/make.sh NAME
set -eu
cd "$(dirname "$0")/../.."
. test/lib/server.sh
name=$1
MORE=$WORK_DIR/more
server_start --data "$MORE" --hub alpha:2 --hub beta:1 --segment-bytes 1MiB --shards 4 --export-interval 1s --retention-check 100ms
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
cli group create alpha audit >/dev/null
cli policy create sender --hub alpha --rights send >/dev/null
cli hub create gone --partitions 1 >/dev/null
printf 'never seen again\n' | cli send gone 2>/dev/null
cli hub delete gone >/dev/null
seq 1 200 | cli send alpha --partition 0 2>/dev/null
seq 1 50 | cli send alpha --key hello --property colour=red 2>/dev/null
curl -sSf --cacert "$CA" -H "Authorization: $(cli token --hub alpha)" -H 'Content-Type: application/vnd.microsoft.servicebus.json' \
	-d '[{"Body":"one","UserProperties":{"n":1}},{"Body":"two"}]' "https://localhost:${HTTPS##*:}/alpha/partitions/1/messages"
# Past one segment, so that a sealed one is kept too.
head -c 900000 /dev/zero | tr '\0' z >"$WORK_DIR/big"
for _ in $(seq 1 20); do cli send beta --whole "$WORK_DIR/big" 2>/dev/null; done
seq 201 300 | cli send alpha --partition 0 2>/dev/null
# Rows: an idempotent producer, a group with committed offsets.
kafka() {
	kcat -b "localhost:${KAFKA##*:}" -X security.protocol=SASL_SSL -X sasl.mechanisms=PLAIN -X "ssl.ca.location=$CA" \
		-X sasl.username='$ConnectionString' -X "sasl.password=$(cli connection-string)" "$@"
}
seq 1 30 | kafka -P -t beta -p 0 -z zstd -X enable.idempotence=true
kafka -G readers -e -q -X auto.offset.reset=earliest beta >/dev/null 2>&1
# Keys over and over, then enough to close the segments they are in.
cli hub create latest --partitions 1 --cleanup compact >/dev/null
for n in $(seq 1 20); do for k in $(seq 1 10); do echo "key$k:value$n"; done; done | kafka -P -t latest -p 0 -K:
# A hub that goes: whole segments of the log with it, and of others what is left is
# put together.
cli hub create bulk --partitions 4 >/dev/null
for i in $(seq 1 40); do cli send bulk --partition $((i % 4)) --whole "$WORK_DIR/big" 2>/dev/null; done
cli hub delete bulk >/dev/null
for _ in $(seq 1 600); do
	ls "$DATA"/volume/segments/c*.idx "$MORE"/volume/segments/c*.idx >/dev/null 2>&1 && break
	sleep 0.1
done
ls "$DATA"/volume/segments/c*.mdb "$MORE"/volume/segments/c*.mdb
# Units and limits, some of them later than the newest export.
cli units set 40 --auto-inflate-max 80 --auto-deflate-after 1h >/dev/null
cli limit set hub alpha --in-bytes 500MiB --in-events 500000 >/dev/null
cli limit set partition '*' --in-bytes 100MiB >/dev/null
cli limit set publisher alpha --units 50 >/dev/null
cli limit set client reader-7 --out-bytes 100MiB >/dev/null
cli limit set hub away --units 50 >/dev/null
sleep 2
cli limit delete hub away >/dev/null
cli limit set policy alpha/sender --units 30 >/dev/null
cli units set 41 >/dev/null
for h in alpha beta; do cli receive "$h" --from earliest --json | sort; done >"$WORK_DIR/all"
server_stop KILL || true
rm -f "$DATA/LOCK" "$MORE/LOCK" "$DATA"/volume/segments/*-lock "$MORE"/volume/segments/*-lock "$DATA"/volume/state/*lock*
tar -C "$WORK_DIR" -cJf "test/formats/$name.tar.xz" data more
cut -c1-400 "$WORK_DIR/all" | sha256sum | cut -d' ' -f1 >"test/formats/$name.events"
wc -l <"$WORK_DIR/all" >>"test/formats/$name.events"
