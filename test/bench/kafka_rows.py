"""The Kafka rows of run.py: the daemon under `sluice bench --protocol kafka`, beside
the raw loop, and beside a real Apache Kafka of the same run under the same load
generator. Then how far each mark is met or missed."""
import os
import re
import subprocess

import kafka_broker
from measure import BIN, SECONDS, bench, connection_string, cpu_of, data, measured, raw, work

SIZES = (100, 1024, 10240)
PARTITIONS = (1, 16)
KAFKA = ["--protocol", "kafka"]
# What the broker's SASL port and the load generator agree on.
OTHER_KEY = "Endpoint=sb://127.0.0.1/;SharedAccessKeyName=bench;SharedAccessKey=a2V5"
MARK_RAW, MARK_DEFAULT, MARK_FLUSH, MARK_FETCH, MARK_P99 = 0.6, 1.0, 5.0, 1.0, 4.0
SATURATED = 0.95  # of a core
FILL_SECONDS = min(3.0, SECONDS)
FILL_RATE = 100000  # events of 1 KiB a second: fits any page cache

PLAIN_MODULE = "org.apache.kafka.common.security.plain.PlainLoginModule"


def batch(size):
    return ["--size", str(size), "--connections", "2", "--batch", str(max(1, min(500, 600000 // (size + 40))))]


class Us:
    """The daemon: fsync always on."""

    def __init__(self, server):
        self.server = server
        cs = connection_string().rstrip(";")
        self.where = {"TLS+SASL": ["--data", data],
                      "SASL": ["--connection-string", cs + ";UseDevelopmentEmulator=true",
                               "--kafka", server.ready["kafka_plain"]]}

    def create(self, hub, partitions):
        subprocess.run([BIN, "hub", "create", hub, "--partitions", str(partitions), "--data", data], check=True,
                       capture_output=True)

    def measured(self, how, hub, args, seconds=SECONDS):
        return measured(self.server, [*KAFKA, "--hub", hub, *args], seconds=seconds, where=self.where[how])


class Them:
    """Apache Kafka, the same interface."""

    def __init__(self, broker, ca):
        self.broker = broker
        self.where = {"plaintext": ["--kafka", f"127.0.0.1:{broker.plain}", "--plaintext"],
                      "TLS+SASL": ["--kafka", f"127.0.0.1:{broker.tls}", "--ca", ca, "--connection-string", OTHER_KEY]}

    def measured(self, how, topic, args, seconds=SECONDS):
        before = cpu_of(self.broker.p.pid)
        r = bench(*KAFKA, "--hub", topic, *args, seconds=seconds, where=self.where[how])
        r["serverCpu"] = cpu_of(self.broker.p.pid) - before
        return r


def start_broker(ca):
    why = kafka_broker.missing()
    if why is not None:
        return None, why
    try:
        broker = kafka_broker.Broker(work, (data + "/tls/cert.pem", data + "/tls/key.pem"), OTHER_KEY)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as e:
        return None, f"Apache Kafka does not start: {e}"
    them = Them(broker, ca)
    # The compiler of the virtual machine has seen the paths that are measured.
    broker.create("warm", 16)
    broker.create("warm-flush", 1, flush=True)
    for how in them.where:
        them.measured(how, "warm", batch(1024), seconds=max(1.0, SECONDS / 2))
    them.measured("plaintext", "warm-flush", batch(1024), seconds=max(1.0, SECONDS / 2))
    for how in them.where:
        them.measured(how, "warm", ["--mode", "read", "--connections", "2"], seconds=max(1.0, SECONDS / 2))
    for topic in ("warm", "warm-flush"):
        broker.delete(topic)
    return them, None


# ---- what is printed ---------------------------------------------------------------

def cores(r):
    return r["serverCpu"] / r["seconds"]


def per_cpu(r):
    return r["events"] / max(r["serverCpu"], 0.01)


def row_text(name, r):
    return (f"  {name:38}{r['eventsPerSecond']:>11.0f}{r['mbPerSecond']:>8.1f}{r['latencyMs']['p50']:>9.2f}"
            f"{r['latencyMs']['p99']:>9.2f}{cores(r):>7.2f}{per_cpu(r):>12.0f}")


HEAD = f"  {'':38}{'events/s':>11}{'MB/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'cores':>7}{'/CPU s':>12}"


class Marks:
    def __init__(self):
        self.lines = []
        self.missed = 0

    def add(self, what, value, mark, unit, least=True, excuse=None):
        """`excuse`: another way in which the mark is met."""
        met = value >= mark if least else value <= mark
        by = value / mark if least else mark / max(value, 1e-9)
        verdict = f"met {by:.2f}-fold" if met else f"met: {excuse}" if excuse else f"MISSED: {by:.0%} of the mark"
        self.missed += not (met or excuse)
        self.lines.append(f"  {what:58}{value:>9.2f} {unit:6} mark {'>=' if least else '<='} {mark:<6g} {verdict}")

    def print(self):
        print("\nmarks of the Kafka rows")
        print("\n".join(self.lines))
        print(f"  {len(self.lines) - self.missed} of {len(self.lines)} marks met")


# ---- rows --------------------------------------------------------------------------

def produce(us, them, marks, size, partitions):
    hub = f"kafka{partitions}"
    name = f"{size} B x {partitions}"
    args = batch(size)
    r = us.measured("TLS+SASL", hub, args)
    floor = raw(r["group"])
    half = us.measured("TLS+SASL", hub, [*args, "--rate", str(max(1, int(r["eventsPerSecond"] / 2)))])
    paced = raw(half["group"], rate=max(0.05, r["mbPerSecond"] / 2))
    plain = us.measured("SASL", hub, args)
    of_raw = r["mbPerSecond"] / floor["mbPerSecond"]
    ratio = half["latencyMs"]["p99"] / max(paced["p99Ms"], 0.001)
    out = dict(name="Kafka produce", size=size, partitions=partitions, bench=r, raw=floor, half=half, rawHalf=paced,
               plain=plain, ofRaw=of_raw, p99Ratio=ratio)
    print(f"\nproduce {name}, {r['batch']} events a batch, 2 connections x 16 in flight\n{HEAD}")
    print(row_text("sluice, TLS+SASL, fsync", r))
    print(f"  {'raw LMDB commits of ' + format(r['group'] / 1024, '.0f') + ' KiB':38}{'':>11}{floor['mbPerSecond']:>8.1f}"
          f"{floor['p50Ms']:>9.2f}{floor['p99Ms']:>9.2f}   sluice: {of_raw:.0%} of it")
    print(row_text("sluice at half the rate", half))
    print(f"  {'raw at the same MB/s, ' + format(half['group'] / 1024, '.0f') + ' KiB':38}{'':>11}"
          f"{paced['mbPerSecond']:>8.1f}{paced['p50Ms']:>9.2f}{paced['p99Ms']:>9.2f}   p99 sluice/raw: {ratio:.1f}")
    print(row_text("sluice, SASL without TLS, fsync", plain), flush=True)
    marks.add(f"produce {name}: of raw", 100 * of_raw, 100 * MARK_RAW, "%",
              excuse=f"{cores(r):.2f} cores are busy" if cores(r) >= SATURATED else None)
    marks.add(f"p99 {name} at half the rate: to raw", ratio, MARK_P99, "x", least=False)
    if them is None:
        return out
    topic, flushed = f"k{size}-{partitions}", f"f{size}-{partitions}"
    them.broker.create(topic, partitions)
    them.broker.create(flushed, partitions, flush=True)
    for key, how, what, at in (("kafka", "plaintext", "Kafka, plaintext, default durability", topic),
                               ("kafkaFlush", "plaintext", "Kafka, plaintext, flush.messages=1", flushed),
                               ("kafkaTls", "TLS+SASL", "Kafka, TLS+SASL, default durability", topic)):
        k = out[key] = them.measured(how, at, args)
        ours, same = (r, "TLS+SASL") if key == "kafkaTls" else (plain, "no TLS")
        print(row_text(what, k) + f"   sluice/Kafka per CPU s: {per_cpu(ours) / per_cpu(k):.2f} ({same} both),"
              f" rate {ours['eventsPerSecond'] / max(k['eventsPerSecond'], 1):.2f}", flush=True)
    for at in (topic, flushed):
        them.broker.delete(at)
    marks.add(f"produce {name}: per CPU s to Kafka default, no TLS", per_cpu(plain) / per_cpu(out["kafka"]),
              MARK_DEFAULT, "x")
    marks.add(f"produce {name}: per CPU s to Kafka default, TLS+SASL", per_cpu(r) / per_cpu(out["kafkaTls"]),
              MARK_DEFAULT, "x")
    marks.add(f"produce {name}: per CPU s to Kafka flush=1, no TLS", per_cpu(plain) / per_cpu(out["kafkaFlush"]),
              MARK_FLUSH, "x")
    return out


def fetch(us, them, marks):
    """Readers of what was just written, which is in memory: 1 GB = 1024 MB."""
    results = []
    sides = [("sluice, TLS+SASL", us, "TLS+SASL", True), ("sluice, SASL without TLS", us, "SASL", False)]
    if them is not None:
        them.broker.create("kafka-read", 2)
        sides += [("Kafka, TLS+SASL", them, "TLS+SASL", False), ("Kafka, plaintext", them, "plaintext", False)]
    print(f"\nfetch of cached events of 1 KiB, 2 connections, 8 MiB a fetch, 1 GB = 1024 MB\n{HEAD}")
    for who in (us, them):
        if who is not None:
            who.measured(next(iter(who.where)), "kafka-read", [*batch(1024), "--rate", str(FILL_RATE)],
                         seconds=FILL_SECONDS)
    for name, who, how, is_judged in sides:
        r = who.measured(how, "kafka-read", ["--mode", "read", "--connections", "2"])
        per_core = r["mbPerSecond"] / 1024 * r["seconds"] / max(r["serverCpu"], 0.01)
        print(row_text(name, r) + f"   {per_core:.2f} GB/s per core", flush=True)
        if is_judged:
            marks.add("fetch of cached data over TLS: GB/s per core", per_core, MARK_FETCH, "GB/s")
        results.append(dict(name="Kafka fetch", side=name, bench=r, gbPerCore=per_core))
    if them is not None:
        them.broker.delete("kafka-read")
    return results


def perf_tool(us, them):
    """Kafka's own kafka-producer-perf-test, with its defaults and acks=all."""
    count = max(20000, int(SECONDS * 60000))
    password = connection_string()
    config = work + "/perf.properties"
    with open(config, "w") as f:
        f.write(f"security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={data}/tls/ca.pem\n"
                "sasl.mechanism=PLAIN\n"
                f"sasl.jaas.config={PLAIN_MODULE} required username=\"$ConnectionString\" password=\"{password}\";\n")
    os.chmod(config, 0o600)
    print("\norg.apache.kafka.tools.ProducerPerformance (Kafka's Java client, unmodified), "
          f"{count} events of 1 KiB, its defaults, acks=all", flush=True)
    them.broker.create("perf", 4)
    results = []
    for name, topic, address, extra, pid in (
            ("sluice, TLS+SASL, fsync", "bench", us.server.ready["kafka"], ["--producer.config", config],
             us.server.p.pid),
            ("Kafka, plaintext, default durability", "perf", f"127.0.0.1:{them.broker.plain}", [], them.broker.p.pid)):
        before = cpu_of(pid)
        out = subprocess.run(
            kafka_broker.java(them.broker.work, "org.apache.kafka.tools.ProducerPerformance", "--topic", topic,
                              "--num-records", str(count), "--record-size", "1024", "--throughput", "-1",
                              "--producer-props", f"bootstrap.servers={address}", "acks=all", *extra, heap="512M"),
            capture_output=True, text=True, timeout=300)
        cpu = cpu_of(pid) - before
        last = re.findall(r"records sent, ([\d.]+) records/sec.*?([\d.]+) ms 99th", out.stdout)
        if out.returncode != 0 or not last:
            print(f"  {name:38} failed: {(out.stderr or out.stdout)[-300:]}")
            continue
        rate, p99 = float(last[-1][0]), float(last[-1][1])
        results.append(dict(name="Kafka perf tool", side=name, eventsPerSecond=rate, p99Ms=p99, serverCpu=cpu))
        print(f"  {name:38}{rate:>11.0f}{rate / 1024:>8.1f}{'':>9}{p99:>9.2f}{'':>7}{count / max(cpu, 0.01):>12.0f}",
              flush=True)
    them.broker.delete("perf")
    return results


def run(server, only):
    wanted = [(s, p) for s in SIZES for p in PARTITIONS if not only or only in f"Kafka produce {s} x {p}"]
    wants_fetch = not only or only in "Kafka fetch"
    wants_tool = not only or only in "Kafka perf tool"
    if not (wanted or wants_fetch or wants_tool):
        return []
    us, marks, results = Us(server), Marks(), []
    for hub, n in (*((f"kafka{n}", n) for n in PARTITIONS), ("kafka-read", 2)):
        us.create(hub, n)
    them, why = start_broker(server.ready["ca"])
    print("\nKafka protocol; /CPU s is events by CPU second of the server process; rows of Apache Kafka "
          f"{kafka_broker.VERSION}:", f"left out, {why}" if them is None else "one node, from its published jars")
    try:
        for size, partitions in wanted:
            results.append(produce(us, them, marks, size, partitions))
        if wants_fetch:
            results += fetch(us, them, marks)
        if wants_tool and them is None:
            print("\nKafka's own performance tool: left out,", why)
        elif wants_tool:
            results += perf_tool(us, them)
    finally:
        if them is not None:
            them.broker.stop()
    if marks.lines:
        marks.print()
    return results
