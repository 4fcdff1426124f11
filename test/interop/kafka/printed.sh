#!/usr/bin/env bash
# What `make run` prints for curl, kcat and reading back works as it is printed.
cd "$(dirname "$0")/../../.." || exit 1
# As in a shell of one's own: the command line would read some of these.
unset SLUICE_CA SLUICE_CS SLUICE_HTTPS SLUICE_BIN DATA
OUT=$(mktemp -d "${TMPDIR:-/tmp}/sluice-printed.XXXXXX")
FAILED=0
pid=""
cleanup() {
	if [ -n "$pid" ]; then
		kill -TERM "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	fi
	rm -rf "$OUT"
}
trap cleanup EXIT

SLUICE_DATA=$OUT/data SLUICE_AMQP=127.0.0.1:0 \
	SLUICE_RUN_FLAGS="--amqps 127.0.0.1:0 --https 127.0.0.1:0 --kafka 127.0.0.1:0 --metrics 127.0.0.1:0" \
	bash deploy/run.sh >"$OUT/said" 2>"$OUT/log" &
pid=$!
for _ in $(seq 100); do
	grep -q '^Ctrl-C' "$OUT/said" && break
	sleep 0.1
done
printed() { # pattern: the line that has it, without its indent
	grep -E "$1" "$OUT/said" | head -n 1 | sed 's/^ *//'
}
works() { # NAME PATTERN EXPECTED: the printed command ends well and says this
	local line
	line=$(printed "$2")
	if [ -n "$line" ] && timeout 30 bash -c "$line" >"$OUT/out" 2>&1 && grep -qE "$3" <(cat "$OUT/out"; echo); then
		echo "ok printed: $1"
	else
		echo "not ok printed: $1: $line: $(tail -n 3 "$OUT/out" "$OUT/log" | tr '\n' ' ')"
		FAILED=1
	fi
}
works "curl sends" '^ +curl ' '201'
works "kcat sends" '\| kcat ' '^'
works "the command line reads what curl sent" 'sluice receive events' '^(.*[^a-z])?hello$'
works "the command line reads what kcat sent" 'sluice receive events' 'hello from kcat'
exit $FAILED
