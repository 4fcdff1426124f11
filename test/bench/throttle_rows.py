"""Rows of `make bench` about throughput units: how exactly a saturated server keeps
them, how fairly it shares them, what they cost while they limit nothing and while they
do, and what throttled clients cost the others. Alone: run.sh throttle [--help]."""
import argparse
import json
import os
import signal
import sys
import time

from measure import SECONDS, bench
from throttle_load import CORES, MB, UNIT_EVENTS, Load, ThrottleServer, jain, shape, spread, verdict

QUICK_SECONDS = float(os.environ.get("BENCH_THROTTLE_SECONDS", "15"))
PROTOCOLS = ("amqp", "https", "kafka")
SENDERS = (1, 10, 1000)
UNITS = (1, 10)
SMALL = 100
LARGE = MB - 576  # with what stands around it, it fits a delivery of 1 MiB
LEAD = 3.0  # until the burst is spent
MARK_LEAST, MARK_JAIN, MARK_NEWCOMER = 0.98, 0.98, 0.8
MARK_FREE, MARK_CPU, MARK_P99 = 0.99, 0.10, 1.2


# ---- accuracy ------------------------------------------------------------------------

def saturating(protocol, senders, size, units):
    """Sends of a hundredth of a unit's second, singles where there are many senders."""
    if size == LARGE:
        return shape(protocol, "single", 1 if senders > 1 else 4, size), 1
    batch = units if senders == 1000 else 10 * units
    return shape(protocol, batch, 1 if senders == 1000 else 4, size), batch


class Accuracy:
    """One load generator on one server, whose units it saturates."""

    def __init__(self, server, protocol, senders, size, units, seconds):
        server.units(units)
        self.args, self.batch = saturating(protocol, senders, size, units)
        self.row = dict(row="accuracy", protocol=protocol, senders=senders, size=size, units=units)
        self.server, self.seconds = server, seconds
        self.lead = LEAD + senders / 200

    def begin(self):
        self.before = self.server.admitted()
        self.load = Load(self.server, self.row["protocol"], self.lead + self.seconds + 2, "--connections",
                         str(self.row["senders"]), *self.args)
        self.started = self.load.wait_started(self.before)

    def end(self, a, b):
        r = self.load.result()
        z = self.server.admitted()
        row, units = self.row, self.row["units"]
        acked = r["events"] + r.get("eventsLate", 0)
        t = b["at"] - a["at"]
        events, size = b["events"] - a["events"], b["bytes"] - a["bytes"]
        by_bytes = size / (units * MB) > events / (units * UNIT_EVENTS)
        rate = units * (MB if by_bytes else UNIT_EVENTS)
        key = "bytes" if by_bytes else "events"
        one = row["size"] + 576 if by_bytes else self.batch
        got, whole = b[key] - a[key], b[key] - self.before[key]
        least, most = MARK_LEAST * rate * t - one, rate * t + rate + one
        whole_most = rate * (b["at"] - self.started) + rate + one
        row.update(seconds=t, part=got / (rate * t), by=key, admittedEvents=events, admittedBytes=size,
                   held=b["held"] - a["held"], refused=b["refused"] - a["refused"], cores=(b["cpu"] - a["cpu"]) / t,
                   acked=acked, admittedInAll=z["events"] - self.before["events"], errors=r["errors"], why=r["why"],
                   wholePart=whole / (rate * (b["at"] - self.started) + rate), throttled=r.get("throttled", 0))
        faults = []
        if got < least:
            faults.append("too little")
        if got > most or whole > whole_most:
            faults.append("too much")
        if acked != row["admittedInAll"]:
            faults.append(f"acknowledged {acked} of {row['admittedInAll']:.0f} admitted")
        if row["errors"]:
            faults.append(f"errors {row['errors']}")
        row["verdict"] = verdict(not faults, ", ".join(faults) + (f" ({r['why']})" if r["why"] else ""))
        return row


