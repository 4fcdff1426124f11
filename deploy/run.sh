#!/usr/bin/env bash
# `make run`: a development server on loopback with one hub, and what to paste.
# Ctrl-C stops it. SLUICE_RUN_FLAGS adds flags for `sluice serve`.
set -u
cd "$(dirname "$0")/.." || exit 1
sluice=build/sluice
data=${SLUICE_DATA:-./sluice-data}

fifo=$(mktemp -u)
mkfifo -m 600 "$fifo" || exit 1
# shellcheck disable=SC2086
"$sluice" serve --data "$data" --hub events:4 --amqp "${SLUICE_AMQP:-127.0.0.1:5672}" \
	${SLUICE_RUN_FLAGS:-} >"$fifo" &
pid=$!
trap 'kill -TERM $pid 2>/dev/null' INT TERM
read -r ready <"$fifo"
rm -f "$fifo"
if [ -z "${ready:-}" ]; then
	wait $pid
	exit $?
fi

field() { printf '%s' "$ready" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
https=$(field https)
metrics=$(field metrics)
kafka=$(field kafka)
ca=$(realpath "$(field ca)")
cs=$("$sluice" connection-string --data "$data" --hub events)
plain=$("$sluice" connection-string --data "$data" --hub events --emulator)
token="\$($PWD/$sluice token --data $(realpath "$data") --hub events)"

cat <<TXT

Sluice is ready. Hub: events (4 partitions). Data: $data

Connection string (AMQP over TLS, every SDK):
  $cs
CA certificate that clients must trust:
  $ca
The same without TLS, for SDKs in development mode:
  $plain

curl, one event:
  curl -i --cacert $ca -H "Authorization: $token" -d 'hello' https://localhost:${https##*:}/events/messages

Python (with azure-eventhub, such as Debian's python3-azure):
  /usr/bin/python3 -c 'from azure.eventhub import EventHubProducerClient, EventData; import sys; p = EventHubProducerClient.from_connection_string(sys.argv[1], connection_verify=sys.argv[2]); p.send_batch([EventData("hello from Python")]); p.close()' '$cs' '$ca'

JavaScript (after npm install @azure/event-hubs):
  NODE_EXTRA_CA_CERTS='$ca' node -e 'const { EventHubProducerClient } = require("@azure/event-hubs"); const p = new EventHubProducerClient(process.argv[1]); p.sendBatch([{ body: "hello from JavaScript" }]).then(() => p.close())' '$cs'

kcat (a Kafka client; any other takes the same settings):
  printf 'hello from kcat\n' | kcat -P -b localhost:${kafka##*:} -t events -X security.protocol=SASL_SSL -X sasl.mechanisms=PLAIN -X sasl.username='\$ConnectionString' -X sasl.password='$cs' -X ssl.ca.location=$ca

Read it back:
  $PWD/$sluice receive events --data $(realpath "$data")

Health and metrics: http://$metrics/health/ready  http://$metrics/metrics
Ctrl-C stops the server; the data stays.
TXT
while :; do
	wait $pid
	status=$?
	kill -0 $pid 2>/dev/null || exit $status
done
