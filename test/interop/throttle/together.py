#!/usr/bin/python3
"""Clients of all three protocols at once under two units: their sum is what the units
say, each connection has its share, a newcomer at once, and `units set` takes effect
while they go on."""
import multiprocessing
import time

from confluent_kafka import Producer
from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

from bed import (CA, HOST, KEY, POLICY, Https, cli, figure, finish, kafka_options, metrics, test)

UNITS, RATE, MORE, WINDOW = 2, 2000, 6, 10.0
BODY = "x" * 100
NAMES = ["amqp-0", "amqp-1", "https-0", "https-1", "kafka-0", "kafka-1"]
counts = multiprocessing.Array("q", len(NAMES))
refusals = multiprocessing.Array("q", len(NAMES))


class Sender(MessagingHandler):
    """As many single events as there is credit for."""

    def __init__(self, at):
        super().__init__(auto_settle=True)
        self.at = at

    def on_start(self, event):
        from proton import SSLDomain
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(CA)
        domain.set_peer_authentication(SSLDomain.ANONYMOUS_PEER)
        conn = event.container.connect("amqps://%s:5671" % HOST, ssl_domain=domain, user=POLICY, password=KEY,
                                       allowed_mechs="PLAIN", reconnect=False)
        event.container.create_sender(conn, "together/Partitions/%d" % self.at)

    def on_sendable(self, event):
        while event.sender.credit:
            event.sender.send(Message(body=BODY))

    def on_accepted(self, event):
        counts[self.at] += 1

    def on_rejected(self, event):
        refusals[self.at] += 1


def amqp(at):
    Container(Sender(at)).run()


def https(at):
    """Ten events a request."""
    c = Https("together")
    while True:
        status, _, body = c.post_batch("together", [BODY] * 10, at)
        if status == 201:
            counts[at] += 10
        else:
            assert status == 503, (status, body)
            refusals[at] += 10


def kafka(at):
    p = Producer(kafka_options(linger_ms=20, batch_num_messages=100, queue_buffering_max_messages=1000))

    def report(err, _message):
        (refusals if err else counts)[at] += 1

    while True:
        try:
            p.produce("together", BODY, partition=at, on_delivery=report)
        except BufferError:
            p.poll(0.05)
        p.poll(0)


def start(at):
    kind = {"amqp": amqp, "https": https, "kafka": kafka}[NAMES[at].split("-")[0]]
    p = multiprocessing.Process(target=kind, args=(at,), daemon=True)
    p.start()
    return p


def sample():
    """Time, what the server admitted, what each client was told is stored."""
    before = time.monotonic()
    m = metrics()
    after = time.monotonic()
    return (before + after) / 2, figure(m, "admitted_events_total"), list(counts)


def span(seconds):
    t0, n0, c0 = sample()
    time.sleep(seconds)
    t1, n1, c1 = sample()
    return t1 - t0, n1 - n0, [b - a for a, b in zip(c0, c1)]


clients = {}


def expect(rate, took, admitted):
    """A request has up to a hundred events, and may lie at either end; the figures' own
    time is known to a few milliseconds."""
    assert 0.98 * rate * took - 100 <= admitted <= rate * (took + 0.06) + 100, "%d in %.2f s" % (admitted, took)


def the_sum():
    for at in range(len(NAMES)):
        if at != 1:
            clients[at] = start(at)
    time.sleep(4)  # the burst is over
    took, admitted, each = span(WINDOW)
    expect(RATE, took, admitted)
    told = sum(each)
    assert 0.96 * RATE * took <= told <= RATE * took + 400, "%d told in %.2f s" % (told, took)
    shares = [each[at] / told for at in clients]
    print("shares: " + ", ".join("%s %.1f %%" % (NAMES[at], 100 * each[at] / told) for at in clients), flush=True)
    low, high = min(shares), max(shares)
    # A client with one request under way loses what the way takes on a busy machine.
    assert low >= 0.7 / len(clients) and high <= 1.5 / len(clients), shares


def a_newcomer():
    clients[1] = start(1)
    end = time.monotonic() + 10
    while counts[1] == 0:  # it starts, connects and sends
        assert time.monotonic() < end, "it is never served"
        time.sleep(0.02)
    time.sleep(1)
    took, _, each = span(3)
    share = each[1] / (RATE * took / len(NAMES))
    assert 0.7 <= share <= 1.4, "it has %.2f of its share" % share


def more_units():
    cli("units", "set", str(MORE))
    time.sleep(1.5)
    took, admitted, _ = span(4)
    expect(1000 * MORE, took, admitted)


def fewer_units():
    cli("units", "set", "1")
    time.sleep(1.5)
    took, admitted, _ = span(4)
    expect(1000, took, admitted)


def no_units():
    cli("units", "set", "0")
    time.sleep(1)
    before = list(counts)
    time.sleep(1)
    assert sum(counts) - sum(before) > 1000 * MORE, "%d in a second" % (sum(counts) - sum(before))


test("together: three protocols, and the sum is what the units say", the_sum)
test("together: a newcomer has its share within a second", a_newcomer)
test("together: units set raises it while clients go on", more_units)
test("together: units set lowers it", fewer_units)
test("together: no units, no limit", no_units)
for client in clients.values():
    client.kill()
finish()