def accuracy(seconds, wanted):
    print(f"\naccuracy: admitted over {seconds:g} s of saturation, of units x time; whole: from the first send on, of "
          "burst + units x time")
    print(f"  {'':8}{'senders':>8}{'size':>9}{'units':>6}{'of units':>10}{'whole':>8}{'by':>8}{'acked':>9}{'held/s':>8}"
          f"{'refused/s':>10}{'CPU':>7}  mark >= {MARK_LEAST:.0%} less one send, <= burst + one send")
    servers = {p: ThrottleServer(1) for p in PROTOCOLS}
    out = []
    for units in UNITS:
        for size in (SMALL, LARGE):
            for senders in SENDERS:
                rows = [p for p in PROTOCOLS if wanted(f"accuracy {p} {senders} {'1MB' if size == LARGE else '100B'} {units}")]
                # Few senders cost little: the three protocols at the same time.
                for group in ([[p] for p in rows] if senders == 1000 else [rows] if rows else []):
                    out += accuracy_group([Accuracy(servers[p], p, senders, size, units, seconds) for p in group], seconds)
    for s in servers.values():
        s.stop()
    return out


def accuracy_group(running, seconds):
    time.sleep(1.2)  # bursts are whole again
    for r in running:
        r.begin()
    time.sleep(max(r.lead for r in running))
    first = [r.server.admitted() for r in running]
    time.sleep(seconds)
    last = [r.server.admitted() for r in running]
    out = [r.end(a, b) for r, a, b in zip(running, first, last)]
    for r in out:
        print(f"  {r['protocol']:8}{r['senders']:>8}{r['size']:>9}{r['units']:>6}{r['part']:>10.2%}{r['wholePart']:>8.1%}"
              f"{r['by']:>8}{r['acked']:>9}{r['held'] / r['seconds']:>8.0f}{r['refused'] / r['seconds']:>10.1f}"
              f"{r['cores'] / CORES:>7.1%}  {r['verdict']}", flush=True)
    return out


# ---- fairness ------------------------------------------------------------------------

# (protocol, "single" or the events of a batch, in flight, size of an event)
KINDS = (("amqp", "single", 64, SMALL), ("amqp", "single", 1, SMALL), ("amqp", 500, 4, SMALL),
         ("amqp", "single", 4, 256 * 1024), ("https", "single", 1, SMALL), ("https", 50, 1, SMALL),
         ("https", "single", 1, 256 * 1024), ("kafka", 500, 4, SMALL), ("kafka", 1, 16, SMALL),
         ("kafka", 1, 4, 256 * 1024))
NEWCOMERS = (("amqp", "single", 64, SMALL), ("https", 5, 1, SMALL), ("kafka", 5, 4, SMALL))


def kind_load(server, kind, seconds):
    protocol, mode, in_flight, size = kind
    return Load(server, protocol, seconds, *shape(protocol, mode, in_flight, size))


def kind_text(kind):
    protocol, mode, in_flight, size = kind
    return f"{protocol} {mode if mode == 'single' else f'batches of {mode}'}, {size} B, {in_flight} in flight"


def part_of_units(kind, result, seconds):
    """Of one unit: the larger of its events' part and its bytes' part."""
    events = result["events"] / seconds
    return max(events / UNIT_EVENTS, events * kind[3] / MB)


def fairness(seconds):
    server = ThrottleServer(1)
    spender = Load(server, "amqp", 2.5, *shape("amqp", 10, 16))
    spender.wait_started(dict(events=0))
    time.sleep(1.0)
    running = [(k, kind_load(server, k, seconds)) for k in KINDS]
    spender.result()
    results = [(k, l.result()) for k, l in running]
    shares = [part_of_units(k, r, seconds) for k, r in results]
    index, ratio = jain(shares), max(shares) / max(min(shares), 1e-9)
    large = 256 * 1024 / MB / seconds / (sum(shares) / len(shares))
    print(f"\nfairness: {len(KINDS)} senders of unlike kinds under one unit, {seconds:g} s; share of the unit by the larger of "
          "bytes and events")
    for (k, r), s in zip(results, shares):
        print(f"  {kind_text(k):50}{r['events']:>8} events{s:>8.2%}  {r['why']}")
    print(f"  Jain {index:.4f} (mark >= {MARK_JAIN}), most to least {ratio:.2f} (one large event is {large:.0%} of a share): "
          f"{verdict(index >= MARK_JAIN)}", flush=True)
    out = [dict(row="fairness", jain=index, ratio=ratio, shares=[(kind_text(k), s, r) for (k, r), s in zip(results, shares)])]
    time.sleep(1.2)
    out += newcomers(server)
    server.stop()
    return out


