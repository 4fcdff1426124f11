#!/usr/bin/python3
"""kafka-python against a server: `main` runs every scenario, `resume` what must
still hold after the server was killed and started again."""
import sys
import threading
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka import errors

from common import ENV, finish, hub, server, test, tls, user, wants

NAME = ENV.get("KAFKA_NAME", "kafka-python")
DATA, SHARED, ONCE = hub(NAME, "data"), hub(NAME, "group"), hub(NAME, "once")


def options(role="all", **more):
    name, password = user(role)
    o = {"bootstrap_servers": server(), "security_protocol": "SASL_SSL" if tls() else "SASL_PLAINTEXT",
         "sasl_mechanism": "PLAIN", "sasl_plain_username": name, "sasl_plain_password": password,
         "request_timeout_ms": 20000}
    if tls():
        o["ssl_cafile"] = ENV["KAFKA_CA"]
    o.update(more)
    return o


def producer(role="all", **more):
    more.setdefault("max_block_ms", 8000)
    return KafkaProducer(**options(role, **more))


def consumer(role="all", **more):
    more.setdefault("enable_auto_commit", False)
    more.setdefault("auto_offset_reset", "earliest")
    more.setdefault("fetch_max_wait_ms", 300)
    return KafkaConsumer(**options(role, **more))


def read(c, n, limit=20):
    got, end = [], time.monotonic() + limit
    while len(got) < n:
        assert time.monotonic() < end, "%d of %d records" % (len(got), n)
        for rs in c.poll(300).values():
            got += rs
    return got


def read_from(topic, partition, offset, n, role="all"):
    c = consumer(role)
    try:
        tp = TopicPartition(topic, partition)
        c.assign([tp])
        c.seek(tp, offset)
        return read(c, n)
    finally:
        c.close()


def end_of(topic, partition):
    c = consumer()
    try:
        tp = TopicPartition(topic, partition)
        return c.end_offsets([tp])[tp]
    finally:
        c.close()


def connects(role):
    def fn():
        c = consumer(role)
        try:
            assert DATA in c.topics()
            assert c.partitions_for_topic(DATA) == {0, 1, 2, 3}
        finally:
            c.close()
    return fn


def codec(kind):
    def fn():
        start, when = end_of(DATA, 0), int(time.time() * 1000) - 60000
        p = producer(compression_type=kind, linger_ms=50)
        for i in range(50):
            p.send(DATA, partition=0, key=b"key%d" % i, timestamp_ms=when + i, headers=[("n", b"%d" % i), ("n", b"")],
                   value=b"%s %d %s" % ((kind or "none").encode(), i, b"squeeze me " * 20))
        p.flush(10)
        p.close()
        got = read_from(DATA, 0, start, 50)
        for i, g in enumerate(got[:50]):
            assert (g.offset, g.key, g.timestamp) == (start + i, b"key%d" % i, when + i), g
            assert g.headers == [("n", b"%d" % i), ("n", b"")] and b" %d squeeze" % i in g.value, g
    return fn


def acks():
    for a in (0, 1, "all"):
        start = end_of(DATA, 1)
        p = producer(acks=a)
        p.send(DATA, b"acks %s" % str(a).encode(), partition=1).get(10)
        p.close()
        assert read_from(DATA, 1, start, 1)[0].value == b"acks %s" % str(a).encode()


def nothing():
    start = end_of(DATA, 1)
    p = producer()
    p.send(DATA, partition=1, key=b"k", value=None)
    p.send(DATA, partition=1, value=b"").get(10)
    p.close()
    got = read_from(DATA, 1, start, 2)
    assert got[0].value is None and got[1].key is None and got[1].value == b"", got


def positions():
    start, t, tp = end_of(DATA, 3), int(time.time() * 1000) - 100000, TopicPartition(DATA, 3)
    p = producer()
    for i in range(10):
        p.send(DATA, b"at %d" % i, partition=3, timestamp_ms=t + 1000 * i).get(10)
    p.close()
    c = consumer()
    c.assign([tp])
    c.seek_to_beginning(tp)
    assert read(c, 10)[0].offset == 0
    assert c.offsets_for_times({tp: t + 4500})[tp].offset == start + 5
    assert c.offsets_for_times({tp: t + 900000})[tp] is None
    c.seek(tp, start + 7)
    assert read(c, 3)[0].offset == start + 7
    c.seek_to_end(tp)
    assert c.position(tp) == start + 10
    assert c.beginning_offsets([tp])[tp] == 0
    c.close()


def produce(n, first):
    p = producer()
    for i in range(n):
        p.send(SHARED, b"%d" % (first + i), partition=i % 4)
    p.flush(10)
    p.close()


