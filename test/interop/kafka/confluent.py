#!/usr/bin/python3
"""confluent-kafka-python (librdkafka) against a server: `main` runs every scenario,
`resume` what must still hold after the server was killed and started again."""
import subprocess
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from common import ENV, finish, hub, server, test, tls, user, wants

NAME = ENV.get("KAFKA_NAME", "confluent")
DATA, SHARED, ONCE = hub(NAME, "data"), hub(NAME, "group"), hub(NAME, "once")


def options(role="all", **more):
    name, password = user(role)
    o = {"bootstrap.servers": server(), "security.protocol": "SASL_SSL" if tls() else "SASL_PLAINTEXT",
         "sasl.mechanism": "PLAIN", "sasl.username": name, "sasl.password": password,
         "broker.address.family": "v4", "log_level": 0}
    if tls():
        o["ssl.ca.location"] = ENV["KAFKA_CA"]
    o.update({k.replace("_", "."): v for k, v in more.items()})
    return o


def producer(role="all", **more):
    return Producer(options(role, **more))


def consumer(role="all", **more):
    o = {"group.id": ONCE + "-assigned", "enable.auto.commit": False, "auto.offset.reset": "earliest",
         "fetch.wait.max.ms": 300, "enable.partition.eof": False}
    o.update(options(role, **more))
    return Consumer(o)


def send(p, topic, partition, values, **kw):
    """Produces values in order; what each delivery report said, in order."""
    out = []

    def report(err, message):
        if err:
            raise KafkaException(err)
        out.append(message.offset())

    for v in values:
        p.produce(topic, v, partition=partition, on_delivery=report, **kw)
    left = p.flush(15)
    assert left == 0, "%d not delivered" % left
    return out


def read(c, n, limit=20, ignore=()):
    got, end = [], time.monotonic() + limit
    while len(got) < n:
        assert time.monotonic() < end, "%d of %d records" % (len(got), n)
        m = c.poll(0.3)
        if m is None:
            continue
        if m.error() and m.error().code() in ignore:
            continue
        if m.error():
            raise KafkaException(m.error())
        got.append(m)
    return got


def read_from(topic, partition, offset, n, role="all", ignore=()):
    c = consumer(role)
    try:
        c.assign([TopicPartition(topic, partition, offset)])
        return read(c, n, ignore=ignore)
    finally:
        c.close()


def end_of(topic, partition):
    c = consumer()
    try:
        return c.get_watermark_offsets(TopicPartition(topic, partition), 10)[1]
    finally:
        c.close()


def fails(code, fn):
    error = wants(KafkaException, fn).args[0]
    assert error.code() == code, error


def connects(role):
    def fn():
        meta = AdminClient(options(role)).list_topics(timeout=8)
        assert len(meta.topics[DATA].partitions) == 4, meta.topics
        assert len(meta.brokers) == 1 and meta.controller_id in meta.brokers, meta.brokers
    return fn


def codec(kind):
    def fn():
        start, when = end_of(DATA, 0), int(time.time() * 1000) - 60000
        p = producer(compression_type=kind, linger_ms=20)
        values = [b"%s %d %s" % (kind.encode(), i, b"squeeze me " * 20) for i in range(50)]
        got = send(p, DATA, 0, values, key=b"key", timestamp=when, headers=[("n", b"\x00\xff"), ("n", None)])
        assert got == list(range(start, start + 50)), got
        for i, m in enumerate(read_from(DATA, 0, start, 50)):
            assert (m.offset(), m.value(), m.key(), m.timestamp()[1]) == (start + i, values[i], b"key", when), m
            assert m.headers() == [("n", b"\x00\xff"), ("n", None)], m.headers()
    return fn


def acks():
    for a in ("0", "1", "all"):
        start = end_of(DATA, 1)
        send(producer(acks=a), DATA, 1, [b"acks"])
        assert read_from(DATA, 1, start, 1)[0].value() == b"acks"