def newcomers(server):
    """Beside nine that were there before: the part of a fair share in the first seconds."""
    spans = (1.0, 3.0)
    rounds = 2
    lasting = LEAD + rounds * sum(len(NEWCOMERS) * (s + 2.5) for s in spans)
    others = [kind_load(server, k, lasting) for k in KINDS[:-1]]
    time.sleep(LEAD)
    got = {(k, s): [] for k in NEWCOMERS for s in spans}
    for _ in range(rounds):
        for k in NEWCOMERS:
            for s in spans:
                r = kind_load(server, k, s).result()
                got[k, s].append(part_of_units(k, r, s) * len(KINDS))
    for o in others:
        o.result()
    out = []
    for (k, s), parts in got.items():
        middle = sum(parts) / len(parts)
        print(f"  newcomer, {kind_text(k):40} first {s:g} s: {middle:>5.0%} of a fair share "
              f"({', '.join(format(p, '.0%') for p in parts)}): {verdict(middle >= MARK_NEWCOMER)}", flush=True)
        out.append(dict(row="newcomer", kind=kind_text(k), seconds=s, parts=parts))
    return out


# ---- cost ------------------------------------------------------------------------------

FREE_LOADS = (("AMQP batches", "amqp", shape("amqp", 100)), ("AMQP singles", "amqp", shape("amqp", "single")),
              ("Kafka batches", "kafka", shape("kafka", 100)))


def free_cost(rounds, base):
    """Throughput with units that limit nothing, beside none, and beside another build."""
    servers = {"none": ThrottleServer(0), "10000 units": ThrottleServer(10000)}
    if base:
        servers["other build"] = ThrottleServer(None, binary=base)
    seconds = max(2.0, SECONDS / 3)
    print(f"\ncost while nothing is limited: {rounds} runs each of {seconds:g} s in turn, 100 B, 2 connections; ratios of runs "
          "that follow each other: median, least to most, standard error")
    out = []
    for name, protocol, args in FREE_LOADS:
        got = {s: [] for s in servers}
        for i in range(-1, rounds):
            for which in (list(servers) if i % 2 == 0 else list(servers)[::-1]):
                server = servers[which]
                before = server.cpu()
                r = bench("--hub", "bench", "--protocol", protocol, "--connections", "2", *args,
                          seconds=seconds if i >= 0 else 1.0, where=("--data", server.data))
                if i >= 0:
                    got[which].append((r["eventsPerSecond"], r["events"] / max(server.cpu() - before, 0.01)))
        for a, b in [("10000 units", "none")] + [(s, "other build") for s in ("none", "10000 units") if base]:
            rates = [x[0] / y[0] for x, y in zip(got[a], got[b])]
            per_cpu = [x[1] / y[1] for x, y in zip(got[a], got[b])]
            out.append(dict(row="free", load=name, of=a, to=b, rates=rates, perCpu=per_cpu, got=got))
            print_free(name, a, b, spread(rates), spread(per_cpu))
    for s in servers.values():
        s.stop()
    return out


def print_free(name, a, b, rate, cpu):
    worst = min(rate, cpu, key=lambda x: x[0])
    is_noise = worst[0] < MARK_FREE <= worst[0] + 2 * worst[3]
    said = "within the noise" if is_noise else verdict(worst[0] >= MARK_FREE)
    print(f"  {name:14}{a + ' / ' + b:26} rate {rate[0]:.3f} ({rate[1]:.2f} to {rate[2]:.2f}, +-{rate[3]:.3f})   events per CPU s "
          f"{cpu[0]:.3f} ({cpu[1]:.2f} to {cpu[2]:.2f}, +-{cpu[3]:.3f})   mark >= {MARK_FREE}: {said}", flush=True)


