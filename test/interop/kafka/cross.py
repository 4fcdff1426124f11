#!/usr/bin/python3
"""Events that go in by one protocol and come out by another: the Python SDK of
Event Hubs (AMQP), HTTPS, and librdkafka, on the hubs `cross` (4 partitions) and
`together` (1)."""
import http.client
import json
import ssl
import subprocess
import threading
import time

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from common import ENV, finish, server, test, user

CS, CA, HTTPS = ENV["SLUICE_CS"], ENV["SLUICE_CA"], ENV["SLUICE_HTTPS"]
CLI = [ENV["SLUICE_BIN"]]
HUB = "cross"


def kafka_options(**more):
    name, password = user()
    o = {"bootstrap.servers": server(), "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
         "sasl.username": name, "sasl.password": password, "ssl.ca.location": CA,
         "broker.address.family": "v4", "log_level": 0}
    o.update({k.replace("_", "."): v for k, v in more.items()})
    return o


def kafka_consumer():
    return Consumer(kafka_options(group_id="cross-assigned", enable_auto_commit=False, fetch_wait_max_ms=300))


def kafka_end(hub, partition):
    c = kafka_consumer()
    try:
        return c.get_watermark_offsets(TopicPartition(hub, partition), 10)[1]
    finally:
        c.close()


def kafka_read(hub, partition, offset, n, limit=20):
    c, got, end = kafka_consumer(), [], time.monotonic() + limit
    try:
        c.assign([TopicPartition(hub, partition, offset)])
        while len(got) < n:
            assert time.monotonic() < end, "%d of %d records" % (len(got), n)
            m = c.poll(0.3)
            if m is not None and m.error():
                raise KafkaException(m.error())
            if m is not None:
                got.append(m)
        return got
    finally:
        c.close()


def kafka_send(hub, partition, values, codec="none", **kw):
    """One batch where the client puts them in one."""
    p, problems = Producer(kafka_options(compression_type=codec, linger_ms=50)), []
    for v in values:
        p.produce(hub, v, partition=partition, on_delivery=lambda e, _m: e and problems.append(e), **kw)
    assert p.flush(15) == 0 and not problems, problems


def amqp_producer(hub=HUB):
    return EventHubProducerClient.from_connection_string(CS, eventhub_name=hub, connection_verify=CA, retry_total=0)


def amqp_send(partition, events, hub=HUB, **kw):
    with amqp_producer(hub) as p:
        batch = p.create_batch(partition_id=None if partition is None else str(partition), **kw)
        for e in events:
            batch.add(e)
        p.send_batch(batch)


def amqp_read(hub, partition, first, n, limit=20):
    """n events from sequence number `first`."""
    client = EventHubConsumerClient.from_connection_string(CS, consumer_group="$Default", eventhub_name=hub,
                                                           connection_verify=CA, retry_total=0)
    got, problems, full = [], [], threading.Event()

    def on_event(_context, event):
        if event is not None:
            got.append(event)
        if len(got) >= n:
            full.set()

    def on_error(_context, error):
        problems.append(error)
        full.set()

    thread = threading.Thread(daemon=True, target=client.receive, kwargs={
        "on_event": on_event, "on_error": on_error, "partition_id": str(partition), "starting_position": first,
        "starting_position_inclusive": True})
    thread.start()
    full.wait(limit)
    client.close()
    thread.join(10)
    assert len(got) >= n, (len(got), n, problems)
    return got[:n]


def https_post(path, body, **headers):
    token = subprocess.run(CLI + ["token", "--hub", path.split("/")[0], "--data", ENV["DATA"]], check=True,
                           capture_output=True, text=True).stdout.strip()
    host, port = HTTPS.rsplit(":", 1)
    c = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=CA), timeout=20)
    c.request("POST", "/" + path, body, dict({k.replace("_", "-"): v for k, v in headers.items()}, Authorization=token))
    answer = c.getresponse()
    text = answer.read()
    c.close()
    assert answer.status == 201, (answer.status, text)


def body(event):
    return b"".join(event.body)


def properties(event):
    return {(k.decode() if isinstance(k, bytes) else k): v for k, v in (event.properties or {}).items()}


def annotations(event):
    found = event.raw_amqp_message.annotations or {}
    return {(k.decode() if isinstance(k, bytes) else str(k)): v for k, v in found.items()}


