#!/usr/bin/env bash
# HTTP as it is spoken by odd, slow and hostile clients.
. "$(dirname "$0")/lib.sh"

auth="$BASIC"
post="POST /$SLUICE_HUB/messages HTTP/1.1\r\nHost: a\r\n$auth\r\nContent-Length: 3\r\n"
count() { grep -c "^HTTP/1.1 $1" "$OUT/answer"; }
is() { [ "$2" = "$3" ] && ok "$1" || not_ok "$1" "$2, not $3: $(head -c 200 "$OUT/answer" | tr '\n' ' ')"; }

printf "$post\r\none$post\r\ntwo${post}Connection: close\r\n\r\nend" | raw >"$OUT/answer"
is pipelined_requests_are_all_answered "$(count 201)" 3

printf "POST /$SLUICE_HUB/messages HTTP/1.0\r\n$auth\r\nContent-Length: 3\r\n\r\none" | raw >"$OUT/answer"
is http_1_0 "$(grep -c '^HTTP/1.[01] 201' "$OUT/answer")" 1

{ for c in P O S T ' ' "/$SLUICE_HUB/mess" 'ages HT' 'TP/1.1' '\r' '\nHost: a\r\n' "$auth\r" '\nContent-Length: 3' \
	'\r\nConnection: close\r\n\r' '\no' n e; do printf "$c"; sleep 0.05; done; } | raw 20 >"$OUT/answer"
is head_in_small_pieces "$(count 201)" 1

printf '\0\1\2\3garbage\r\n\r\n' | raw >"$OUT/answer"
is garbage_is_refused "$(count 400)" 1
printf 'AMQP\3\1\0\0' | raw >"$OUT/answer"
is amqp_on_this_port_is_refused "$(count 400)" 1
{ printf 'GET / HTTP/1.1\r\nX: '; head -c 20000 /dev/zero | tr '\0' x; printf '\r\n\r\n'; } | raw >"$OUT/answer"
is long_head_is_refused "$(count 431)" 1

expect head_request 200 -I "$BASE/health/live"
expect live 200 "$BASE/health/live"
expect ready 200 "$BASE/health/ready"
expect options_is_no_method_here 405 -X OPTIONS "$BASE/health/live"
expect keep_alive_after_an_error 401 -d x "$BASE/$SLUICE_HUB/messages"
lacks keep_alive_is_not_refused '^connection: close' head

# A client that goes away in the middle, many times; then the server still serves.
for _ in $(seq 20); do
	printf "POST /$SLUICE_HUB/messages HTTP/1.1\r\nHost: a\r\n$auth\r\nContent-Length: 100000\r\n\r\nhalf" | raw 1 >/dev/null
	printf "$post\r\none" | timeout 0.05 openssl s_client -quiet -connect "$SLUICE_HTTPS" -CAfile "$SLUICE_CA" >/dev/null 2>&1
done
expect alive_after_disconnects 201 -H "$SAS" -d x "$BASE/$SLUICE_HUB/messages"

urls=()
for _ in $(seq 200); do urls+=(-o /dev/null "$BASE/$SLUICE_HUB/messages"); done
n=$(curl -sS --cacert "$SLUICE_CA" -H "$SAS" -d x -w '%{http_code} %{num_connects}\n' "${urls[@]}" | sort | uniq -c |
	awk '$2 == 201 { n += $1; c += $1 * $3 } END { print n, c }')
[ "$n" = "200 1" ] && ok one_connection_serves_200_requests || not_ok one_connection_serves_200_requests "$n"
finish
