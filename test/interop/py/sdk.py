"""The unmodified azure-eventhub SDK (5.11, pure Python transport) over TLS."""
import datetime
import threading
import time

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from lib import CA, CS, CS_LISTEN, finish, test

HUB = "py-sdk"


def producer(cs=CS, **kw):
    return EventHubProducerClient.from_connection_string(
        cs, eventhub_name=HUB, connection_verify=CA, retry_total=0, **kw)


def consumer(cs=CS, group="$Default", **kw):
    return EventHubConsumerClient.from_connection_string(
        cs, group, eventhub_name=HUB, connection_verify=CA, retry_total=0, **kw)


def read(partition, n, limit=25, cs=CS, group="$Default", **kw):
    """Reads n events of a partition; raises what the client reports."""
    got, errors = [], []
    client = consumer(cs, group)
    done = threading.Event()

    def on_batch(context, events):
        got.extend(events)
        if len(got) >= n:
            done.set()

    def on_error(context, error):
        errors.append(error)
        done.set()

    worker = threading.Thread(target=lambda: client.receive_batch(
        on_batch, on_error=on_error, partition_id=partition, max_wait_time=1, **kw), daemon=True)
    worker.start()
    done.wait(limit)
    client.close()
    worker.join(5)
    if len(got) < n and errors:
        raise errors[0]
    assert len(got) >= n, f"{len(got)} of {n} events"
    return got


@test("hub and partition properties")
def _():
    with producer() as p:
        props = p.get_eventhub_properties()
        assert props["eventhub_name"] == HUB and props["partition_ids"] == ["0", "1", "2", "3"], props
        part = p.get_partition_properties("3")
        assert part["is_empty"] is True and part["last_enqueued_sequence_number"] == -1, part
        assert part["last_enqueued_offset"] == "-1", part


@test("batch to a partition, read from the start")
def _():
    with producer() as p:
        batch = p.create_batch(partition_id="0")
        for i in range(50):
            e = EventData(f"event {i}")
            e.properties = {"n": i, "s": "text", "b": b"\x00\x01", "f": 2.5, "t": True}
            batch.add(e)
        p.send_batch(batch)
    got = read("0", 50, starting_position="-1")
    for i, e in enumerate(got):
        assert e.body_as_str() == f"event {i}" and e.sequence_number == i, (i, e)
        assert e.properties[b"n"] == i and e.properties[b"s"] == b"text", e.properties
        assert abs(e.enqueued_time.timestamp() - time.time()) < 60


@test("single event, partition key")
def _():
    with producer() as p:
        p.send_event(EventData("one"), partition_key="hello")
    e = read("3", 1, starting_position="-1")[0]
    assert e.body_as_str() == "one" and e.partition_key == b"hello", e


@test("read from a sequence number, an offset and a time")
def _():
    e = read("0", 10, starting_position=39, starting_position_inclusive=False)
    assert e[0].sequence_number == 40, e[0].sequence_number
    e = read("0", 11, starting_position=39, starting_position_inclusive=True)
    assert e[0].sequence_number == 39, e[0].sequence_number
    e = read("0", 40, starting_position=str(e[0].offset - 30 if isinstance(e[0].offset, int) else int(e[0].offset) - 30))
    assert e[0].sequence_number == 10, e[0].sequence_number
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    e = read("0", 50, starting_position=at)
    assert e[0].sequence_number == 0


@test("read from the end gives only what comes later")
def _():
    def later():
        time.sleep(3)
        with producer() as p:
            p.send_batch([EventData("later")], partition_id="2")
    t = threading.Thread(target=later)
    t.start()
    e = read("2", 1, starting_position="@latest")
    t.join()
    assert e[0].body_as_str() == "later"


@test("last enqueued event properties")
def _():
    got = []
    client = consumer()
    done = threading.Event()

    def on_event(context, event):
        if event is not None and context.last_enqueued_event_properties:
            got.append(context.last_enqueued_event_properties)
            done.set()

    worker = threading.Thread(target=lambda: client.receive(
        on_event, partition_id="0", starting_position="-1",
        track_last_enqueued_event_properties=True), daemon=True)
    worker.start()
    assert done.wait(20), "nothing came"
    client.close()
    assert got[0]["sequence_number"] == 49, got[0]


@test("a policy with Listen only cannot send, but reads")
def _():
    assert len(read("0", 1, cs=CS_LISTEN, starting_position="-1")) >= 1
    try:
        with producer(CS_LISTEN) as p:
            p.send_batch([EventData("no")])
    except EventHubError as e:
        assert "nauthorized" in str(e) or "Auth" in type(e).__name__, e
    else:
        raise AssertionError("was allowed")


@test("a wrong key is refused with a text")
def _():
    bad = ";".join("SharedAccessKey=bm9wZQ==" if x.startswith("SharedAccessKey=") else x
                   for x in CS.split(";"))
    try:
        with producer(bad) as p:
            p.send_batch([EventData("no")])
    except EventHubError as e:
        assert "InvalidSignature" in str(e) or "401" in str(e), e
    else:
        raise AssertionError("was allowed")


@test("a higher owner level takes over")
def _():
    errors = []
    low = consumer()
    high = consumer()
    lost = threading.Event()

    def on_error(context, error):
        errors.append(error)
        lost.set()

    def run(client, level, err):
        client.receive(lambda c, e: None, on_error=err, partition_id="1", owner_level=level,
                       starting_position="-1", max_wait_time=1)

    threading.Thread(target=run, args=(low, 1, on_error), daemon=True).start()
    time.sleep(4)
    threading.Thread(target=run, args=(high, 2, lambda c, e: None), daemon=True).start()
    assert lost.wait(20), "the first reader was not told"
    low.close()
    high.close()
    assert "epoch" in str(errors[0]), errors[0]


finish()