def test_amqp_to_kafka():
    start = kafka_end(HUB, 0)
    event = EventData(b"\x00\xff body")
    event.properties = {"s": "text", "b": True, "f": 1.5, "i": 7, "bin": b"\x01\x02"}
    amqp_send(0, [event, EventData(b"second"), EventData(b"")])
    one, two, three = kafka_read(HUB, 0, start, 3)
    assert [m.offset() for m in (one, two, three)] == [start, start + 1, start + 2]
    assert (one.value(), two.value(), three.value()) == (b"\x00\xff body", b"second", b"")
    assert one.key() is None and not two.headers(), (one.key(), two.headers())
    headers = dict(one.headers())
    assert headers["s"] == b"\xa1\x04text", headers
    assert headers["b"] in (b"\x41", b"\x56\x01") and headers["f"] == b"\x82\x3f\xf8" + bytes(6), headers
    assert headers["i"] in (b"\x54\x07", b"\x55\x07", b"\x71" + bytes(3) + b"\x07", b"\x81" + bytes(7) + b"\x07"), headers
    assert headers["bin"] == b"\xa0\x02\x01\x02", headers
    kind, when = one.timestamp()
    assert abs(when / 1000 - time.time()) < 60 and kind in (1, 2), one.timestamp()


def test_partition_key_is_a_header():
    ends = [kafka_end(HUB, i) for i in range(4)]
    amqp_send(None, [EventData(b"keyed")], partition_key="hello")
    assert kafka_end(HUB, 3) == ends[3] + 1, "hello goes to partition 3 of 4"
    m = kafka_read(HUB, 3, ends[3], 1)[0]
    assert (m.value(), m.key(), m.headers()) == (b"keyed", None, [("x-opt-partition-key", b"hello")]), m.headers()


def test_https_to_kafka():
    start = kafka_end(HUB, 1)
    https_post(HUB + "/partitions/1/messages", "from https", Content_Type="text/plain", X_Colour="red")
    https_post(HUB + "/partitions/1/messages",
               json.dumps([{"Body": "a", "UserProperties": {"n": 1, "f": 1.5, "b": True, "s": "x"}}, {"Body": "b"}]),
               Content_Type="application/vnd.microsoft.servicebus.json")
    got = kafka_read(HUB, 1, start, 3)
    assert [m.value() for m in got] == [b"from https", b"a", b"b"], got
    named = {k.lower(): v for k, v in got[0].headers()}
    assert named["x-colour"] == b"\xa1\x03red", named
    headers = dict(got[1].headers())
    assert headers["s"] == b"\xa1\x01x" and headers["f"] == b"\x82\x3f\xf8" + bytes(6), headers
    assert headers["n"][-1:] == b"\x01" and headers["b"] in (b"\x41", b"\x56\x01"), headers


def kafka_to_amqp(codec):
    def fn():
        start = kafka_end(HUB, 2)
        values = [b"%s %d %s" % (codec.encode(), i, b"squeeze me " * 20) for i in range(30)]
        kafka_send(HUB, 2, values, codec, key=b"the key\xff", headers=[("n", b"\x00\xff"), ("empty", b"")])
        got = amqp_read(HUB, 2, start, 30)
        assert [body(e) for e in got] == values, [body(e)[:20] for e in got]
        assert [e.sequence_number for e in got] == list(range(start, start + 30))
        assert [e.offset for e in got] == [str(i) for i in range(start, start + 30)], got[0].offset
        for e in got:
            assert properties(e) == {"n": b"\x00\xff", "empty": b""}, e.properties
            assert annotations(e)["x-opt-kafka-key"] == b"the key\xff", annotations(e)
            assert not e.partition_key, e.partition_key
            assert abs(e.enqueued_time.timestamp() - time.time()) < 60, e.enqueued_time
        # From the middle of the batch, on either side.
        assert body(amqp_read(HUB, 2, start + 17, 1)[0]) == values[17]
        assert kafka_read(HUB, 2, start + 17, 1)[0].value() == values[17]
    return fn


def test_null_value_is_an_empty_event():
    start = kafka_end(HUB, 2)
    kafka_send(HUB, 2, [None], key=b"gone")
    e = amqp_read(HUB, 2, start, 1)[0]
    assert body(e) == b"" and annotations(e)["x-opt-kafka-key"] == b"gone", (body(e), annotations(e))


