#!/usr/bin/python3
"""Limits of hubs, partitions, publishers, policies and Kafka clients, set while clients go
on; and units that grow under load and shrink again. The server begins without units."""
import json
import threading
import time

from confluent_kafka import Producer

from bed import Https, cli, figure, finish, kafka_options, metrics, sdk_producer, sdk_send, test, wait_log

# Of each limit: 200 events a second, so that 600 events take two seconds.
RATE, COUNT, BATCH = 200, 600, 50


def limit(*words):
    cli("limit", "set", *words, "--in-events", str(RATE))
    time.sleep(0.6)


def batches(conn, path, n=COUNT, each=BATCH):
    """How long n events take, `each` a request; all are stored."""
    began = time.monotonic()
    for _ in range(n // each):
        status, _, text = conn.ask("POST", path, json.dumps([{"Body": "x"}] * each),
                                   {"Content-Type": "application/vnd.microsoft.servicebus.json"})
        assert status == 201, (status, text)
    return time.monotonic() - began


def is_limited(took):
    assert 1.8 <= took <= 3.4, "it took %.2f s" % took


def is_free(took):
    assert took < 1, "it took %.2f s" % took


def hub():
    limit("hub", "one")
    is_limited(batches(Https("one"), "/one/messages"))
    is_free(batches(Https("free"), "/free/messages"))
    m = metrics()
    assert figure(m, "limit_events", scope="hub") == RATE and figure(m, "admitted_events_total", scope="hub") == COUNT
    cli("limit", "delete", "hub", "one")
    time.sleep(0.6)
    is_free(batches(Https("one"), "/one/messages"))


def partition():
    """A hot partition leaves the others alone, also for the same connection's sender."""
    limit("partition", "parts")
    took = {}

    def send(at):
        with sdk_producer("parts") as p:
            p.get_partition_ids()
            began = time.monotonic()
            sdk_send(p, at, ["y"] * (COUNT if at == 0 else RATE), BATCH)
            took[at] = time.monotonic() - began

    threads = [threading.Thread(target=send, args=(at,)) for at in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    # The links are made first.
    assert 1.8 <= took[0] <= 4.5, took
    assert took[1] <= 2, took


def publisher():
    """Each publisher has the limit for itself."""
    limit("publisher", "pubs")
    took = {}

    def send(name):
        took[name] = batches(Https("pubs"), "/pubs/publishers/%s/messages" % name)

    threads = [threading.Thread(target=send, args=(name,)) for name in ("left", "right")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    is_limited(took["left"])
    is_limited(took["right"])
    is_free(batches(Https("pubs"), "/pubs/messages"))


def policy():
    """And the error names it."""
    cli("policy", "create", "meter", "--rights", "send")
    limit("policy", "meter")
    texts = []

    def send():
        conn = Https("free")
        conn.headers = {"Authorization": cli("token", "--hub", "free", "--policy", "meter").strip()}
        for _ in range(4):
            status, headers, text = conn.post_batch("free", ["z"] * RATE)
            if status == 201:
                continue
            assert status == 503, (status, text)
            texts.append(json.loads(text)["error"]["message"])
            time.sleep(min(3, int(headers["retry-after"])))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for t in threads:
        t.start()
    is_free(batches(Https("free"), "/free/messages"))
    for t in threads:
        t.join()
    assert texts and "meter" in texts[0] + str(metrics()) and "policy" in texts[0], texts[:1]
    assert "%d events per second" % RATE in texts[0], texts[0]
    assert figure(metrics(), "refused_requests_total", scope="policy") == len(texts)


def client():
    limit("client", "slow")

    def send(name):
        p = Producer(kafka_options(client_id=name, linger_ms=5, batch_num_messages=BATCH))
        errors = []
        p.list_topics(timeout=10)
        began = time.monotonic()
        for _ in range(COUNT):
            p.produce("free", "k", on_delivery=lambda e, _m: e and errors.append(e))
        assert p.flush(20) == 0 and not errors, errors[:1]
        return time.monotonic() - began

    is_limited(send("slow"))
    is_free(send("quick"))


def shown():
    u = json.loads(cli("units", "show", "--json"))
    assert u["units"] == 0, u
    text = cli("limit", "list")
    for word in ("partition", "parts", "publisher", "pubs", "policy", "meter", "client", "slow"):
        assert word in text, text


def grows():
    """From one unit to what is wanted, as far as three; with its reason in the log."""
    cli("units", "set", "1", "--auto-inflate-max", "3", "--auto-deflate-after", "3s")
    end = []

    def send():
        conn = Https("free")
        while not end:
            conn.post_batch("free", ["w"] * 100)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for t in threads:
        t.start()
    try:
        line = wait_log(["UNITS-INFLATED", "to=3"], 10)
        assert "reason=" in line and "throttled in" in line, line
        time.sleep(1.5)
        t0, n0 = time.monotonic(), figure(metrics(), "admitted_events_total")
        time.sleep(3)
        t1, n1 = time.monotonic(), figure(metrics(), "admitted_events_total")
        assert 0.95 <= (n1 - n0) / (3000 * (t1 - t0)) <= 1.05, (n1 - n0) / (t1 - t0)
    finally:
        end.append(True)
        for t in threads:
            t.join()
    wait_log(["UNITS-DEFLATED", "to=1"], 12)
    assert metrics()["sluice_throughput_units"] == 1 and metrics()["sluice_throughput_units_max"] == 3


test("scopes: a hub", hub)
test("scopes: a hot partition", partition)
test("scopes: each publisher", publisher)
test("scopes: a policy, named by the error", policy)
test("scopes: a Kafka client id", client)
test("scopes: shown", shown)
test("scopes: units grow under load and shrink when it is quiet", grows)
finish()
