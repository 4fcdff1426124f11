#!/usr/bin/python3
"""The Python SDK of Event Hubs with its default settings, one unit: ten times the unit
at once reaches the hub without an error at the application."""
import threading
import time

from bed import figure, metrics, expect_in_order, sdk_producer, sdk_send, test, finish, wait_log

EVENTS, SENDERS = 10000, 4
took = 0.0


def burst(hub, per_batch, pause_first=0.0):
    """SENDERS clients, each its own partition and connection, send what is ten units."""
    global took
    errors, threads = [], []
    bodies = [["%d-%05d " % (s, i) + "x" * 80 for i in range(EVENTS // SENDERS)] for s in range(SENDERS)]

    def body(s):
        try:
            with sdk_producer(hub) as p:
                sdk_send(p, s, bodies[s], per_batch)
        except Exception as e:  # pylint: disable=broad-except
            errors.append(e)

    time.sleep(pause_first)
    began = time.monotonic()
    for s in range(SENDERS):
        threads.append(threading.Thread(target=body, args=(s,)))
        threads[-1].start()
    for t in threads:
        t.join()
    took = time.monotonic() - began
    assert not errors, repr(errors[0])[:300]
    for s in range(SENDERS):
        expect_in_order(hub, s, bodies[s])


def held_only():
    """Batches of a quarter second's worth: all of them wait less than the hold time."""
    before = metrics()
    burst("sdk", 250)
    assert took >= EVENTS / 1000 - 1 - 0.2, "it took %.1f s" % took
    assert took <= EVENTS / 1000 + 3, "it took %.1f s" % took
    after = metrics()
    assert figure(after, "held_requests_total") > figure(before, "held_requests_total")
    refused = figure(after, "refused_requests_total") - figure(before, "refused_requests_total")
    assert refused == 0, "%d were refused" % refused


def refused_too():
    """Batches of a whole second's worth of four clients: some must come again."""
    before = metrics()
    burst("sdk2", 1000)
    after = metrics()
    assert figure(after, "refused_requests_total") > figure(before, "refused_requests_total"), "none was refused"
    print("sdk: refused and sent again took %.1f s" % took, flush=True)


def told():
    m = metrics()
    assert figure(m, "limit_events") == 1000 and figure(m, "limit_bytes") == 1 << 20
    assert figure(m, "wait_seconds_total") > 1
    assert m["sluice_throughput_units"] == 1
    assert m["sluice_throttled_requests_total"] > 0
    line = wait_log(["THROTTLED", "scope=namespace", "direction=in"], 65)
    for word in ["held=", "refused=", "events=", "waited_ms=", "worst=\"127.", "worst_percent="]:
        assert word in line, line


test("sdk: ten units at once are held and arrive in order, once", held_only)
test("sdk: what is refused is sent again by the SDK, in order, once", refused_too)
test("sdk: metrics and the log name the scope", told, 70)
finish()
