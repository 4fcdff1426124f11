#!/bin/bash
# Every command of the command line against one server on free ports. Prints
# "ok NAME" or "not ok NAME reason"; exit status 1 when one failed.
# SLUICE_BIN: the binary (build/sluice).
set -u

bin=$(readlink -f "${SLUICE_BIN:-build/sluice}")
[ -x "$bin" ] || { echo "not ok binary $bin is missing"; exit 1; }
dir=$(mktemp -d /tmp/sluice-cli-XXXXXX)
cd "$dir" || exit 1
failed=0
server=
unset SLUICE_CONNECTION_STRING SLUICE_CA SLUICE_HTTPS SLUICE_CONFIG
export SLUICE_DATA=$dir/data

finish() {
	[ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
	rm -rf "$dir"
}
trap finish EXIT

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1 $2"; failed=1; }

# name, expected status, command...: output in $out, messages in $err
try() {
	local name=$1 want=$2 got
	shift 2
	timeout 60 "$@" >"$dir/out" 2>"$dir/err"
	got=$?
	out=$(cat "$dir/out")
	err=$(cat "$dir/err")
	if [ "$got" != "$want" ]; then
		not_ok "$name" "status $got instead of $want: $(tr '\n' ' ' <<<"$err" | cut -c1-300)"
		return 1
	fi
	return 0
}
# name, expected status, pattern, command...: the pattern is in output or messages
see() {
	local name=$1 want=$2 pattern=$3
	shift 3
	try "$name" "$want" "$@" || return 1
	if grep -qe "$pattern" "$dir/out" "$dir/err"; then
		ok "$name"
	else
		not_ok "$name" "no \"$pattern\" in: $(cat "$dir/out" "$dir/err" | tr '\n' ' ' | cut -c1-300)"
	fi
}
# name, command...: succeeds
done_by() {
	local name=$1
	shift
	try "$name" 0 "$@" && ok "$name"
}
# name, expected text, actual text
same() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "$(tr '\n' ' ' <<<"\"${3:0:200}\" instead of \"${2:0:200}\"")"
	fi
}

start() {
	"$bin" serve --data data --amqps 127.0.0.1:0 --https 127.0.0.1:0 --kafka 127.0.0.1:0 --metrics 127.0.0.1:0 "$@" \
		>ready 2>>log &
	server=$!
	for _ in $(seq 200); do
		grep -q '"event":"ready"' ready && return 0
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	not_ok start "the server did not become ready: $(tail -2 log | tr '\n' ' ')"
	exit 1
}
stop() {
	kill "$server"
	wait "$server"
	local status=$?
	server=
	return $status
}

# ---- without a server ------------------------------------------------------------
see help 0 "connection-string" "$bin" help
see version 0 "^sluice [0-9]" "$bin" version
see no-command 2 "usage: sluice" "$bin"
see unknown-command 2 "unknown command" "$bin" frobnicate
see unknown-option 2 "unknown option --bogus" "$bin" send h --bogus
see serve-help 0 "amqps ADDR:PORT" "$bin" serve --help
see serve-unknown-setting 2 "unknown setting --nonsense" "$bin" serve --nonsense x
see serve-bad-variable 1 "SLUICE_SHARDS" env SLUICE_SHARDS=x "$bin" serve --print-config
see serve-print-config 0 "shards .*= 4 .*variable SLUICE_SHARDS" env SLUICE_SHARDS=4 "$bin" serve --print-config
echo '{"shards": 4, "wrong": 1}' >bad.json
see serve-bad-file 1 'bad.json: "wrong": unknown setting' "$bin" serve --config bad.json
see no-server 1 "data/keys" "$bin" hub list
see token-offline 0 "^SharedAccessSignature sr=sb%3A%2F%2Flocalhost%2Fh%2Fpublishers%2Fp&sig=" \
	"$bin" token --key-name n --key k --hub h --publisher p
see refused-connection 1 "127.0.0.1:1" "$bin" send h /dev/null --connection-string \
	"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k"