def limiting_cost(seconds):
    """Server CPU while ten times the units are offered, and while as much is offered as
    the units allow and nothing is limited."""
    server = ThrottleServer(0)
    seconds = min(seconds, 6.0)
    print(f"\ncost while limiting: server CPU, of {CORES} cores, 20 connections that offer 10 x the units and keep trying, "
          f"{seconds:g} s")
    out = []
    for units in UNITS:
        for protocol in PROTOCOLS:
            # A send is one or ten thousandths of a second's units: a thousand or a hundred a second.
            for batch in (units, 10 * units):
                rate = units * UNIT_EVENTS
                used = []
                for limit, offered in ((0, rate), (units, 10 * rate)):
                    server.units(limit)
                    load = Load(server, protocol, LEAD + seconds + 0.5, *shape(protocol, batch, 16), "--connections", "20",
                                "--rate", str(offered))
                    load.wait_started(server.admitted())
                    time.sleep(LEAD)
                    a = server.admitted()
                    time.sleep(seconds)
                    b = server.admitted()
                    load.result()
                    used.append(dict(cpu=(b["cpu"] - a["cpu"]) / (b["at"] - a["at"]) / CORES,
                                     rate=(b["events"] - a["events"]) / (b["at"] - a["at"]), refused=b["refused"] - a["refused"]))
                free, limited = used
                print(f"  {protocol:6} {units:>3} units, batches of {batch:<4} {limited['cpu']:>6.1%} of the machine "
                      f"(unlimited, the same load: {free['cpu']:.1%}; difference {limited['cpu'] - free['cpu']:+.1%}), "
                      f"{limited['rate']:.0f} events/s, {limited['refused']:.0f} refused   mark <= {MARK_CPU:.0%}: "
                      f"{verdict(limited['cpu'] <= MARK_CPU)}", flush=True)
                out.append(dict(row="limiting", protocol=protocol, units=units, batch=batch, limited=limited, free=free))
    server.stop()
    return out


# ---- latency of others -------------------------------------------------------------------

OTHERS = (("amqp", 8), ("kafka", 8), ("https", 8))
LIMIT = 10  # units of what is saturated


