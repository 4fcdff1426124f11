#!/usr/bin/env bash
# Batches in the Service Bus JSON form: one partition, all or nothing.
. "$(dirname "$0")/lib.sh"

url="$BASE/$SLUICE_HUB/messages"
before=$(events)
expect batch 201 -H "$SAS" -H "$BATCH" -d '[{"Body":"a"},{"Body":{"b":[1, 2]}},{"Body":null}]' "$url"
expect media_type_with_parameters 201 -H "$SAS" -H "$BATCH; charset=utf-8" -d '[{"Body":"a"}]' "$url"
expect batch_with_key 201 -H "$SAS" -H "$BATCH" \
	-d '[{"Body":"a","BrokerProperties":{"PartitionKey":"k"}},{"BrokerProperties":{"PartitionKey":"k"},"Body":"b"}]' "$url"
expect batch_with_properties 201 -H "$SAS" -H "$BATCH" \
	-d '[{"Body":"YQ==","IsBodyBase64":true,"UserProperties":{"s":"x","i":1,"l":5000000000,"d":1.5,"b":true,"z":null}}]' "$url"
expect batch_to_partition 201 -H "$SAS" -H "$BATCH" -d '[{"Body":"a"}]' "$BASE/$SLUICE_HUB/partitions/0/messages"
expect other_keys_do_not_matter_for_publishers 201 -H "$SAS" -H "$BATCH" \
	-d '[{"Body":"a","BrokerProperties":{"PartitionKey":"x"}},{"Body":"b"}]' "$BASE/$SLUICE_HUB/publishers/p/messages"
middle=$(events)
[ $((middle - before)) = 10 ] && ok batch_events_are_stored || not_ok batch_events_are_stored "$((middle - before)), not 10"

expect empty_batch 400 -H "$SAS" -H "$BATCH" -d '[]' "$url"
expect no_array 400 -H "$SAS" -H "$BATCH" -d '{"Body":"a"}' "$url"
expect malformed_json 400 -H "$SAS" -H "$BATCH" --data-binary $'[{"Body":1},\n{"Body":}]' "$url"
has malformed_json_says_where 'line 2 column 9' body
expect different_keys 400 -H "$SAS" -H "$BATCH" \
	-d '[{"Body":"a","BrokerProperties":{"PartitionKey":"k"}},{"Body":"b","BrokerProperties":{"PartitionKey":"l"}}]' "$url"
has different_keys_names_the_item 'item 1' body
expect item_without_body 400 -H "$SAS" -H "$BATCH" -d '[{"Body":"a"},{"body":"b"}]' "$url"
has item_without_body_is_named 'item 1' body
expect too_deep 400 -H "$SAS" -H "$BATCH" -d "[{\"Body\":$(printf '[%.0s' $(seq 100))$(printf ']%.0s' $(seq 100))}]" "$url"
expect property_that_is_a_list 400 -H "$SAS" -H "$BATCH" -d '[{"Body":"a","UserProperties":{"x":[1]}}]' "$url"
{ printf '[{"Body":null}' && yes ',{"Body":null}' | head -70000 | tr -d '\n' && printf ']'; } >"$OUT/many"
expect encodes_too_large_or_fits 201 -H "$SAS" -H "$BATCH" --data-binary @"$OUT/many" "$url"
expect unknown_service_media_type 415 -H "$SAS" -H 'Content-Type: application/vnd.microsoft.servicebus.yaml' -d 'x' "$url"
after=$(events)
[ $((after - middle)) = 70001 ] && ok refused_batches_store_nothing || not_ok refused_batches_store_nothing "$((after - middle)), not 70001"
finish