def nothing():
    start = end_of(DATA, 1)
    p = producer()
    send(p, DATA, 1, [None], key=b"k")
    send(p, DATA, 1, [b""])
    got = read_from(DATA, 1, start, 2)
    assert (got[0].value(), got[1].value(), got[1].key()) == (None, b"", None), got


def idempotent():
    start = end_of(DATA, 2)
    p = producer(enable_idempotence=True, batch_num_messages=20, queue_buffering_max_messages=5000)
    values = [b"%06d" % i for i in range(2000)]
    assert send(p, DATA, 2, values) == list(range(start, start + 2000))
    assert [m.value() for m in read_from(DATA, 2, start, 2000)] == values


def positions():
    start, t = end_of(DATA, 3), int(time.time() * 1000) - 100000
    p = producer()
    for i in range(10):
        send(p, DATA, 3, [b"at %d" % i], timestamp=t + 1000 * i)
    c = consumer()
    found = c.offsets_for_times([TopicPartition(DATA, 3, t + 4500)], timeout=8)[0]
    assert not found.error and found.offset == start + 5, found
    assert c.get_watermark_offsets(TopicPartition(DATA, 3), 8) == (0, start + 10)
    c.close()
    assert read_from(DATA, 3, -2, 1)[0].offset() == 0
    assert read_from(DATA, 3, start + 7, 3)[0].offset() == start + 7


def group(strategy):
    def fn():
        first = end_of(SHARED, 0) * 4
        members = [consumer(group_id=SHARED + "-" + strategy, session_timeout_ms=6000, heartbeat_interval_ms=300,
                            partition_assignment_strategy=strategy) for _ in range(2)]
        for m in members:
            m.subscribe([SHARED])
        seen, end = set(), time.monotonic() + 50

        def poll(ms):
            assert time.monotonic() < end, (len(seen), [m.assignment() for m in ms])
            for m in ms:
                got = m.poll(0.05)
                if got is not None and not got.error():
                    seen.add((got.partition(), got.offset()))

        def produce():
            p = producer()
            for i in range(200):
                p.produce(SHARED, b"%d" % i, partition=i % 4)
            assert p.flush(10) == 0

        produce()
        while len(seen) < first + 200 or [len(m.assignment()) for m in members] != [2, 2]:
            poll(members)
        members[0].close()
        produce()
        while len(seen) < first + 400 or len(members[1].assignment()) != 4:
            poll(members[1:])
        members[1].close()
    return fn


def member_process():
    """A member that is there until it is killed; tells when it has partitions."""
    c = consumer(group_id=SHARED + "-killed", session_timeout_ms=6000, heartbeat_interval_ms=300)
    c.subscribe([SHARED], on_assign=lambda _c, ps: print(len(ps), flush=True))
    while True:
        c.poll(0.2)