class Beside:
    """A modest client on its own hub, and many others on another."""

    def __init__(self):
        s = self.server = ThrottleServer(0, "--hub", "busy:4", "--hub", "modest:4")
        s.cli("policy", "create", "crowd", "--rights", "send")
        cs = s.cli("connection-string", "--policy", "crowd")
        self.crowd = ["--connection-string", cs, "--ca", s.ready["ca"], "--https", s.ready["https"]]

    def others(self, seconds, how):
        rate = LIMIT * UNIT_EVENTS
        each = ["--rate", str(rate // len(OTHERS))] if how == "paced" else ["--rate", str(10 * rate // len(OTHERS))]
        return [Load(self.server, p, seconds, *shape(p, 10, 4), "--connections", str(n), *each, hub="busy",
                     where=[*self.crowd, *(["--kafka", self.server.ready["kafka"]] if p == "kafka" else [])])
                for p, n in OTHERS]

    def limit(self, how):
        s = self.server
        s.units(LIMIT if how == "namespace" else 0)
        for kind, name in (("hub", "busy"), ("policy", "crowd")):
            if how == kind:
                s.cli("limit", "set", kind, name, "--units", str(LIMIT))

    def unlimit(self, how):
        if how in ("hub", "policy"):
            self.server.cli("limit", "delete", how, "busy" if how == "hub" else "crowd")

    def measure(self, how, seconds):
        self.limit(how)
        others = self.others(LEAD + seconds + 1, how) if how != "alone" else []
        time.sleep(LEAD if others else 0.6)
        r = bench("--hub", "modest", *shape("amqp", "single", 16), "--rate", "200", seconds=seconds,
                  where=("--data", self.server.data))
        for o in others:
            o.result()
        self.unlimit(how)
        return r["latencyMs"]


def latency(rounds):
    beside = Beside()
    ways = ("alone", "paced", "hub", "policy", "namespace")
    names = dict(alone="alone", paced=f"beside the load of {LIMIT} units, nothing limited",
                 hub="others saturate their hub's limit", policy="others saturate their policy's limit",
                 namespace="others saturate the namespace's units")
    seconds = 5.0
    got = {w: [] for w in ways}
    beside.measure("alone", 1.0)
    for i in range(rounds):
        for w in (ways if i % 2 == 0 else ways[::-1]):
            got[w].append(beside.measure(w, seconds))
    beside.server.stop()
    print(f"\nlatency of a modest client (200 events/s, singles, its own hub) beside {sum(n for _, n in OTHERS)} that offer 10 x "
          f"{LIMIT} units; medians of {rounds} runs of {seconds:g} s in turn")
    out = []
    middle = {w: {q: spread([x[q] for x in got[w]])[0] for q in ("p50", "p99")} for w in ways}
    for w in ways:
        p99 = spread([x["p99"] for x in got[w]])
        ratio = {b: middle[w]["p99"] / middle[b]["p99"] for b in ("alone", "paced")}
        judged = w in ("hub", "policy", "namespace")
        said = f"   mark <= {MARK_P99} x alone: {verdict(ratio['alone'] <= MARK_P99)}" if judged else ""
        print(f"  {names[w]:52} p50 {middle[w]['p50']:>6.2f} ms  p99 {p99[0]:>7.2f} ms ({p99[1]:.1f} to {p99[2]:.1f})  "
              f"{ratio['alone']:.2f} x alone, {ratio['paced']:.2f} x paced{said}", flush=True)
        out.append(dict(row="latency", beside=w, runs=got[w], ratio=ratio))
    return out


# ---- all ------------------------------------------------------------------------------------

def rows(only="", seconds=QUICK_SECONDS, rounds=4, base=None, names=()):
    """`only` as in run.py; `names`: rows whose names begin with one of them."""
    def wanted(name):
        return (not only or only in "throttle " + name) and (not names or any(name.startswith(n) for n in names))

    def any_wanted(prefix):
        return wanted(prefix) or any(n.startswith(prefix) for n in names) or only.startswith("throttle " + prefix)

    out = []
    if any_wanted("accuracy"):
        out += accuracy(seconds, wanted)
    for name, make in (("fairness", lambda: fairness(seconds)), ("free", lambda: free_cost(rounds, base)),
                       ("limiting", lambda: limiting_cost(seconds)), ("latency", lambda: latency(rounds))):
        if any_wanted(name):
            out += make()
    missed = sum("MISSED" in r.get("verdict", "") for r in out)
    if missed:
        print(f"\n{missed} rows of accuracy missed their mark")
    return out


def main(argv):
    p = argparse.ArgumentParser(prog="run.sh throttle", description=__doc__)
    p.add_argument("--seconds", type=float, default=QUICK_SECONDS, help="saturation of a row of accuracy (%(default)s)")
    p.add_argument("--rounds", type=int, default=4, help="runs of each kind where kinds take turns (%(default)s)")
    p.add_argument("--base", help="another build of sluice, to compare its throughput with")
    p.add_argument("names", nargs="*", metavar="ROW",
                   help='"accuracy", "accuracy amqp 1000 100B 1" (or the beginning of it), fairness, free, limiting, latency')
    a = p.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and directories go, too
    print(f"throughput units, {CORES} cores; TLS and fsync on")
    results = rows(seconds=a.seconds, rounds=a.rounds, base=a.base, names=a.names)
    with open("build/bench-throttle.json", "w") as f:
        json.dump(results, f, indent=1)
    print("details: build/bench-throttle.json")
