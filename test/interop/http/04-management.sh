#!/usr/bin/env bash
# The management API: hubs, groups, policies, and who may do what.
. "$(dirname "$0")/lib.sh"

hub="check/http.$$"
path="check%2Fhttp.$$"
api="$API/hubs/$path"
basic() { printf 'Authorization: Basic %s' "$(printf '%s' "$1" | base64 -w0)"; }
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$OUT/body"; }

expect info 200 -H "$BASIC" "$API/info"
has info_has_version '"version":"[0-9.]+","node":[0-9]+,"host":' body
expect openapi 200 -H "$BASIC" "$API/openapi.json"
has openapi_is_one '"openapi": "3' body
expect openapi_needs_manage 401 "$API/openapi.json"

expect hub_create 201 -H "$BASIC" -X PUT -d '{"partitions":3}' "$api"
has hub_create_answers_the_hub "\"name\":\"$hub\",\"partitions\":3,\"retentionMs\":null,\"retentionBytes\":null,\"cleanup\":\"delete\",\"createdAt\":\"20" body
expect hub_create_again 409 -H "$BASIC" -X PUT -d '{}' "$api"
expect hub_list 200 -H "$BASIC" "$API/hubs"
has hub_list_has_it "\"name\":\"$hub\"" body
expect hub_show 200 -H "$BASIC" "$api"
has hub_show_has_positions '"partition":2,"beginSequenceNumber":0,"nextSequenceNumber":0,"lastEnqueuedTime":null,"bytes":0' body
expect hub_update 200 -H "$BASIC" -X PATCH -d '{"partitions":5}' "$api"
has hub_update_answers_the_hub '"partitions":5,"retentionMs":null' body
expect hub_update_never_shrinks 400 -H "$BASIC" -X PATCH -d '{"partitions":1}' "$api"
expect hub_update_unknown_member 400 -H "$BASIC" -X PATCH -d '{"partition":9}' "$api"
has hub_update_names_the_member "unknown member 'partition'" body
for member in retentionMs retentionBytes cleanup; do
	expect "hub_create_wrong_$member" 400 -H "$BASIC" -X PUT -d "{\"$member\":0}" "$API/hubs/other"
	has "hub_create_tells_of_$member" "expected here" body
done
expect hub_bad_name 400 -H "$BASIC" -X PUT -d '{}' "$API/hubs/bad%20name"
expect hub_of_nobody 404 -H "$BASIC" "$API/hubs/there-is-none"
expect hub_needs_credentials 401 "$api"
expect send_to_hub_with_slash 201 -H "$BASIC" -d x "$BASE/$hub/messages"
expect send_to_hub_with_escaped_slash 201 -H "$BASIC" -d x "$BASE/$path/messages"

expect group_create 201 -H "$BASIC" -X PUT "$api/groups/g1"
expect group_create_again 409 -H "$BASIC" -X PUT "$api/groups/g1"
expect group_list 200 -H "$BASIC" "$api/groups"
has group_list_has_both '"name":"\$Default".*"name":"g1"' body
expect group_delete 204 -H "$BASIC" -X DELETE "$api/groups/g1"
expect group_delete_again 404 -H "$BASIC" -X DELETE "$api/groups/g1"
expect group_default_stays 400 -H "$BASIC" -X DELETE "$api/groups/\$Default"

expect policy_create 201 -H "$BASIC" -X PUT -d '{"rights":["send"]}' "$api/policies/sender"
key=$(field primaryKey)
second=$(field secondaryKey)
[ ${#key} = 44 ] && ok policy_has_a_key || not_ok policy_has_a_key "'$key'"
expect policy_create_again 409 -H "$BASIC" -X PUT -d '{"rights":["send"]}' "$api/policies/sender"
expect policy_without_rights 400 -H "$BASIC" -X PUT -d '{}' "$api/policies/other"
expect policy_list 200 -H "$BASIC" "$api/policies"
has policy_list_has_it '"name":"sender","rights":\["send"\]' body
lacks policy_list_has_no_keys 'Key"' body
sender=$(basic "sender:$key")
expect policy_sends 201 -H "$sender" -d x "$BASE/$hub/messages"
expect policy_reads_its_hub 200 -H "$sender" "$api"
expect policy_shown_to_any_right 200 -H "$sender" "$api/policies/sender"
lacks policy_keys_need_manage 'Key"' body
expect policy_does_not_manage 401 -H "$sender" -X PATCH -d '{"partitions":6}' "$api"
expect policy_does_not_send_elsewhere 401 -H "$sender" -d x "$BASE/$SLUICE_HUB/messages"
expect policy_does_not_list_hubs 401 -H "$sender" "$API/hubs"
expect rotate_primary 200 -H "$BASIC" -X POST -d '{"key":"primary"}' "$api/policies/sender/rotate"
[ "$(field primaryKey)" != "$key" ] && ok rotate_makes_another_key || not_ok rotate_makes_another_key same
[ "$(field secondaryKey)" = "$second" ] && ok rotate_keeps_the_other_key || not_ok rotate_keeps_the_other_key other
expect old_key_is_refused 401 -H "$sender" -d x "$BASE/$hub/messages"
expect secondary_key_works 201 -H "$(basic "sender:$second")" -d x "$BASE/$hub/messages"
expect policy_delete 204 -H "$BASIC" -X DELETE "$api/policies/sender"
expect policy_deleted 404 -H "$BASIC" "$api/policies/sender"

expect manager_create 201 -H "$BASIC" -X PUT -d '{"rights":["manage"]}' "$api/policies/boss"
boss=$(basic "boss:$(field primaryKey)")
expect hub_manager_changes_its_hub 200 -H "$boss" -X PATCH -d '{"partitions":6}' "$api"
expect hub_manager_sees_keys 200 -H "$boss" "$api/policies/boss"
has hub_manager_has_keys '"primaryKey"' body
expect hub_manager_stays_in_its_hub 401 -H "$boss" -X DELETE "$API/hubs/$SLUICE_HUB"
expect hub_manager_makes_no_namespace_policy 401 -H "$boss" -X PUT -d '{"rights":["manage"]}' "$API/policies/evil"

expect namespace_policy_create 201 -H "$BASIC" -X PUT -d '{"rights":["listen"]}' "$API/policies/listen.$$"
listen=$(basic "listen.$$:$(field primaryKey)")
expect metrics_need_listen 200 -H "$listen" "$BASE/metrics"
expect listener_does_not_send 401 -H "$listen" -d x "$BASE/$hub/messages"
expect namespace_policy_delete 204 -H "$BASIC" -X DELETE "$API/policies/listen.$$"
expect last_manager_stays 400 -H "$BASIC" -X DELETE "$API/policies/$POLICY"

expect hub_delete 204 -H "$BASIC" -X DELETE "$api"
expect hub_delete_again 404 -H "$BASIC" -X DELETE "$api"
expect hub_deleted_takes_no_events 404 -H "$BASIC" -d x "$BASE/$hub/messages"
finish