def killed_member():
    """A member that dies without a word loses its partitions after its session timeout."""
    other = subprocess.Popen([sys.executable, __file__, "member"], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline().strip() == b"4"
        mine = consumer(group_id=SHARED + "-killed", session_timeout_ms=6000, heartbeat_interval_ms=300)
        mine.subscribe([SHARED])
        end = time.monotonic() + 40
        while len(mine.assignment()) != 2:
            assert time.monotonic() < end, mine.assignment()
            mine.poll(0.05)
        other.kill()
        killed = time.monotonic()
        while len(mine.assignment()) != 4:
            assert time.monotonic() < end, ("after the kill", mine.assignment())
            mine.poll(0.05)
        assert 3 < time.monotonic() - killed < 12, time.monotonic() - killed
        mine.close()
    finally:
        other.kill()
        other.wait()


def following(want):
    """Reads the group's next record, which must have this value, and commits it."""
    def fn():
        c = consumer(group_id=ONCE + "-reader")
        c.subscribe([ONCE])
        m = read(c, 1)[0]
        assert m.value() == b"%d" % want, m.value()
        done = c.commit(message=m, asynchronous=False)
        assert done[0].offset == want + 1 and not done[0].error, done
        assert c.committed([TopicPartition(ONCE, 0)], timeout=8)[0].offset == want + 1
        c.close()
    return fn


def commits():
    send(producer(), ONCE, 0, [b"%d" % i for i in range(10)])
    for i in range(3):
        following(i)()


def admin():
    a, made = AdminClient(options()), hub(NAME, "made")
    a.create_topics([NewTopic(made, 2, 1)])[made].result(10)
    again = a.create_topics([NewTopic(made, 2, 1)])[made]
    fails(KafkaError.TOPIC_ALREADY_EXISTS, lambda: again.result(10))
    a.create_partitions([NewPartitions(made, 5)])[made].result(10)
    resource = ConfigResource("topic", made)
    assert "retention.ms" in a.describe_configs([resource])[resource].result(10)
    send(producer(), made, 4, [b"x"])
    groups = {g.id: g for g in a.list_groups(timeout=8)}
    assert groups[ONCE + "-reader"].state == "Empty", groups
    a.delete_topics([made])[made].result(10)


def bad_password():
    seen = []

    def on_error(err):
        seen.append(err.code())

    o = options("wrong")
    p = Producer(dict(o, error_cb=on_error))
    end = time.monotonic() + 8
    while KafkaError._AUTHENTICATION not in seen and time.monotonic() < end:
        p.poll(0.1)
    assert KafkaError._AUTHENTICATION in seen, seen


def unknown_topic():
    fails(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: send(producer(topic_metadata_propagation_max_ms=500,
                                                           message_timeout_ms=3000), "no-such-hub", 0, [b"x"]))


def out_of_range():
    c = consumer(auto_offset_reset="error")
    c.assign([TopicPartition(DATA, 0, 1 << 40)])
    fails(KafkaError._AUTO_OFFSET_RESET, lambda: read(c, 1, 10))
    c.close()


def send_only():
    send(producer("send"), DATA, 1, [b"by a sender"])
    # This client asks for its group's coordinator even when it reads without the group.
    fails(KafkaError.TOPIC_AUTHORIZATION_FAILED,
          lambda: read_from(DATA, 1, 0, 1, "send", ignore=[KafkaError.GROUP_AUTHORIZATION_FAILED]))
    c = consumer("send", group_id=ONCE + "-reader")
    c.subscribe([DATA])
    fails(KafkaError.GROUP_AUTHORIZATION_FAILED, lambda: read(c, 1, 10))
    c.close()


def listen_only():
    read_from(DATA, 0, 0, 1, "listen")
    fails(KafkaError.TOPIC_AUTHORIZATION_FAILED,
          lambda: send(producer("listen", message_timeout_ms=6000), DATA, 1, [b"by a listener"]))


def main():
    test(NAME + ": connects and lists", connects("all"))
    if tls():
        test(NAME + ": connects with a policy's name and key", connects("policy"))
    for kind in ("none", "gzip", "snappy", "lz4", "zstd"):
        test("%s: codec %s, keys, headers, timestamps" % (NAME, kind), codec(kind))
    test(NAME + ": acks 0, 1, all", acks)
    test(NAME + ": null and empty values", nothing)
    test(NAME + ": idempotent producer in order", idempotent)
    test(NAME + ": earliest, an offset, a time", positions)
    for strategy in ("range", "cooperative-sticky"):
        test("%s: two members share, one leaves (%s)" % (NAME, strategy), group(strategy))
    test(NAME + ": a member is killed, the other has all", killed_member)
    test(NAME + ": committed offsets are there after a restart", commits)
    test(NAME + ": admin client", admin)
    test(NAME + ": wrong password", bad_password)
    test(NAME + ": unknown topic", unknown_topic)
    test(NAME + ": offset out of range", out_of_range)
    test(NAME + ": Send only", send_only)
    test(NAME + ": Listen only", listen_only)


if sys.argv[1:] == ["member"]:
    member_process()
elif sys.argv[1:] == ["resume"]:
    test(NAME + ": committed offsets are there after the server was killed", following(3))
    test(NAME + ": produces after the server was killed", idempotent)
else:
    main()
finish()
