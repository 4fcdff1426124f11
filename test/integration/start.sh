#!/usr/bin/env bash
# Starting, refusing to start, stopping, and what a restart keeps.
cd "$(dirname "$0")/../.." || exit 1
. test/lib/server.sh
cli() { "$SLUICE_BIN" "$@" --data "$DATA"; }

# refused NAME PATTERN flags...: one line on standard error, exit status 1.
refused() {
	local name=$1 pattern=$2 status
	shift 2
	timeout 20 "$SLUICE_BIN" serve "$@" >"$WORK_DIR/out" 2>"$WORK_DIR/err"
	status=$?
	grep -v ' info ' "$WORK_DIR/err" | grep -v ' warn ' >"$WORK_DIR/err1"
	if [ $status = 1 ] && [ ! -s "$WORK_DIR/out" ] && grep -qiE "$pattern" "$WORK_DIR/err1" && [ "$(wc -l <"$WORK_DIR/err1")" = 1 ]; then
		ok "$name"
	else
		not_ok "$name" "status $status: $(tr '\n' ' ' <"$WORK_DIR/err" | head -c 400)"
	fi
}
free="--amqps 127.0.0.1:0 --https 127.0.0.1:0 --kafka 127.0.0.1:0 --metrics 127.0.0.1:0"

