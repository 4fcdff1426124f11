#!/usr/bin/python3
"""What becomes of old events, over all protocols: hubs set by the commands and shown
by kafka-python, an AMQP reader that retention overtakes, what compacted hubs refuse
and what readers of AMQP get of them."""
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from common import ENV, finish, test
import cross

CS, CA, HTTPS = ENV["SLUICE_CS"], ENV["SLUICE_CA"], ENV["SLUICE_HTTPS"]


def cli(*words, fails=False):
    run = subprocess.run([ENV["SLUICE_BIN"], *words, "--data", ENV["DATA"]], capture_output=True, text=True, check=False)
    assert (run.returncode != 0) == fails, run.stderr + run.stdout
    return run.stderr if fails else run.stdout


def show(hub):
    return json.loads(cli("hub", "show", hub, "--json"))


def first_of(hub, partition=0):
    return show(hub)["partitionsInfo"][partition]["beginSequenceNumber"]


def wait_for(what, limit=20):
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.1)


def admin():
    return KafkaAdminClient(bootstrap_servers=ENV["KAFKA_TLS"], security_protocol="SASL_SSL", sasl_mechanism="PLAIN",
                            sasl_plain_username=ENV["KAFKA_USER"], sasl_plain_password=ENV["KAFKA_PASSWORD"],
                            ssl_cafile=CA, ssl_check_hostname=False, api_version=(2, 3, 0))


def commands_and_kafka_agree():
    cli("hub", "create", "set", "--partitions", "1", "--retention", "7d", "--retention-bytes", "1GiB",
        "--cleanup", "compact,delete")
    h = show("set")
    assert (h["retentionMs"], h["retentionBytes"], h["cleanup"]) == (604800000, 1 << 30, "compact,delete"), h
    text = cli("hub", "show", "set")
    assert "7d" in text and "1GiB" in text and "compact,delete" in text, text
    a = admin()
    try:
        what = ConfigResource(ConfigResourceType.TOPIC, "set")
        rows = {r[0]: r[1] for r in a.describe_configs([what])[0].resources[0][4]}
        assert rows["retention.ms"] == "604800000" and rows["cleanup.policy"] == "compact,delete", rows
        # What AlterConfigs does not name goes back to its default.
        a.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "set", {"retention.bytes": "1000"})])
    finally:
        a.close()
    h = show("set")
    assert (h["retentionMs"], h["retentionBytes"], h["cleanup"]) == (None, 1000, "delete"), h
    cli("hub", "update", "set", "--retention-bytes", "off", "--retention", "1h30m")
    h = show("set")
    assert (h["retentionMs"], h["retentionBytes"]) == (5400000, None), h
    assert "cleanup" in cli("hub", "create", "bad", "--cleanup", "shred", fails=True)
    assert "for ever" in cli("hub", "list")


def request(method, path, body=None, headers=None):
    host, port = HTTPS.rsplit(":", 1)
    c = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=CA), timeout=20)
    token = cli("token").strip()
    c.request(method, path, body, {"Authorization": token, **(headers or {})})
    answer = c.getresponse()
    text = answer.read().decode()
    c.close()
    return answer.status, text


def the_api_refuses_clearly():
    for body in ('{"retentionMs":0}', '{"retentionMs":"7d"}', '{"cleanup":"shred"}', '{"retention":1}'):
        status, text = request("PATCH", "/$management/v1/hubs/set", body, {"Content-Type": "application/json"})
        assert status == 400 and json.loads(text)["error"]["message"], (status, text)


def producer(hub):
    return EventHubProducerClient.from_connection_string(CS, eventhub_name=hub, connection_verify=CA, retry_total=0)


def send(hub, bodies, key=None):
    with producer(hub) as p:
        batch = p.create_batch(partition_key=key) if key else p.create_batch(partition_id="0")
        for body in bodies:
            batch.add(EventData(body))
        p.send_batch(batch)