# ---- with one ----------------------------------------------------------------------
start --hub first:4 --hub bench:4
ok start
see emulator-off 1 "plain AMQP is off" "$bin" connection-string --emulator
try connection-string 0 "$bin" connection-string --hub first
cs=$out
if grep -q "^Endpoint=sb://localhost:[0-9]*/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=.*;EntityPath=first$" <<<"$cs"; then
	ok connection-string
else
	not_ok connection-string "$cs"
fi

done_by hub-create "$bin" hub create second --partitions 2
see hub-create-again 1 "exist" "$bin" hub create second
see hub-list 0 "second *2 *delete *for ever *no bound *1 *20" "$bin" hub list
see hub-list-json 0 '"name": "second"' "$bin" hub list --json
done_by hub-update "$bin" hub update second --partitions 3
see hub-show 0 "partitions *3" "$bin" hub show second
done_by hub-retention "$bin" hub update second --retention 7d --retention-bytes 1GiB --cleanup compact,delete
see hub-retained 0 "retention *7d" "$bin" hub show second
done_by hub-kept "$bin" hub update second --retention off --retention-bytes off --cleanup delete
see hub-cleanup 2 "shred" "$bin" hub update second --cleanup shred
see hub-nothing 2 "nothing to change" "$bin" hub update second
see hub-shrink 1 "sluice hub update" "$bin" hub update second --partitions 1
done_by hub-slash "$bin" hub create team/one --partitions 1
see hub-slash-show 0 "name *team/one" "$bin" hub show team/one
see hub-missing 1 "nowhere" "$bin" hub show nowhere

done_by group-create "$bin" group create second readers
see group-list 0 "^readers" "$bin" group list second
see group-list-all 0 "^readers *amqp *second *Empty *0 *-" "$bin" group list
see group-show 0 "^second *2 *- *0 *-" "$bin" group show second readers
"$bin" receive second --group readers --follow >/dev/null 2>&1 &
reader=$!
for _ in $(seq 100); do
	"$bin" group list | grep -q "^readers .* Active *3 *0" && break
	sleep 0.1
done
see group-readers 0 "^readers *amqp *second *Active *3 *0" "$bin" group list
see group-reader 0 "^second *1 *0 *0 *0" "$bin" group show second readers
kill "$reader" 2>/dev/null
wait "$reader" 2>/dev/null
see group-show-kafka 1 "no Kafka group" "$bin" group show nobody
see group-delete-kafka 1 "no Kafka group" "$bin" group delete nobody
done_by group-delete "$bin" group delete second readers
see group-delete-again 1 "sluice group delete" "$bin" group delete second readers

see policy-create 0 "^rights *listen" "$bin" policy create reader --hub second --rights listen
see policy-list 0 "^reader *listen" "$bin" policy list --hub second
try policy-show 0 "$bin" policy show reader --hub second --json
before=$out
see policy-rotate 0 "primary" "$bin" policy rotate reader --hub second
try policy-show 0 "$bin" policy show reader --hub second --json
[ "$before" != "$out" ] && ok policy-rotated || not_ok policy-rotated "the key is unchanged"
see policy-namespace 0 "^RootManageSharedAccessKey *send,listen,manage" "$bin" policy list

