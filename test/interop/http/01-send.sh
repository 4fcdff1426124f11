#!/usr/bin/env bash
# Single events, in all the ways they are addressed and authorised.
. "$(dirname "$0")/lib.sh"

before=$(events)
expect send_to_hub 201 -H "$SAS" -d 'one' "$BASE/$SLUICE_HUB/messages"
has answer_is_xml '^content-type: application/xml; *charset=utf-8' head
has answer_is_empty '^content-length: 0' head
expect send_with_query 201 -H "$SAS" -d 'one' "$BASE/$SLUICE_HUB/messages?timeout=60&api-version=2014-01"
expect send_to_partition 201 -H "$SAS" -d 'one' "$BASE/$SLUICE_HUB/partitions/1/messages"
expect send_to_publisher 201 -H "$SAS" -d 'one' "$BASE/$SLUICE_HUB/publishers/device-1/messages"
expect fixed_words_in_any_case 201 -H "$SAS" -d 'one' "$BASE/$SLUICE_HUB/Partitions/0/Messages"
expect send_with_basic 201 -H "$BASIC" -d 'one' "$BASE/$SLUICE_HUB/messages"
expect send_with_key 201 -H "$SAS" -H 'BrokerProperties: {"PartitionKey":"k"}' -d 'one' "$BASE/$SLUICE_HUB/messages"
expect send_with_properties 201 -H "$SAS" -H 'device: "d 1"' -H 'x-ms-retrypolicy: NoRetry' -d 'one' "$BASE/$SLUICE_HUB/messages"
expect empty_event 201 -H "$SAS" -H 'Content-Type:' -H 'Content-Length: 0' -X POST "$BASE/$SLUICE_HUB/messages"
head -c 1048576 /dev/zero >"$OUT/max"
expect largest_event 201 -H "$SAS" --data-binary @"$OUT/max" "$BASE/$SLUICE_HUB/messages"
expect chunked_event 201 -H "$SAS" -H 'Transfer-Encoding: chunked' -d 'one' "$BASE/$SLUICE_HUB/messages"
expect expect_100_continue 201 -H "$SAS" -H 'Expect: 100-continue' --data-binary @"$OUT/max" "$BASE/$SLUICE_HUB/messages"
expect token_of_publisher 201 -H "Authorization: $(token --hub "$SLUICE_HUB" --publisher p1)" -d 'one' "$BASE/$SLUICE_HUB/publishers/p1/messages"
after=$(events)
if [ $((after - before)) = 13 ]; then
	ok every_event_is_stored_once
else
	not_ok every_event_is_stored_once "$((after - before)) events, not 13"
fi
finish
