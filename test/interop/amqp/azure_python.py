#!/usr/bin/python3
"""The official Python SDK (azure-eventhub, pure Python AMQP) against a gateway.

Takes SLUICE_CS (connection string; the SDK always uses port 5671), SLUICE_CA
(PEM file) and SLUICE_HUB (an event hub with at least two partitions, whose last
one nobody else writes to) from the environment. Prints "ok NAME" or
"not ok NAME reason" lines; exits 1 when one failed.
"""
import datetime
import logging
import os
import threading
import time
import traceback
import uuid

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import AuthenticationError, EventHubError

CS = os.environ["SLUICE_CS"]
CA = os.environ["SLUICE_CA"]
HUB = os.environ["SLUICE_HUB"]
GROUP = "$Default"
failed = 0

logging.getLogger("azure").setLevel(logging.CRITICAL)


def producer(**kw):
    kw.setdefault("conn_str", CS)
    kw.setdefault("eventhub_name", HUB)
    return EventHubProducerClient.from_connection_string(connection_verify=CA, retry_total=0, **kw)


def consumer(**kw):
    kw.setdefault("conn_str", CS)
    kw.setdefault("eventhub_name", HUB)
    return EventHubConsumerClient.from_connection_string(
        consumer_group=GROUP, connection_verify=CA, retry_total=0, **kw)


def last_partition():
    with producer() as p:
        return p.get_partition_ids()[-1]


class Receiving:
    """Receives on a thread until `count` events are there or time is up."""

    def __init__(self, count, timeout=15, **kw):
        self.events = []
        self.errors = []
        self.count = count
        self.client = consumer()
        self.full = threading.Event()
        self.timeout = timeout
        self.thread = threading.Thread(target=self._run, kwargs=kw, daemon=True)
        self.thread.start()

    def _run(self, **kw):
        def on_event(context, event):
            if event is None:
                return
            self.context = context
            self.events.append(event)
            if len(self.events) >= self.count:
                self.full.set()

        def on_error(context, error):
            self.errors.append(error)
            self.full.set()

        try:
            self.client.receive(on_event=on_event, on_error=on_error, **kw)
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(e)
            self.full.set()

    def wait(self):
        self.full.wait(self.timeout)
        self.client.close()
        self.thread.join(10)
        return self.events


def test_hub_properties():
    with producer() as p:
        props = p.get_eventhub_properties()
    assert props["eventhub_name"] == HUB, props
    assert len(props["partition_ids"]) >= 2, props
    assert props["partition_ids"][0] == "0", props
    age = datetime.datetime.now(datetime.timezone.utc) - props["created_at"]
    assert abs(age.total_seconds()) < 1000 * 24 * 3600, props


def test_partition_properties():
    pid = last_partition()
    with producer() as p:
        before = p.get_partition_properties(pid)
        batch = p.create_batch(partition_id=pid)
        batch.add(EventData("one"))
        p.send_batch(batch)
        after = p.get_partition_properties(pid)
    assert after["id"] == pid, after
    assert after["last_enqueued_sequence_number"] == before["last_enqueued_sequence_number"] + 1, after
    assert after["is_empty"] is False, after
    assert isinstance(after["last_enqueued_offset"], str), after
    age = datetime.datetime.now(datetime.timezone.utc) - after["last_enqueued_time_utc"]
    assert abs(age.total_seconds()) < 60, after


def test_bad_partition_is_refused():
    with producer() as p:
        try:
            p.get_partition_properties("9999")
        except EventHubError:
            return
    raise AssertionError("no error")


def send_and_read(events, key=None, partition=True):
    """Sends as one batch; returns what comes back from the position before."""
    pid = last_partition()
    with producer() as p:
        start = p.get_partition_properties(pid)["last_enqueued_sequence_number"]
        batch = p.create_batch(partition_id=pid)
        for e in events:
            batch.add(e)
        p.send_batch(batch)
    r = Receiving(len(events), partition_id=pid, starting_position=start)
    got = r.wait()
    assert len(got) == len(events), (len(got), r.errors)
    return start, got


def test_batch_arrives_in_order():
    start, got = send_and_read([EventData("event %d" % i) for i in range(500)])
    assert [e.body_as_str() for e in got] == ["event %d" % i for i in range(500)]
    assert [e.sequence_number for e in got] == list(range(start + 1, start + 501))
    assert [e.offset for e in got] == [str(n) for n in range(start + 1, start + 501)]
    assert len({e.enqueued_time for e in got}) == 1


def test_properties_survive():
    e = EventData(b"\x00\xff body")
    e.properties = {"s": "text", "i": 7, "b": True, "f": 1.5, "bin": b"\x01\x02"}
    e.message_id = "m-1"
    e.correlation_id = "c-1"
    e.content_type = "application/x-test"
    _, got = send_and_read([e])
    g = got[0]
    assert b"".join(g.body) == b"\x00\xff body"
    props = {k.decode(): v for k, v in g.properties.items()}
    assert props["s"] == b"text" or props["s"] == "text", props
    assert props["i"] == 7 and props["b"] is True and props["f"] == 1.5, props
    assert props["bin"] == b"\x01\x02", props
    assert g.message_id == "m-1" and g.correlation_id == "c-1", g
    assert g.content_type == "application/x-test", g


