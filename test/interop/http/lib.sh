# Sourced by the checks of this folder, which run against a server that is up:
#   SLUICE_CS       connection string of a policy with Manage
#   SLUICE_CA       what to trust
#   SLUICE_HTTPS    host:port of the HTTPS port
#   SLUICE_METRICS  host:port of the metrics port
#   SLUICE_HUB      an event hub with at least two partitions
#   SLUICE_BIN      for `token`

: "${SLUICE_CS:?}" "${SLUICE_CA:?}" "${SLUICE_HTTPS:?}" "${SLUICE_METRICS:?}" "${SLUICE_HUB:?}" "${SLUICE_BIN:?}"

FAILED=0
OUT=$(mktemp -d "${TMPDIR:-/tmp}/sluice-http.XXXXXX")
trap 'rm -rf "$OUT"' EXIT
BASE="https://$SLUICE_HTTPS"
API="$BASE/\$management/v1"
BATCH='Content-Type: application/vnd.microsoft.servicebus.json'

ok() { echo "ok $1"; }
not_ok() {
	echo "not ok $1 $2"
	FAILED=1
}
finish() { exit "$FAILED"; }

cs_field() { printf '%s' "$SLUICE_CS" | tr ';' '\n' | sed -n "s/^$1=//p"; }
token() { "$SLUICE_BIN" token --connection-string "$SLUICE_CS" "$@"; }
POLICY=$(cs_field SharedAccessKeyName)
KEY=$(cs_field SharedAccessKey)
SAS="Authorization: $(token --hub "$SLUICE_HUB")"
BASIC="Authorization: Basic $(printf '%s:%s' "$POLICY" "$KEY" | base64 -w0)"

# call CURL-ARGUMENTS: prints the status; leaves $OUT/head and $OUT/body.
call() {
	: >"$OUT/head"
	: >"$OUT/body"
	curl -sS --max-time 30 --cacert "$SLUICE_CA" -D "$OUT/head" -o "$OUT/body" -w '%{http_code}' "$@" 2>"$OUT/err"
}
# expect NAME STATUS CURL-ARGUMENTS
expect() {
	local name=$1 want=$2 got
	shift 2
	got=$(call "$@")
	if [ "$got" = "$want" ]; then
		ok "$name"
	else
		not_ok "$name" "status $got, not $want: $(head -c 300 "$OUT/body" "$OUT/err" | tr '\n' ' ')"
	fi
}
# has NAME PATTERN FILE: the last answer's head or body matches
has() {
	if grep -qiE -- "$2" "$OUT/$3"; then
		ok "$1"
	else
		not_ok "$1" "no $2 in $3: $(head -c 300 "$OUT/$3" | tr '\r\n' '  ')"
	fi
}
lacks() {
	if grep -qiE -- "$2" "$OUT/$3"; then
		not_ok "$1" "$2 in $3"
	else
		ok "$1"
	fi
}
# raw [SECONDS]: sends standard input as it is over TLS, prints the answer until
# the server ends the connection or nothing more comes.
raw() {
	timeout "${1:-10}" openssl s_client -quiet -connect "$SLUICE_HTTPS" -CAfile "$SLUICE_CA" \
		2>"$OUT/err" | tr -d '\r'
}
# Number of events of a hub, over all partitions.
events() {
	curl -sS --cacert "$SLUICE_CA" -H "$BASIC" "$API/hubs/${1:-$SLUICE_HUB}" |
		grep -oE '"(begin|next)SequenceNumber":[0-9]+' |
		awk -F: '/next/ { n += $2 } /begin/ { n -= $2 } END { print n + 0 }'
}