def compacted_hubs_need_keys():
    cli("hub", "create", "keyed", "--partitions", "1", "--cleanup", "compact")
    try:
        send("keyed", ["without"])
        raise AssertionError("it was taken")
    except EventHubError as e:
        assert "partition key" in str(e), e
    send("keyed", ["with"], "k")
    status, text = request("POST", "/keyed/messages", "body")
    assert status == 400 and "partition key" in text, (status, text)
    status, text = request("POST", "/keyed/messages", "body", {"BrokerProperties": '{"PartitionKey":"k"}'})
    assert status == 201, (status, text)
    # A hub that becomes compacted refuses soon, on the same connection.
    cli("hub", "create", "becomes", "--partitions", "1")
    with producer("becomes") as p:
        def refused():
            batch = p.create_batch(partition_id="0")
            batch.add(EventData("x"))
            try:
                p.send_batch(batch)
                return False
            except EventHubError:
                return True
        assert not refused()
        cli("hub", "update", "becomes", "--cleanup", "compact")
        wait_for(refused)


def readers_that_are_overtaken_go_on():
    cli("hub", "create", "overtaken", "--partitions", "1")
    send("overtaken", ["event %d" % i for i in range(100)])
    consumer = EventHubConsumerClient.from_connection_string(CS, "$Default", eventhub_name="overtaken",
                                                             connection_verify=CA, retry_total=0)
    got, go = [], threading.Event()

    def on_event(_context, event):
        got.append(event.sequence_number)
        if len(got) == 1:
            go.wait(30)

    # Prefetch of one: the rest is read after the start has moved.
    t = threading.Thread(target=lambda: consumer.receive(on_event, partition_id="0", starting_position="-1", prefetch=1),
                         daemon=True)
    t.start()
    try:
        wait_for(lambda: got)
        # The state of the reader is kept by the server; what it holds already still comes.
        cli("hub", "update", "overtaken", "--retention", "1ms")
        wait_for(lambda: first_of("overtaken") == 100)
        cli("hub", "update", "overtaken", "--retention", "off")
        send("overtaken", ["later"])
        go.set()
        wait_for(lambda: got[-1] == 100)
        assert got == sorted(set(got)), got
    finally:
        consumer.close()
        t.join(10)
    # One that comes with a position that is gone begins at the start, without error.
    events = cross.amqp_read("overtaken", 0, 5, 1)
    assert events[0].sequence_number == 100, events[0]


def amqp_reads_what_compaction_leaves():
    cli("hub", "create", "table", "--partitions", "1", "--cleanup", "compact")
    with producer("table") as p:
        for i in range(100):
            for k in range(3) if i % 20 == 0 or i == 99 else (0,):
                batch = p.create_batch(partition_key="key%d" % k)
                for n in range(10):
                    batch.add(EventData("%05d %d %s" % (i, n, os.urandom(1500).hex())))
                p.send_batch(batch)
    last = show("table")["partitionsInfo"][0]["nextSequenceNumber"] - 1
    cli("hub", "create", "filling", "--partitions", "1")
    with producer("filling") as p:
        for i in range(4):
            batch = p.create_batch()
            for _ in range(8):
                batch.add(EventData(os.urandom(100000)))
            p.send_batch(batch)

    def read():
        lines = cli("receive", "table", "--json", "--partition", "0", "--connection-string",
                    ENV["SLUICE_CS_PLAIN"]).splitlines()
        events = [json.loads(line) for line in lines]
        numbers = [e["sequenceNumber"] for e in events]
        assert numbers == sorted(set(numbers)) and numbers[-1] == last, numbers[-5:]
        print(len(events), "events are left", file=sys.stderr)
        return events

    wait_for(lambda: len(read()) < last / 2, 60)
    newest = {e["partitionKey"]: e["body"].split()[:2] for e in read()}
    assert newest == {"key%d" % k: ["00099", "9"] for k in range(3)}, newest


test("retention: commands and Kafka's tools agree", commands_and_kafka_agree)
test("retention: the API refuses clearly", the_api_refuses_clearly)
test("retention: compacted hubs need keys", compacted_hubs_need_keys)
test("retention: AMQP readers that are overtaken go on", readers_that_are_overtaken_go_on, 90)
test("retention: AMQP readers get what compaction leaves", amqp_reads_what_compaction_leaves, 100)
finish()
