#!/usr/bin/python3
"""librdkafka (confluent-kafka-python), one unit: ten times the unit at once, with the
throttling seen by its callback and no error; then a reader; then administration beyond
its rate."""
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bed import MB, figure, metrics, expect_in_order, finish, kafka_options, test

SIZE, COUNT = 1024, 10 * 1024


def burst():
    throttled, errors, offsets = [], [], []

    def report(err, message):
        if err:
            errors.append(err)
        else:
            offsets.append(message.offset())

    p = Producer(kafka_options(throttle_cb=lambda e: throttled.append(e.throttle_time),
                               error_cb=errors.append, queue_buffering_max_messages=COUNT + 1))
    bodies = [("%05d " % i).ljust(SIZE, "k") for i in range(COUNT)]
    began = time.monotonic()
    for b in bodies:
        p.produce("kafka", b, partition=0, on_delivery=report)
        p.poll(0)
    left = p.flush(40)
    took = time.monotonic() - began
    assert left == 0 and not errors, (left, errors[:1])
    assert throttled and max(throttled) > 0, "the callback never saw a throttle time"
    # One second of bytes (or events) is there at once; 10 MB in 1 MB/s, 10240 in 1000/s.
    assert took >= COUNT / 1000 - 1 - 0.2, "it took %.1f s" % took
    assert took <= COUNT / 1000 + 5, "it took %.1f s" % took
    expect_in_order("kafka", 0, bodies)
    m = metrics()
    assert figure(m, "held_requests_total") > 0
    assert figure(m, "admitted_events_total") == COUNT


def read_at_its_rate():
    throttled = []
    c = Consumer(kafka_options(group_id="kafka-read", enable_auto_commit=False, fetch_wait_max_ms=100,
                               throttle_cb=lambda e: throttled.append(e.throttle_time)))
    time.sleep(1.1)  # what the check above read is paid back
    began = time.monotonic()
    got, size = 0, 0
    c.assign([TopicPartition("kafka", 0, 0)])
    while got < COUNT:
        assert time.monotonic() - began < 30, "%d of %d" % (got, COUNT)
        m = c.poll(0.2)
        if m is not None and m.error():
            raise KafkaException(m.error())
        if m is not None:
            assert m.offset() == got, (m.offset(), got)
            got, size = got + 1, size + len(m.value())
    took = time.monotonic() - began
    c.close()
    # 2 MB at once, the rest at 2 MB/s: 4 s.
    assert took >= (size - 2 * MB) / (2 * MB) - 0.4, "it took %.1f s" % took
    assert took <= size / (2 * MB) + 3, "it took %.1f s" % took
    assert throttled and max(throttled) > 0, "the callback never saw a throttle time"


test("librdkafka: ten units at once arrive in order, and the throttling is told", burst)
test("librdkafka: a reader gets them at its rate", read_at_its_rate)
finish()