began=$(date +%s%N)
server_start --hub events:4 || { not_ok "starts" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
took=$((($(date +%s%N) - began) / 1000000))
ok "starts"
echo "ready after $took ms, $(awk '/VmRSS/ {print $2 " kB resident"}' "/proc/$SERVER_PID/status")"
[ "$(wc -l <"$WORK_DIR/ready")" = 1 ] && ok "one ready line" || not_ok "one ready line"
[ "$(stat -c %a "$DATA")" = 700 ] && ok "the data directory is its owner's only" || not_ok "the data directory is its owner's only" "$(stat -c %a "$DATA")"
loose=$(find "$DATA" -type f ! -name ca.pem -perm /077 | head -n 3)
[ -z "$loose" ] && ok "so are its files" || not_ok "so are its files" "$loose"

# shellcheck disable=SC2086
refused "data directory in use" "in use" --data "$DATA" $free
refused "port taken" "$AMQPS|in use" --data "$WORK_DIR/d2" --amqps "$AMQPS" --https 127.0.0.1:0 --kafka 127.0.0.1:0 --metrics 127.0.0.1:0
# shellcheck disable=SC2086
refused "plaintext on all addresses" "allow-plaintext" --data "$WORK_DIR/d3" $free --amqp 0.0.0.0:0
# shellcheck disable=SC2086
refused "certificate missing" "cannot|No such|not" --data "$WORK_DIR/d4" $free --tls-cert /nonexistent.pem --tls-key /nonexistent.key
# shellcheck disable=SC2086
refused "bad hub name" "hub" --data "$WORK_DIR/d5" $free --hub '-bad-:3'
echo '{"unknown-key": 1}' >"$WORK_DIR/bad.json"
# shellcheck disable=SC2086
refused "unknown key in the configuration" "unknown-key" --data "$WORK_DIR/d6" $free --config "$WORK_DIR/bad.json"
echo '{"shards": "many"}' >"$WORK_DIR/bad2.json"
# shellcheck disable=SC2086
refused "bad value in the configuration" "shards" --data "$WORK_DIR/d7" $free --config "$WORK_DIR/bad2.json"
touch "$WORK_DIR/file"
# shellcheck disable=SC2086
refused "the data directory is a file" "director" --data "$WORK_DIR/file" $free
mkdir -p "$WORK_DIR/newer" && printf 'sluice-data 99\n' >"$WORK_DIR/newer/VERSION"
# shellcheck disable=SC2086
refused "a newer data directory" "newer|version" --data "$WORK_DIR/newer" $free
# shellcheck disable=SC2086
refused "the data directory cannot be made" "cannot|No such|not permitted|denied" --data /proc/nowhere/data $free
"$SLUICE_BIN" serve --no-such-flag >/dev/null 2>&1
[ $? = 2 ] && ok "wrong usage is status 2" || not_ok "wrong usage is status 2"

seq 1 500 | sed 's/^/line /' | cli send events --partition 2 >/dev/null 2>&1 && ok "send" || not_ok "send"
cli receive events --partition 2 --from earliest >"$WORK_DIR/before"
cli hub create second --partitions 3 >/dev/null && ok "hub create" || not_ok "hub create"
cs=$(cli connection-string)
server_stop TERM && ok "SIGTERM ends with status 0" || not_ok "SIGTERM ends with status 0"

server_start || { not_ok "starts again" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli receive events --partition 2 --from earliest >"$WORK_DIR/after"
cmp -s "$WORK_DIR/before" "$WORK_DIR/after" && [ "$(wc -l <"$WORK_DIR/after")" = 500 ] && ok "events are there after a restart" || not_ok "events are there after a restart" "$(wc -l <"$WORK_DIR/after")"
cli hub show second --json | grep -q '"partitions"' && ok "the hub is there after a restart" || not_ok "the hub is there after a restart"
[ "$(cli connection-string | sed 's#//[^;]*/##')" = "$(printf '%s' "$cs" | sed 's#//[^;]*/##')" ] && ok "the keys are the same" || not_ok "the keys are the same"
server_stop KILL
server_start || { not_ok "starts after kill -9" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
[ "$(cli receive events --partition 2 --from earliest | wc -l)" = 500 ] && ok "events are there after kill -9" || not_ok "events are there after kill -9"

kill -HUP "$SERVER_PID"
sleep 1
grep -q TLS-RELOADED "$WORK_DIR/log" && ok "SIGHUP reloads the certificate" || not_ok "SIGHUP reloads the certificate"
cli receive events --partition 2 --count 1 >/dev/null && ok "and serves on" || not_ok "and serves on"
server_stop TERM || not_ok "stops" "status $?"

# A disk that is nearly full: appends get the quota error, reads go on, and
# appends resume when there is room again (here: with a smaller reserve).
server_start --disk-reserve 900TB || { not_ok "starts with little room" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
sleep 1
printf 'x\n' | cli send events --partition 2 >/dev/null 2>"$WORK_DIR/err" && not_ok "no room: appends are refused" || ok "no room: appends are refused"
grep -qi 'quota' "$WORK_DIR/err" && ok "with the quota error" || not_ok "with the quota error" "$(cat "$WORK_DIR/err")"
status=$(curl -s --cacert "$CA" -o "$WORK_DIR/body" -w '%{http_code}' -H "Authorization: $(cli token --hub events)" -d x "https://localhost:${HTTPS##*:}/events/messages")
[ "$status" = 403 ] && grep -q quota-exceeded "$WORK_DIR/body" && ok "over HTTPS too" || not_ok "over HTTPS too" "$status $(cat "$WORK_DIR/body")"
[ "$(cli receive events --partition 2 --from earliest | wc -l)" = 500 ] && ok "reads go on" || not_ok "reads go on"
server_stop TERM || not_ok "stops" "status $?"
server_start || { not_ok "starts with room again" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
printf 'x\n' | cli send events --partition 2 >/dev/null 2>&1 && ok "appends resume" || not_ok "appends resume"
server_stop TERM || not_ok "stops" "status $?"

# Throughput units: of the setting and `units set` the later change counts.
units_are() {
	local got
	got=$(cli units show --json | tr -d ' \n')
	got=$(for f in units base autoInflateMax; do grep -oE "\"$f\":[0-9]+" <<<"$got" | head -n 1 | cut -d: -f2; done | xargs)
	[ "$got" = "$2" ] && ok "$1" || not_ok "$1" "$got, not $2"
}
units_start() { server_start "$@" || { not_ok "starts with $*" "$(tail -n 3 "$WORK_DIR/log")"; finish; }; }
: >"$WORK_DIR/log"
units_start
units_are "no setting: not limited" "0 0 0"
grep -q UNITS-SET "$WORK_DIR/log" && not_ok "and nothing is set" || ok "and nothing is set"
cli units set 5 --auto-inflate-max 8 >/dev/null && ok "units set" || not_ok "units set"
server_stop TERM || not_ok "stops" "status $?"
units_start
units_are "units set lasts" "5 5 8"
server_stop KILL
units_start --throughput-units 3
units_are "a new setting counts, the others stay" "3 3 8"
grep -q 'UNITS-SET units=3 was=5 max=8 .*by=settings' "$WORK_DIR/log" && ok "and is told" || not_ok "and is told"
cli units set 7 >/dev/null
server_stop TERM || not_ok "stops" "status $?"
units_start --throughput-units 3
units_are "the same setting does not undo units set" "7 7 8"
server_stop TERM || not_ok "stops" "status $?"
units_start --throughput-units 3 --auto-inflate-max 20
units_are "another setting changed" "7 7 20"
server_stop TERM || not_ok "stops" "status $?"
units_start --throughput-units 4 --auto-inflate-max 20
units_are "the setting changed" "4 4 20"
server_stop TERM || not_ok "stops" "status $?"
units_start
units_are "the settings taken away" "0 0 0"
server_stop TERM || not_ok "stops" "status $?"

# A hub with its groups from the emulator's own configuration file.
cat >"$WORK_DIR/emulator.json" <<'JSON'
{ "UserConfig": { "NamespaceConfig": [ { "Type": "EventHub", "Name": "emulatorNs1",
  "Entities": [ { "Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [ { "Name": "cg1" } ] } ] } ],
  "LoggingConfig": { "Type": "File" } } }
JSON
DATA=$WORK_DIR/emulator
server_start --config "$WORK_DIR/emulator.json" || { not_ok "takes the emulator's file" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
cli hub show eh1 --json | grep -q cg1 && ok "takes the emulator's file" || not_ok "takes the emulator's file"
printf 'x\n' | "$SLUICE_BIN" send eh1 --connection-string "Endpoint=sb://localhost:${AMQP##*:};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;" >/dev/null 2>"$WORK_DIR/err" && ok "and its fixed key" || not_ok "and its fixed key" "$(cat "$WORK_DIR/err")"
server_stop TERM || not_ok "stops" "status $?"
server_start || { not_ok "starts without the file" "$(tail -n 3 "$WORK_DIR/log")"; finish; }
printf 'x\n' | "$SLUICE_BIN" send eh1 --connection-string "Endpoint=sb://localhost:${AMQP##*:};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;" >/dev/null 2>&1 && not_ok "the fixed key works only with the file" || ok "the fixed key works only with the file"
server_stop TERM || not_ok "stops" "status $?"
finish
