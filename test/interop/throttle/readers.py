#!/usr/bin/python3
"""What goes out, one unit: 2 MB and 4096 events a second for all readers together,
shared between them; nobody is refused."""
import multiprocessing
import time

from confluent_kafka import Consumer, TopicPartition
from proton import Message

from bed import MB, cli, figure, finish, kafka_options, metrics, proton_connect, sdk_consumer, sdk_producer, sdk_send, test

SMALL, LARGE = 16384, 160
counts = multiprocessing.Array("q", 3)


def fill():
    """Without units: 16384 small events, then 10 MB of large ones."""
    with sdk_producer("small") as p:
        sdk_send(p, 0, ["%05d" % i for i in range(SMALL)], 2048)
    with sdk_producer("large") as p:
        sdk_send(p, 0, [("%03d" % i).ljust(64 << 10, "L") for i in range(LARGE)], 15)
    cli("units", "set", "1")
    time.sleep(0.6)


def read_sdk(hub, at, limit):
    client = sdk_consumer(hub)
    with client:
        client.receive_batch(lambda _c, events: counts.__setitem__(at, counts[at] + len(events)),
                             partition_id="0", starting_position="-1", max_batch_size=300, max_wait_time=1)
    del limit


def read_kafka(hub, at, limit):
    c = Consumer(kafka_options(group_id="readers-%d" % at, enable_auto_commit=False, fetch_wait_max_ms=100))
    c.assign([TopicPartition(hub, 0, 0)])
    while counts[at] < limit:
        for m in c.consume(500, 0.2):
            assert not m.error(), m.error()
            assert m.offset() == counts[at], (m.offset(), counts[at])
            counts[at] += 1
    time.sleep(60)


def read_proton(hub, at, limit):
    conn = proton_connect()
    r = conn.create_receiver(hub + "/ConsumerGroups/$Default/Partitions/0", credit=1000)
    while counts[at] < limit:
        m = r.receive(timeout=20)
        assert isinstance(m, Message) and m.annotations["x-opt-sequence-number"] == counts[at]
        counts[at] += 1
    time.sleep(60)


def run(kinds, hub, limit, most=25):
    """All kinds of readers at once; how long until the last has everything, and how
    much each had when the first had everything."""
    for at in range(len(counts)):
        counts[at] = 0
    time.sleep(1.2)
    procs = [multiprocessing.Process(target=k, args=(hub, at, limit), daemon=True) for at, k in enumerate(kinds)]
    for p in procs:
        p.start()
    while not any(counts):
        time.sleep(0.005)
    began, first = time.monotonic(), None
    while min(counts[:len(kinds)]) < limit:
        assert time.monotonic() - began < most, list(counts)
        if first is None and max(counts) >= limit:
            first = list(counts)
        time.sleep(0.005)
    took = time.monotonic() - began
    for p in procs:
        p.kill()
    return took, first


def events_one(kind):
    def fn():
        took, _ = run([kind], "small", SMALL)
        # 4096 at once, the rest at 4096 a second: 3 s.
        assert 2.6 <= took <= 4.5, "it took %.2f s" % took
    return fn


def bytes_one(kind):
    def fn():
        took, _ = run([kind], "large", LARGE)
        # 10 MB: 2 MB at once, the rest at 2 MB a second: 4 s.
        assert 3.5 <= took <= 5.5, "it took %.2f s" % took
    return fn


def all_together():
    took, first = run([read_sdk, read_kafka, read_proton], "large", LARGE, 40)
    # 30 MB: 14 s.
    assert 13 <= took <= 17, "it took %.2f s" % took
    assert first is None or min(first) >= 0.6 * LARGE, first
    m = metrics()
    assert figure(m, "refused_requests_total", direction="out") == 0
    assert figure(m, "held_requests_total", direction="out") > 0


fill()
test("readers: the SDK has 4096 events a second", events_one(read_sdk))
test("readers: librdkafka has 2 MB a second", bytes_one(read_kafka))
test("readers: Proton has 2 MB a second", bytes_one(read_proton))
test("readers: three of them share 2 MB a second", all_together)
finish()