# ---- events --------------------------------------------------------------------------
seq 1 5000 >numbers
see send-file 0 "^5000 events sent" "$bin" send first numbers
try receive-all 0 "$bin" receive first
same receive-all "$(md5sum <numbers)" "$(sort -n "$dir/out" | md5sum)"
done_by receive-count "$bin" receive first --count 7
same receive-count-lines 7 "$(wc -l <"$dir/out")"
see send-stdin 0 "^3 events sent" bash -c "printf 'a\n\nc' | '$bin' send second --key k1 --property color=blue -"
try receive-json 0 "$bin" receive second --json
same receive-json "a||c" "$(python3 -c '
import json, sys
events = [json.loads(l) for l in open(sys.argv[1])]
assert len({e["partition"] for e in events}) == 1
assert [e["sequenceNumber"] for e in events] == [0, 1, 2]
assert all(e["partitionKey"] == "k1" and e["properties"] == {"color": "blue"} for e in events)
print("|".join(e["body"] for e in events))' "$dir/out" 2>&1)"
see send-whole 0 "^1 event sent" "$bin" send second --whole --partition 1 numbers
try receive-whole 0 "$bin" receive second --partition 1 --from sequence=0 --json
same receive-whole "$(md5sum <numbers)" "$(tail -n 1 "$dir/out" | python3 -c '
import json, sys
sys.stdout.write(json.loads(sys.stdin.read())["body"])' | md5sum)"
head -c 100000 /dev/urandom >binary
see send-binary 0 "^1 event sent" "$bin" send team/one --whole binary
try receive-binary 0 "$bin" receive team/one --json
same receive-binary "$(md5sum <binary)" "$(python3 -c '
import base64, json, sys
sys.stdout.buffer.write(base64.b64decode(json.load(open(sys.argv[1]))["bodyBase64"]))' "$dir/out" | md5sum)"
done_by receive-latest "$bin" receive first --from latest
same receive-latest-empty "" "$out"
done_by receive-time "$bin" receive first --from time=-1h --count 1
done_by receive-future "$bin" receive first --from time=2099-01-01T00:00:00Z
same receive-future-empty "" "$out"
head -c 2000000 /dev/zero | tr '\0' x >huge
see send-too-large 1 "sluice send" "$bin" send first huge
see send-no-hub 1 "could not be found" "$bin" send nowhere numbers
see receive-no-group 1 "could not be found" "$bin" receive first --group nowhere
see send-no-partition 1 "sluice send" "$bin" send first --partition 99 numbers
try receive-head 0 bash -c "set -o pipefail; '$bin' receive first | head -n 1" && ok receive-head

# --follow sees what is sent later
timeout 60 "$bin" receive second --follow --from latest --count 2 >followed 2>follow.err &
follower=$!
for _ in $(seq 50); do
	printf 'x\ny\n' | "$bin" send second --partition 0 2>/dev/null
	sleep 0.2
	kill -0 $follower 2>/dev/null || break
done
wait $follower
same receive-follow "x y" "$(head -n 2 followed | tr '\n' ' ' | sed 's/ $//')"

# ---- keys ------------------------------------------------------------------------------
try hub-policy 0 "$bin" connection-string --hub second --policy reader
reader=$out
see listen-receives 0 "a" "$bin" receive second --connection-string "$reader"
see listen-may-not-send 1 "unauthorized" "$bin" send second numbers --connection-string "$reader"
see listen-may-not-manage 1 "sluice hub delete" "$bin" hub delete second --connection-string "$reader" \
	--https "127.0.0.1:$(sed 's/.*"https":"127.0.0.1:\([0-9]*\)".*/\1/' ready)"
see wrong-key 1 "InvalidSignature\|unauthorized\|Unauthorized" "$bin" receive first --connection-string \
	"$(sed 's/SharedAccessKey=[^;]*/SharedAccessKey=d3Jvbmc=/' <<<"$cs")"
see wrong-hub 1 "is for the hub" "$bin" receive second --connection-string "$cs"
see by-variable 0 "1" env SLUICE_CONNECTION_STRING="$cs" "$bin" receive first --count 1
see untrusted 1 "certificate" "$bin" receive first --connection-string "$cs" --ca /etc/ssl/certs/ca-certificates.crt
see token-online 0 "^SharedAccessSignature " "$bin" token --hub first --ttl 5m

# ---- load --------------------------------------------------------------------------------
for how in "--protocol amqp --mode batch" "--protocol amqp --mode single" \
	"--protocol https --mode batch" "--protocol https --mode single" \
	"--rate 500 --batch 10 --connections 3"; do
	name="bench $(tr -d - <<<"$how")"
	try "${name// /-}" 0 "$bin" bench $how --duration 1s --size 200 --json --histogram hist &&
		same "${name// /-}" fine "$(python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["errors"] == 0 and r["events"] > 0, r
