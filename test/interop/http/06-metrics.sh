#!/usr/bin/env bash
# The plain metrics port, and metrics and health on the HTTPS port.
. "$(dirname "$0")/lib.sh"

plain="http://$SLUICE_METRICS"
expect metrics 200 "$plain/metrics"
has metrics_type '^content-type: text/plain; version=0.0.4' head
has metrics_have_sends '^sluice_incoming_requests_total [0-9]+' body
expect live 200 "$plain/health/live"
expect ready 200 "$plain/health/ready"
expect emulator_health 200 "$plain/health"
has emulator_health_form '^\{"status":"healthy","message":"Service is healthy."\}' body
expect no_sends_here 404 -H "$SAS" -d x "$plain/$SLUICE_HUB/messages"
expect no_management_here 404 -H "$BASIC" "$plain/\$management/v1/hubs"
expect only_get 405 -d x "$plain/metrics"
expect metrics_over_https_need_credentials 401 "$BASE/metrics"
expect metrics_over_https 200 -H "$BASIC" "$BASE/metrics"
before=$(curl -sS "$plain/metrics" | awk '$1 == "sluice_successful_requests_total" { print $2 }')
expect a_send 201 -H "$SAS" -d x "$BASE/$SLUICE_HUB/messages"
after=$(curl -sS "$plain/metrics" | awk '$1 == "sluice_successful_requests_total" { print $2 }')
[ "$after" -gt "$before" ] && ok send_is_counted || not_ok send_is_counted "$before, $after"
finish
