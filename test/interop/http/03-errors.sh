#!/usr/bin/env bash
# Every refusal: its status, its form, its headers.
. "$(dirname "$0")/lib.sh"

url="$BASE/$SLUICE_HUB/messages"
expect no_credentials 401 -d x "$url"
has challenge '^www-authenticate: ' head
has error_is_json '^content-type: application/json' head
has error_has_code '"code":"unauthorized-access"' body
has error_has_tracking_id '"trackingId":"[0-9a-f]{32}"' body
expect wrong_signature 401 -H "${SAS%%sig=*}sig=AAAA&${SAS#*&}" -d x "$url"
expect expired_token 401 -H "Authorization: SharedAccessSignature sr=x&sig=AAAA&se=1&skn=$POLICY" -d x "$url"
expect token_of_another_hub 401 -H "Authorization: $(token --hub "not-$SLUICE_HUB")" -d x "$url"
expect bearer 401 -H 'Authorization: Bearer abc' -d x "$url"
has bearer_is_explained 'Bearer tokens are not accepted' body
expect basic_with_wrong_key 401 -u "$POLICY:wrong" -d x "$url"
expect basic_that_is_not_base64 401 -H 'Authorization: Basic !!' -d x "$url"
expect publisher_token_elsewhere 401 -H "Authorization: $(token --hub "$SLUICE_HUB" --publisher p1)" -d x "$url"
expect strangers_do_not_learn_which_hubs_exist 401 -d x "$BASE/there-is-no-such-hub/messages"
expect unknown_hub 404 -H "$BASIC" -d x "$BASE/there-is-no-such-hub/messages"
expect unknown_path 404 "$BASE/nothing/here"
expect unknown_partition 400 -H "$SAS" -d x "$BASE/$SLUICE_HUB/partitions/99999/messages"
expect wrong_method 405 -X PUT -d x "$url"
has allow '^allow: POST' head
expect bad_broker_properties 400 -H "$SAS" -H 'BrokerProperties: {PartitionKey:k}' -d x "$url"
has bad_broker_properties_says_where 'BrokerProperties: JSON line 1' body
expect key_too_long 400 -H "$SAS" -H "BrokerProperties: {\"PartitionKey\":\"$(printf 'k%.0s' $(seq 129))\"}" -d x "$url"
expect bad_timeout 400 -H "$SAS" -d x "$url?timeout=soon"
head -c 1048577 /dev/zero >"$OUT/big"
expect too_large 413 -H "$SAS" --data-binary @"$OUT/big" "$url"
expect too_large_with_expect 413 -H "$SAS" -H 'Expect: 100-continue' --data-binary @"$OUT/big" "$url"
expect too_large_chunked 413 -H "$SAS" -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary @"$OUT/big" "$url"
expect bad_escape_in_path 400 -H "$BASIC" -d x "$BASE/%zz/messages"
expect no_length 411 -H "$SAS" -H 'Content-Length:' -X POST "$url"
expect websocket 501 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
	-H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -H 'Sec-WebSocket-Protocol: AMQPWSB10' "$BASE/\$servicebus/websocket"
finish