def test_middle_of_an_amqp_batch():
    start = kafka_end(HUB, 0)
    amqp_send(0, [EventData("event %d" % i) for i in range(100)])
    got = kafka_read(HUB, 0, start + 41, 59)
    assert [m.value() for m in got] == [b"event %d" % i for i in range(41, 100)]
    assert [m.offset() for m in got] == list(range(start + 41, start + 100))


def test_times_across():
    start, before = kafka_end(HUB, 0), int(time.time() * 1000) - 1
    time.sleep(0.05)
    amqp_send(0, [EventData(b"timed")])
    c = kafka_consumer()
    found = c.offsets_for_times([TopicPartition(HUB, 0, before)], timeout=10)[0]
    c.close()
    assert found.offset == start, (found.offset, start)


def test_command_line_reads_kafka():
    start = kafka_end(HUB, 2)
    kafka_send(HUB, 2, [b"for the command line"], "gzip", headers=[("n", b"x")])
    out = subprocess.run(CLI + ["receive", HUB, "--partition", "2", "--from", "sequence=%d" % start, "--count", "1",
                                "--json", "--connection-string", ENV["SLUICE_CS_PLAIN"]], capture_output=True, text=True, timeout=30)
    assert "for the command line" in out.stdout, out


def test_one_numbering():
    """Three protocols write to one partition at once."""
    hub, n, problems = "together", 40, []
    start = kafka_end(hub, 0)

    def guarded(fn):
        def body_of():
            try:
                fn()
            except Exception as e:  # pylint: disable=broad-except
                problems.append(e)
        return threading.Thread(target=body_of, daemon=True)

    def by_amqp():
        with amqp_producer(hub) as p:
            for i in range(n):
                batch = p.create_batch(partition_id="0")
                for j in range(3):
                    batch.add(EventData("amqp-%d-%d" % (i, j)))
                p.send_batch(batch)

    def by_kafka():
        p = Producer(kafka_options(enable_idempotence=True, linger_ms=1, compression_type="lz4"))
        for i in range(n):
            for j in range(3):
                p.produce(hub, b"kafka-%d-%d" % (i, j), partition=0)
            p.poll(0.005)
        assert p.flush(20) == 0

    def by_https():
        for i in range(10):
            https_post(hub + "/partitions/0/messages", "https-%d-0" % i, Content_Type="text/plain")

    threads = [guarded(f) for f in (by_amqp, by_kafka, by_https)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(40)
    assert not problems, problems
    total = 3 * n + 3 * n + 10
    assert kafka_end(hub, 0) == start + total, (kafka_end(hub, 0), start, total)
    by_k = [(m.offset(), m.value()) for m in kafka_read(hub, 0, start, total)]
    by_a = [(e.sequence_number, body(e)) for e in amqp_read(hub, 0, start, total)]
    assert [o for o, _ in by_k] == list(range(start, start + total)), by_k[:5]
    assert by_k == by_a, [p for p in zip(by_k, by_a) if p[0] != p[1]][:3]
    for name, many in (("amqp", 3), ("kafka", 3), ("https", 1)):
        mine = [v.decode() for _, v in by_k if v.startswith(name.encode())]
        assert mine == ["%s-%d-%d" % (name, i, j) for i in range(10 if many == 1 else n) for j in range(many)], mine[:9]
    mixed = [v.split(b"-")[0] for _, v in by_k]
    assert any(a != b for a, b in zip(mixed, mixed[1:]))


def main():
    test("cross: AMQP to Kafka, properties are headers", test_amqp_to_kafka)
    test("cross: a partition key is a header", test_partition_key_is_a_header)
    test("cross: HTTPS to Kafka", test_https_to_kafka)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        test("cross: Kafka (%s) to AMQP, key and headers" % codec, kafka_to_amqp(codec))
    test("cross: a null value is an empty event", test_null_value_is_an_empty_event)
    test("cross: Kafka reads from the middle of an AMQP batch", test_middle_of_an_amqp_batch)
    test("cross: Kafka finds AMQP events by time", test_times_across)
    test("cross: the command line reads Kafka events", test_command_line_reads_kafka)
    test("cross: three protocols, one numbering", test_one_numbering)


if __name__ == "__main__":
    main()
    finish()