def test_partition_key_keeps_events_together():
    key = "key-" + uuid.uuid4().hex
    with producer() as p:
        before = {i: p.get_partition_properties(i)["last_enqueued_sequence_number"]
                  for i in p.get_partition_ids()}
        for n in range(3):
            batch = p.create_batch(partition_key=key)
            batch.add(EventData("keyed %d" % n))
            p.send_batch(batch)
        after = {i: p.get_partition_properties(i)["last_enqueued_sequence_number"] for i in before}
    grown = [i for i in before if after[i] != before[i]]
    assert len(grown) == 1 and after[grown[0]] == before[grown[0]] + 3, (before, after)
    r = Receiving(3, partition_id=grown[0], starting_position=before[grown[0]])
    got = r.wait()
    assert [e.partition_key.decode() if isinstance(e.partition_key, bytes) else e.partition_key
            for e in got] == [key] * 3, got


def test_large_batch():
    body = os.urandom(1000)
    pid = last_partition()
    with producer() as p:
        start = p.get_partition_properties(pid)["last_enqueued_sequence_number"]
        batch = p.create_batch(partition_id=pid)
        n = 0
        while True:
            try:
                batch.add(EventData(body))
                n += 1
            except ValueError:
                break
        assert n > 800, n
        p.send_batch(batch)
    got = Receiving(n, partition_id=pid, starting_position=start).wait()
    assert len(got) == n and all(b"".join(e.body) == body for e in got)


def test_start_positions():
    pid = last_partition()
    start, got = send_and_read([EventData("p%d" % i) for i in range(5)])
    third = got[2]
    for name, kw in {
            "sequence": dict(starting_position=third.sequence_number),
            "offset": dict(starting_position=third.offset),
    }.items():
        first = Receiving(1, partition_id=pid, **kw).wait()[0]
        assert first.sequence_number == third.sequence_number + 1, (name, first.sequence_number)
        first = Receiving(1, partition_id=pid, starting_position_inclusive=True, **kw).wait()[0]
        assert first.sequence_number == third.sequence_number, (name, first.sequence_number)
    first = Receiving(1, partition_id=pid, starting_position="-1").wait()[0]
    assert first.sequence_number <= start + 1
    when = third.enqueued_time - datetime.timedelta(milliseconds=1)
    first = Receiving(1, partition_id=pid, starting_position=when).wait()[0]
    assert first.enqueued_time > when, first
    bad = Receiving(1, timeout=8, partition_id=pid, starting_position="9" * 15)
    assert not bad.wait() and bad.errors, bad.events


def test_latest_sees_only_new_events():
    pid = last_partition()
    r = Receiving(1, partition_id=pid, starting_position="@latest")
    time.sleep(3)
    text = "new " + uuid.uuid4().hex
    with producer() as p:
        batch = p.create_batch(partition_id=pid)
        batch.add(EventData(text))
        p.send_batch(batch)
    got = r.wait()
    assert [e.body_as_str() for e in got] == [text], (got, r.errors)


def test_runtime_metric():
    pid = last_partition()
    _, got = send_and_read([EventData("m")])
    r = Receiving(1, partition_id=pid, starting_position=got[0].sequence_number,
                  starting_position_inclusive=True, track_last_enqueued_event_properties=True)
    assert r.wait(), r.errors
    props = r.context.last_enqueued_event_properties
    assert props["sequence_number"] >= got[0].sequence_number, props
    assert props["enqueued_time"] is not None and props["retrieval_time"] is not None, props


def test_higher_epoch_steals_and_lower_is_refused():
    pid = last_partition()
    low = Receiving(10**9, partition_id=pid, starting_position="@latest", owner_level=5)
    time.sleep(3)
    high = Receiving(10**9, timeout=10, partition_id=pid, starting_position="@latest", owner_level=6)
    low.full.wait(20)
    assert low.errors, "the lower receiver was not told"
    assert "stolen" in str(low.errors[0]).lower() or "epoch" in str(low.errors[0]).lower(), low.errors
    lower = Receiving(1, timeout=10, partition_id=pid, starting_position="@latest", owner_level=1)
    lower.full.wait(10)
    assert lower.errors and "epoch" in str(lower.errors[0]), lower.errors
    none = Receiving(1, timeout=10, partition_id=pid, starting_position="@latest")
    none.full.wait(10)
    assert none.errors, "a receiver without owner level was let in"
    for r in (low, lower, none, high):
        r.full.set()
        r.wait()


def test_wrong_key_is_refused():
    parts = dict(p.split("=", 1) for p in CS.split(";") if p)
    parts["SharedAccessKey"] = "A" * 43 + "="
    cs = ";".join("%s=%s" % kv for kv in parts.items())
    with producer(conn_str=cs) as p:
        try:
            p.get_eventhub_properties()
        except AuthenticationError as e:
            assert "InvalidSignature" in str(e) or "401" in str(e), e
            return
        except EventHubError as e:
            raise AssertionError("%s: %s" % (type(e).__name__, e))
    raise AssertionError("no error")


def test_unknown_hub_is_not_found():
    with producer(eventhub_name="nosuchhub") as p:
        try:
            p.send_event(EventData("x"))
        except EventHubError as e:
            assert "could not be found" in str(e) or "404" in str(e), e
            return
    raise AssertionError("no error")


def test_single_events():
    pid = last_partition()
    with producer() as p:
        start = p.get_partition_properties(pid)["last_enqueued_sequence_number"]
        for i in range(20):
            p.send_event(EventData("single %d" % i), partition_id=pid)
    got = Receiving(20, partition_id=pid, starting_position=start).wait()
    assert [e.body_as_str() for e in got] == ["single %d" % i for i in range(20)]


def main():
    global failed
    only = os.environ.get("SLUICE_ONLY", "")
    for name, fn in sorted(globals().items()):
        if not name.startswith("test_") or only not in name:
            continue
        try:
            fn()
            print("ok", name[5:], flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print("not ok", name[5:], type(e).__name__, str(e).replace("\n", " ")[:400], flush=True)
            if os.environ.get("SLUICE_TRACE"):
                traceback.print_exc()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