l = r["latencyMs"]
assert 0 < l["p50"] <= l["p99"] <= l["p999"] <= l["max"], r
assert r["rate"] == 0 or 400 <= r["eventsPerSecond"] <= 520, r
print("fine")' "$dir/out" 2>&1)"
done
see bench-histogram 0 "Percentile" cat hist
see bench-no-hub 1 "could not be found" "$bin" bench --hub nowhere --duration 1s
see bench-text 0 "throughput .*events/s" "$bin" bench --duration 500ms

# ---- throughput units and limits ------------------------------------------------------------
see units-none 0 "^units 0 (not limited)" "$bin" units show
see units-set 0 "^units 50 (set: 50)" "$bin" units set 50
see units-more 0 "^units 50 (set: 50; grow to 60 while throttled; shrink after 5m)" \
	"$bin" units set --auto-inflate-max 60 --auto-deflate-after 5m
sleep 0.5
see units-show 0 "^in .*B/s ([0-9]* %) .* events/s ([0-9]* %)" "$bin" units show
see units-scope 0 "^namespace *- *in *50 MB/s, 50000 events/s" "$bin" units show
see units-json 0 '"autoDeflateAfterMs": 300000' "$bin" units show --json
see units-bad 2 "outside 0 to 10000" "$bin" units set 10001
see units-nothing 2 "nothing to change" "$bin" units set
"$bin" units show --follow >followed 2>follow.err &
follower=$!
sleep 2.5
kill -TERM $follower
wait $follower
same units-follow-status 0 $?
same units-follow "2 2" "$(grep -c ' units=50 ' followed | sed 's/[3-9]/2/') $(
	grep -c ' scope=namespace name="" direction=in limit_bytes=52428800 ' followed | sed 's/[3-9]/2/')"
see units-off 0 "^units 0 (not limited)" "$bin" units set 0 --auto-inflate-max off --auto-deflate-after off

see limit-none 0 "^KIND *NAME *IN BYTES/S" "$bin" limit list
see limit-set 0 "^hub *team/one *1MiB *1000 *2MiB *4096" "$bin" limit set hub team/one --units 1
see limit-replace 0 "^hub *team/one *- *7 *- *-" "$bin" limit set hub team/one --in-events 7
see limit-policy 0 "^policy *second/reader *- *- *512KiB *-" \
	"$bin" limit set policy second/reader --out-bytes 512k
see limit-any 0 '^client *\* *1MiB *1000 *- *4096' "$bin" limit set client '*' --units 1 --out-bytes off
see limit-list 0 "^policy *second/reader" "$bin" limit list
see limit-list-json 0 '"name": "\*"' "$bin" limit list --json
see limit-of-hub 0 "limits *hub: in 7 events/s" "$bin" hub show team/one
see limit-kind 2 "no kind of limit" "$bin" limit set namespace x --units 1
see limit-nothing 2 "nothing is limited" "$bin" limit set hub first
see limit-name 1 "sluice limit set" "$bin" limit set hub 'a b' --units 1
done_by limit-delete "$bin" limit delete hub team/one
see limit-delete-again 1 "has no limit" "$bin" limit delete hub team/one
done_by limit-delete-policy "$bin" limit delete policy second/reader
done_by limit-delete-any "$bin" limit delete client '*'

# Sends that are refused for a time are sent again: all of them, each once.
done_by throttled-hub "$bin" hub create slow --partitions 2
done_by throttled-limit "$bin" limit set hub slow --in-events 2000
sleep 0.5
seq 1 12000 >many
from=$(date +%s%N)
see throttled-send 0 "^12000 events sent" "$bin" send slow many
ms=$((($(date +%s%N) - from) / 1000000))
same throttled-pace fine "$([ $ms -ge 4500 ] && [ $ms -le 15000 ] && echo fine || echo "$ms ms")"
see throttled-figures 0 "^hub *slow *in *2000 events/s" "$bin" units show
try throttled-receive 0 "$bin" receive slow
same throttled-receive "$(md5sum <many)" "$(sort -n "$dir/out" | md5sum)"
done_by throttled-tighter "$bin" limit set hub slow --in-events 100
sleep 0.5
for protocol in amqp https kafka; do
	mode=single
	[ $protocol = kafka ] && mode=batch
	try throttled-bench-$protocol 0 "$bin" bench --hub slow --protocol $protocol --mode $mode \
		$([ $protocol = kafka ] && echo --batch 20) --connections 4 --duration 4s --size 100 --json &&
		same throttled-bench-$protocol fine "$(python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["errors"] == 0, r
