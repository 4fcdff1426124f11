#!/usr/bin/env bash
# sluice backup and restore, of a server under load and of a stopped one: everything
# acknowledged before is there again, with groups, offsets and policies.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
MORE=$WORK_DIR/more
B=$WORK_DIR/backup
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }
kafka() {
	kcat -b "localhost:${KAFKA##*:}" -X security.protocol=SASL_SSL -X sasl.mechanisms=PLAIN -X "ssl.ca.location=$CA" \
		-X sasl.username='$ConnectionString' -X "sasl.password=$(cli connection-string)" "$@"
}
# Every event of a hub that is not written to meanwhile.
events() { for h in alpha beta; do cli receive "$h" --from earliest --json; done | sort; }
ends() { cli hub show load --json | grep -o '"nextSequenceNumber": *[0-9]*' | grep -o '[0-9]*$'; }
begin() { server_start --data "$MORE" --shards 6 --segment-bytes 1MiB --hub alpha:4 --hub beta:1 --hub load:2 "$@"; }

begin || { not_ok "starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli group create alpha audit >/dev/null
cli policy create sender --hub alpha --rights send >/dev/null
seq 1 500 | cli send alpha --key k 2>/dev/null
seq 501 900 | cli send alpha 2>/dev/null
if command -v kcat >/dev/null; then
	seq 1 50 | kafka -P -t beta -p 0 -z zstd
	kafka -G readers -e -q -X auto.offset.reset=earliest beta >/dev/null 2>&1
fi
cli policy show sender --hub alpha --json >"$WORK_DIR/policy"
events >"$WORK_DIR/before"
cli group show readers >"$WORK_DIR/group" 2>/dev/null

"$SLUICE_BIN" bench --hub load --duration 6s --size 2k --rate 2000 --connections 1 --data "$DATA" >"$WORK_DIR/bench" 2>&1 &
BENCH=$!
sleep 1
check "a backup under load" cli backup "$B"
grep -q 'a backup as of' "$WORK_DIR/out" && ok "it says what it is" || not_ok "it says what it is" "$(cat "$WORK_DIR/out")"
[ -s "$B/BACKUP" ] && [ ! -e "$B/UNFINISHED" ] && ok "BACKUP is there" || not_ok "BACKUP is there"
[ ! -e "$DATA/pinned" ] && ok "nothing is held afterwards" || { sleep 1; check "nothing is held afterwards" test ! -e "$DATA/pinned"; }
seq 901 950 | cli send alpha 2>/dev/null
events >"$WORK_DIR/between"
ends >"$WORK_DIR/ends"
check "another into the same directory" cli backup "$B"
cp "$WORK_DIR/out" "$WORK_DIR/second"
first=$(grep -c '^file=.*\.mdb' "$B/BACKUP")
[ "$first" -gt 1 ] && ok "it holds the segments" || not_ok "it holds the segments" "$first"

# Ctrl-C ends the hold at once.
rm -rf "$WORK_DIR/third"
"$SLUICE_BIN" backup "$WORK_DIR/third" --data "$DATA" >"$WORK_DIR/out3" 2>&1 &
THIRD=$!
for _ in $(seq 1 200); do
	[ "$(grep -c BACKUP-BEGUN "$WORK_DIR/log")" -ge 3 ] && break
	sleep 0.01
done
kill -INT "$THIRD" 2>/dev/null
wait "$THIRD"
sleep 0.3
[ "$(grep -c BACKUP-ENDED "$WORK_DIR/log")" -ge 3 ] && ok "an interrupted one ends its hold" || not_ok "an interrupted one ends its hold" "$(cat "$WORK_DIR/out3")"
wait "$BENCH"

# The management API below it.
API="https://localhost:${HTTPS##*:}/\$management/v1/backups"
call() { curl -s --cacert "$CA" -o "$WORK_DIR/body" -w '%{http_code}' "$@"; }
TOKEN="Authorization: $(cli token)"
LESS="Authorization: $(cli token --hub alpha)"
[ "$(call -X POST -d '' "$API")" = 401 ] && ok "a backup needs a key" || not_ok "a backup needs a key"
[ "$(call -X POST -d '' -H "$LESS" "$API")" = 401 ] && ok "of the namespace" || not_ok "of the namespace" "$(cat "$WORK_DIR/body")"
[ "$(call -X POST -d '' -H "$TOKEN" "$API")" = 201 ] && ok "it begins" || not_ok "it begins" "$(cat "$WORK_DIR/body")"
id=$(sed 's/.*"id":"\([0-9]*\)".*/\1/' "$WORK_DIR/body")
[ "$(call -X POST -d '' -H "$TOKEN" "$API")" = 409 ] && ok "one at a time" || not_ok "one at a time" "$(cat "$WORK_DIR/body")"
cli backup "$WORK_DIR/fourth" 2>&1 | grep -q 'under way' && ok "and says so" || not_ok "and says so"
[ "$(call -X PUT -d '' -H "$TOKEN" "$API/$id")" = 204 ] && ok "it is renewed" || not_ok "it is renewed"
[ "$(call -X DELETE -H "$TOKEN" "$API/$id")" = 204 ] && ok "it ends" || not_ok "it ends"
[ "$(call -X PUT -d '' -H "$TOKEN" "$API/$id")" = 404 ] && ok "and is gone" || not_ok "and is gone"
[ "$(call -X PUT -d '' -H "$TOKEN" "$API/nonsense")" = 404 ] && ok "as is nonsense" || not_ok "as is nonsense"

# What cannot be.
mkdir "$WORK_DIR/full" && touch "$WORK_DIR/full/letter"
cli backup "$WORK_DIR/full" 2>&1 | grep -q 'not empty' && ok "a directory with other things is refused" || not_ok "a directory with other things is refused"
"$SLUICE_BIN" backup "$WORK_DIR/x" --data "$WORK_DIR/full" 2>&1 | grep -q 'no store' && ok "no store is no backup" || not_ok "no store is no backup"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$WORK_DIR"
	cp "$SLUICE_BIN" "$WORK_DIR/sluice-copy"
	setpriv --reuid 65534 --clear-groups "$WORK_DIR/sluice-copy" backup /tmp/never --data "$DATA" 2>&1 |
		grep -q "user of the server" && ok "who may not read is told so" || not_ok "who may not read is told so"
fi
"$SLUICE_BIN" restore "$B" --data "$WORK_DIR/one" 2>&1 | grep -q '2 volumes' && ok "a restore needs every directory" || not_ok "a restore needs every directory"
"$SLUICE_BIN" restore "$B" --data "$DATA" --data "$MORE" 2>&1 | grep -q 'not empty' && ok "a restore needs empty ones" || not_ok "a restore needs empty ones"
server_stop || not_ok "stops" "status $?"

# One after the other: the directories are other ones, so the server finds its own.
restore() { # name
	"$SLUICE_BIN" restore "$B" --data "$WORK_DIR/$1" --data "$WORK_DIR/$1-more"
}
check "restores" restore new
cp "$WORK_DIR/out" "$WORK_DIR/said"
check "what it made is sound" "$SLUICE_BIN" verify --data "$WORK_DIR/new" --data "$WORK_DIR/new-more"
grep -q "sluice serve --data $WORK_DIR/new --data $WORK_DIR/new-more" "$WORK_DIR/said" && ok "it says what to do next" || not_ok "it says what to do next" "$(cat "$WORK_DIR/said")"
OLD_DATA=$DATA OLD_MORE=$MORE
DATA=$WORK_DIR/new MORE=$WORK_DIR/new-more
begin || not_ok "the restored server starts" "$(tail -n 3 "$WORK_DIR/log")"
events >"$WORK_DIR/after"
cmp -s "$WORK_DIR/between" "$WORK_DIR/after" && ok "every event is there again" ||
	not_ok "every event is there again" "$(wc -l <"$WORK_DIR/between") $(wc -l <"$WORK_DIR/after")"
ends | paste - "$WORK_DIR/ends" | awk '$1 < $2 || $2 == 0 { bad = 1 } END { exit bad || NR != 2 }' && ok "of the load all that came before" ||
	not_ok "of the load all that came before" "$(ends | paste - "$WORK_DIR/ends" | tr '\n' ' ')"
cli receive load --partition 1 --from earliest --json >"$WORK_DIR/part"
cli policy show sender --hub alpha --json | cmp -s - "$WORK_DIR/policy" && ok "policies with their keys" || not_ok "policies with their keys"
cli group list alpha | grep -q audit && ok "groups" || not_ok "groups"
if command -v kcat >/dev/null; then
	cli group show readers | cmp -s - "$WORK_DIR/group" && ok "committed offsets" || not_ok "committed offsets" "$(cli group show readers | tail -n 1)"
fi
echo more | cli send alpha 2>/dev/null
events | grep -qv -x -F -f "$WORK_DIR/after" && ok "it takes events" || not_ok "it takes events"
server_stop || not_ok "the restored server stops" "status $?"
DATA=$OLD_DATA MORE=$OLD_MORE

# Of a stopped server.
"$SLUICE_BIN" backup "$B" --data "$DATA" 2>&1 | grep -q 'missing' && ok "a stopped one needs every directory" || not_ok "a stopped one needs every directory"
check "a backup of a stopped server" "$SLUICE_BIN" backup "$B" --data "$DATA" --data "$MORE"
check "restores that" restore off
begin || not_ok "the first server starts again" "$(tail -n 3 "$WORK_DIR/log")"
events >"$WORK_DIR/before"
cli receive load --from earliest --json | sort >"$WORK_DIR/load"
cli receive load --partition 1 --from earliest --json | head -n "$(wc -l <"$WORK_DIR/part")" | cmp -s - "$WORK_DIR/part" &&
	ok "what was restored under load has no gap" || not_ok "what was restored under load has no gap"
server_stop
DATA=$WORK_DIR/off MORE=$WORK_DIR/off-more
begin || not_ok "the second restored server starts" "$(tail -n 3 "$WORK_DIR/log")"
events | cmp -s - "$WORK_DIR/before" && ok "every event of the stopped one" || not_ok "every event of the stopped one"
cli receive load --from earliest --json | sort | cmp -s - "$WORK_DIR/load" && ok "and those of the load" || not_ok "and those of the load"
server_stop
DATA=$OLD_DATA MORE=$OLD_MORE

# A damaged backup is refused by name.
file=$(find "$B/0/volume/segments" -name '*.mdb.*' | head -n 1)
printf 'x' | dd of="$file" bs=1 seek=5000 conv=notrunc status=none
restore bad >"$WORK_DIR/out" 2>&1 && not_ok "a damaged backup is refused" || ok "a damaged backup is refused"
grep -qF "$(basename "$file")" "$WORK_DIR/out" && ok "naming the file" || not_ok "naming the file" "$(cat "$WORK_DIR/out")"
[ ! -e "$WORK_DIR/bad/volume" ] && ok "and leaves nothing" || not_ok "and leaves nothing"
rm "$B/BACKUP"
restore bad 2>&1 | grep -q 'no backup' && ok "no list is no backup" || not_ok "no list is no backup"
finish
