# Sourced by test scripts: a real `sluice serve` of their own, on free loopback
# ports, in a temporary directory, stopped by its process id.
#
# server_start [flags]  sets SERVER_PID, DATA, AMQPS, AMQP, HTTPS, KAFKA, METRICS, CA
# server_stop [signal]  waits for the end and gives its status
# ok NAME / not_ok NAME reason; finish exits with 1 when anything was not ok

SLUICE_BIN=${SLUICE_BIN:-build/sluice}
WORK_DIR=$(mktemp -d "${TMPDIR:-/tmp}/sluice-test.XXXXXX")
SERVER_PID=""
FAILED=0
DATA=${DATA:-$WORK_DIR/data}

server_field() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p' "$WORK_DIR/ready"; }

server_start() {
	: >"$WORK_DIR/ready"
	"$SLUICE_BIN" serve --data "$DATA" --amqps 127.0.0.1:0 --https 127.0.0.1:0 \
		--metrics 127.0.0.1:0 --amqp 127.0.0.1:0 --kafka 127.0.0.1:0 "$@" \
		>"$WORK_DIR/ready" 2>>"$WORK_DIR/log" &
	SERVER_PID=$!
	for _ in $(seq 1 300); do
		[ -s "$WORK_DIR/ready" ] && break
		kill -0 "$SERVER_PID" 2>/dev/null || return 1
		sleep 0.05
	done
	[ -s "$WORK_DIR/ready" ] || return 1
	AMQPS=$(server_field amqps)
	AMQP=$(server_field amqp)
	HTTPS=$(server_field https)
	KAFKA=$(server_field kafka)
	METRICS=$(server_field metrics)
	CA=$(server_field ca)
	export AMQPS AMQP HTTPS KAFKA METRICS CA DATA
}

server_stop() {
	[ -n "$SERVER_PID" ] || return 0
	kill "-${1:-TERM}" "$SERVER_PID" 2>/dev/null
	wait "$SERVER_PID"
	local status=$?
	SERVER_PID=""
	return $status
}

ok() { echo "ok $1"; }
not_ok() {
	echo "not ok $1 ${2:-}"
	FAILED=1
}
# check NAME command...: ok when the command succeeds
check() {
	local name=$1
	shift
	if "$@" >"$WORK_DIR/out" 2>&1; then
		ok "$name"
	else
		not_ok "$name" "$(tail -c 300 "$WORK_DIR/out" | tr '\n' ' ')"
	fi
}

cleanup() {
	if [ -n "$SERVER_PID" ]; then
		kill -KILL "$SERVER_PID" 2>/dev/null
		wait "$SERVER_PID" 2>/dev/null
	fi
	if [ "$FAILED" != 0 ] && [ -s "$WORK_DIR/log" ]; then
		echo "--- the server's last words"
		tail -n 30 "$WORK_DIR/log"
	fi
	[ -n "${KEEP_WORK_DIR:-}" ] || rm -rf "$WORK_DIR"
}
trap cleanup EXIT
finish() { exit "$FAILED"; }