assert 150 <= r["events"] <= 520, r
print("fine")' "$dir/out" 2>&1)"
done
see metrics-scope 0 'sluice_throttle_limit_events{scope="hub",name="slow",direction="in"} 100' \
	curl -s "http://$(sed 's/.*"metrics":"\([^"]*\)".*/\1/' ready)/metrics"
done_by throttled-end "$bin" limit delete hub slow

# ---- after a restart, plain --------------------------------------------------------------
stop && ok stop || not_ok stop "status $?"
see after-stop 1 "sluice receive" "$bin" receive first
start --amqp 127.0.0.1:0 --management-rate 5 --throughput-units 3 --throttle-hold 0
try emulator-string 0 "$bin" connection-string --emulator --hub first
see emulator-string 0 "UseDevelopmentEmulator=true" echo "$out"
try receive-plain 0 "$bin" receive first --connection-string "$(cat "$dir/out")"
same receive-plain "$(md5sum <numbers)" "$(sort -n "$dir/out" | md5sum)"
see units-setting 0 "^units 3 (set: 3)" "$bin" units show
url="https://localhost:$(sed 's/.*"https":"127.0.0.1:\([0-9]*\)".*/\1/' ready)/\$management/v1"
token=$("$bin" token)
for _ in $(seq 12); do
	curl -si --cacert data/tls/ca.pem -H "Authorization: $token" "$url/hubs"
done >answers
same management-rate "503 Retry-After 50008" "$(grep -o '^HTTP/1.1 503' answers | head -n 1 | cut -d' ' -f2) $(
	grep -o '^Retry-After: [1-9]' answers | head -n 1 | cut -d: -f1) $(grep -o 50008 answers | head -n 1)"
same management-exempt 200 "$(curl -s -o /dev/null -w '%{http_code}' --cacert data/tls/ca.pem \
	-H "Authorization: $token" "$url/info")"
for i in 1 2 3 4 5 6 7 8; do
	try management-again 0 "$bin" hub list || break
done && ok management-again
done_by refused-limit "$bin" limit set hub first --in-events 5
sleep 0.5
for _ in $(seq 12); do
	curl -si --cacert data/tls/ca.pem -H "Authorization: $token" -d x "${url%%/\$*}/first/messages"
done >answers
same refused-send "201 503 Retry-After 50002 server-busy" "$(
	grep -o '^HTTP/1.1 [0-9]*' answers | cut -d' ' -f2 | sort -u | tr '\n' ' ')$(
	grep -o '^Retry-After: [1-9]' answers | head -n 1 | cut -d: -f1) $(
	grep -o 50002 answers | head -n 1) $(grep -o server-busy answers | head -n 1)"
for protocol in amqp https; do
	try refused-bench-$protocol 0 "$bin" bench --hub first --protocol $protocol --mode single \
		--in-flight 4 --connections 2 --duration 4s --json &&
		same refused-bench-$protocol fine "$(python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
assert r["errors"] == 0 and r["throttled"] > 0 and r["throttledSeconds"] > 0, r
assert 1 <= r["events"] <= 30, r
print("fine")' "$dir/out" 2>&1)"
done
seq 1 15 >few
see refused-send-again 0 "^15 events sent, [0-9]* times refused for a while" bash -c \
	"for i in 1 2 3 4 5; do sed -n \"\$((i * 3 - 2)),\$((i * 3))p\" few; sleep 0.1; done | '$bin' send first"
done_by refused-end "$bin" limit delete hub first
done_by hub-delete "$bin" hub delete second
see hub-deleted 1 "second" "$bin" hub show second
stop && ok stop-again || not_ok stop-again "status $?"

exit $failed
