"""What the throttling scripts share: clients of each protocol as they come, the
server's figures, and what was stored. The environment is that of ../throttle.sh."""
import http.client
import json
import logging
import os
import ssl
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "kafka"))

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient  # noqa: E402
from common import ENV, finish, test  # noqa: E402,F401

CS, CA, HTTPS, METRICS = ENV["SLUICE_CS"], ENV["SLUICE_CA"], ENV["SLUICE_HTTPS"], ENV["SLUICE_METRICS"]
PARTS = dict(p.split("=", 1) for p in CS.split(";") if p)
HOST = urllib.parse.urlparse(PARTS["Endpoint"]).hostname
POLICY, KEY = PARTS["SharedAccessKeyName"], PARTS["SharedAccessKey"]
MB = 1 << 20

logging.getLogger("azure").setLevel(logging.CRITICAL)


def cli(*words):
    run = subprocess.run([ENV["SLUICE_BIN"], *words, "--data", ENV["DATA"]], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    return run.stdout


# ---- clients ---------------------------------------------------------------------------


def sdk_producer(hub, **kw):
    return EventHubProducerClient.from_connection_string(CS, eventhub_name=hub, connection_verify=CA, **kw)


def sdk_consumer(hub, **kw):
    return EventHubConsumerClient.from_connection_string(
        CS, consumer_group="$Default", eventhub_name=hub, connection_verify=CA, **kw)


def kafka_options(**more):
    o = {"bootstrap.servers": ENV["KAFKA_TLS"], "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
         "sasl.username": ENV["KAFKA_USER"], "sasl.password": ENV["KAFKA_PASSWORD"], "ssl.ca.location": CA,
         "broker.address.family": "v4", "log_level": 0}
    o.update({k if k.endswith("_cb") else k.replace("_", "."): v for k, v in more.items()})
    return o


def proton_connect(**kw):
    from proton import SSLDomain
    from proton.utils import BlockingConnection
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(CA)
    domain.set_peer_authentication(SSLDomain.ANONYMOUS_PEER)
    return BlockingConnection("amqps://%s:5671" % HOST, timeout=20, ssl_domain=domain, user=POLICY, password=KEY,
                              allowed_mechs="PLAIN", **kw)


class Https:
    """A connection that is kept alive."""

    def __init__(self, hub=""):
        host, port = HTTPS.split(":")
        self.conn = http.client.HTTPSConnection(host, int(port), timeout=60,
                                                context=ssl.create_default_context(cafile=CA))
        # Tokens are for hubs; namespace management takes name and key as well.
        self.headers = {"Authorization": cli("token", *(("--hub", hub) if hub else ())).strip()}

    def ask(self, method, path, body=None, headers=None):
        self.conn.request(method, path, body, {**self.headers, **(headers or {})})
        answer = self.conn.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()

    def post(self, hub, body, partition=None):
        path = "/%s/messages" % hub if partition is None else "/%s/partitions/%d/messages" % (hub, partition)
        return self.ask("POST", path, body)

    def post_batch(self, hub, bodies, partition=None):
        path = "/%s/messages" % hub if partition is None else "/%s/partitions/%d/messages" % (hub, partition)
        return self.ask("POST", path, json.dumps([{"Body": b} for b in bodies]),
                        {"Content-Type": "application/vnd.microsoft.servicebus.json"})


# ---- the server's figures ------------------------------------------------------------------


def metrics():
    """Name with labels -> value."""
    conn = http.client.HTTPConnection(*METRICS.split(":"), timeout=20)
    conn.request("GET", "/metrics")
    text = conn.getresponse().read().decode()
    conn.close()
    out = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            out[name] = float(value)
    return out


def figure(all_of_them, name, scope="namespace", direction="in"):
    """The figure of a scope, whatever its name is."""
    wanted = ['scope="%s"' % scope, 'direction="%s"' % direction]
    found = [v for k, v in all_of_them.items()
             if k.startswith("sluice_throttle_" + name + "{") and all(w in k for w in wanted)]
    assert found, "no sluice_throttle_%s of %s %s" % (name, scope, direction)
    return sum(found)


def stored(hub, partition):
    """Bodies of all events of a partition, in order, as the command line reads them."""
    run = subprocess.run([ENV["SLUICE_BIN"], "receive", hub, "--partition", str(partition), "--connection-string",
                          ENV["SLUICE_CS_PLAIN"]], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.decode().split("\n")[:-1]


def expect_in_order(hub, partition, want):
    got = stored(hub, partition)
    assert len(got) == len(want), "%d events are stored, %d were sent" % (len(got), len(want))
    for i, (a, b) in enumerate(zip(got, want)):
        assert a == b, "event %d is %s, not %s" % (i, a[:40], b[:40])


def wait_log(pattern, limit):
    """A line of the server's log."""
    end = time.monotonic() + limit
    while True:
        with open(ENV["SERVER_LOG"], encoding="utf-8", errors="replace") as f:
            for line in f:
                if all(p in line for p in pattern):
                    return line
        assert time.monotonic() < end, "the log has no line with " + " ".join(pattern)
        time.sleep(0.2)


def sdk_send(producer, partition, bodies, per_batch):
    """Sends in order; an error of the SDK is the caller's."""
    for at in range(0, len(bodies), per_batch):
        batch = producer.create_batch(partition_id=str(partition))
        for b in bodies[at:at + per_batch]:
            batch.add(EventData(b))
        producer.send_batch(batch)