class Member(threading.Thread):
    """Polls until told to leave: this client blocks in poll while its group rebalances."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.assigned, self.leave, self.problem = set(), set(), threading.Event(), None
        self.start()

    def run(self):
        c = consumer(group_id=SHARED + "-readers", session_timeout_ms=6000, heartbeat_interval_ms=300)
        try:
            c.subscribe([SHARED])
            while not self.leave.is_set():
                for rs in c.poll(100).values():
                    self.seen |= {r.value for r in rs}
                self.assigned = c.assignment()
                try:
                    c.commit()
                except (errors.CommitFailedError, AssertionError):  # a rebalance came between
                    pass
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e
        finally:
            c.close(autocommit=False)


def group():
    """Two members share four partitions; one leaves and the other has all."""
    members = [Member(), Member()]

    def until(what, holds):
        end = time.monotonic() + 25
        while not holds():
            state = (what, [(len(m.seen), m.assigned, m.problem) for m in members])
            assert time.monotonic() < end and not any(m.problem for m in members), state
            time.sleep(0.05)

    until("both have joined", lambda: [len(m.assigned) for m in members] == [2, 2])
    produce(200, 0)
    until("all is read", lambda: len(members[0].seen | members[1].seen) == 200)
    members[0].leave.set()
    members[0].join(10)
    produce(200, 1000)
    until("one has all", lambda: len(members[1].assigned) == 4 and len(members[0].seen | members[1].seen) == 400)
    members[1].leave.set()
    members[1].join(10)


def following(want):
    """Reads the group's next record, which must have this value, and commits it."""
    def fn():
        c = consumer(group_id=ONCE + "-reader", max_poll_records=1)
        c.subscribe([ONCE])
        r = read(c, 1)[0]
        assert r.value == b"%d" % want, r
        tp = TopicPartition(ONCE, 0)
        c.commit({tp: OffsetAndMetadata(want + 1, "note")})
        assert c.committed(tp) == want + 1
        c.close()
    return fn


def commits():
    p = producer()
    for i in range(10):
        p.send(ONCE, b"%d" % i, partition=0).get(10)
    p.close()
    for i in range(3):
        following(i)()


def admin():
    a = KafkaAdminClient(**options())
    made = hub(NAME, "made")
    a.create_topics([NewTopic(made, 2, 1)])
    wants(errors.TopicAlreadyExistsError, lambda: a.create_topics([NewTopic(made, 2, 1)]))
    a.create_partitions({made: NewPartitions(5)})
    shown = a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, made)])
    assert "retention.ms" in str(shown), shown
    p = producer()
    p.send(made, b"x", partition=4).get(10)
    p.close()
    a.delete_topics([made])
    assert (ONCE + "-reader", "consumer") in a.list_consumer_groups()
    assert a.describe_consumer_groups([ONCE + "-reader"])[0].state == "Empty"
    assert a.list_consumer_group_offsets(ONCE + "-reader")[TopicPartition(ONCE, 0)].offset == 3
    a.close()


def unknown_topic():
    p = producer(max_block_ms=1500)
    wants(errors.KafkaTimeoutError, lambda: p.send("no-such-hub", b"x").get(5))
    p.close(1)


def out_of_range():
    c = consumer(auto_offset_reset="none")
    tp = TopicPartition(DATA, 0)
    c.assign([tp])
    c.seek(tp, 1 << 40)
    wants(errors.OffsetOutOfRangeError, lambda: read(c, 1, 10))
    c.close()


def send_only():
    p = producer("send")
    p.send(DATA, b"by a sender", partition=1).get(10)
    p.close()
    wants(errors.TopicAuthorizationFailedError, lambda: read_from(DATA, 1, 0, 1, "send"))
    c = consumer("send", group_id=ONCE + "-reader")
    c.subscribe([ONCE])
    wants(errors.GroupAuthorizationFailedError, lambda: read(c, 1, 10))
    c.close(autocommit=False)


def listen_only():
    read_from(DATA, 0, 0, 1, "listen")
    p = producer("listen")
    wants(errors.TopicAuthorizationFailedError, lambda: p.send(DATA, b"by a listener", partition=1).get(10))
    p.close(1)


def main():
    test(NAME + ": connects and lists", connects("all"))
    if tls():
        test(NAME + ": connects with a policy's name and key", connects("policy"))
    for kind in (None, "gzip", "snappy", "lz4", "zstd"):
        test("%s: codec %s, keys, headers, timestamps" % (NAME, kind or "none"), codec(kind))
    test(NAME + ": acks 0, 1, all", acks)
    test(NAME + ": null and empty values", nothing)
    test(NAME + ": earliest, an offset, a time", positions)
    test(NAME + ": two members share, one leaves", group)
    test(NAME + ": committed offsets are there after a restart", commits)
    test(NAME + ": admin client", admin)
    # This client's one word for a broker that ends the connection at login.
    test(NAME + ": wrong password", lambda: wants((errors.NoBrokersAvailable, errors.AuthenticationFailedError),
                                                   connects("wrong")))
    test(NAME + ": unknown topic", unknown_topic)
    test(NAME + ": offset out of range", out_of_range)
    test(NAME + ": Send only", send_only)
    test(NAME + ": Listen only", listen_only)


if sys.argv[1:] == ["resume"]:
    test(NAME + ": committed offsets are there after the server was killed", following(3))
    test(NAME + ": produces after the server was killed", codec("gzip"))
else:
    main()
finish()
