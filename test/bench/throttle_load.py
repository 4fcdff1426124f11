"""What the rows of throttle_rows.py share: servers with throughput units, many load
generators at once, what the server counted, simple statistics."""
import json
import os
import re
import statistics
import subprocess
import time
import urllib.request

from measure import BIN, Server, work

MB = 1 << 20
UNIT_EVENTS = 1000
CORES = os.cpu_count()
DRAIN = 150  # seconds in which a load generator ends after its time
# One connection after the other from one address, none of which has shown a token yet.
FLAGS = ("--max-unauthenticated-per-address", "2000", "--management-rate", "0")


class ThrottleServer(Server):
    """A daemon with a data directory of its own and a hub "bench" of four partitions."""
    made = 0

    def __init__(self, units, *flags, binary=BIN):
        ThrottleServer.made += 1
        self.count = units
        has_units = () if units is None else ("--throughput-units", str(units), *FLAGS)
        super().__init__("--hub", "bench:4", *has_units, *flags, at=f"{work}/throttle{ThrottleServer.made}", binary=binary)

    def units(self, n):
        if n != self.count:
            self.cli("units", "set", str(n))
            self.count = n
            time.sleep(0.5)  # twice as long as new limits take

    def cli(self, *args):
        done = subprocess.run([BIN, *args, "--data", self.data], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(args)}: {done.stderr[-300:]}")
        return done.stdout.strip()

    def admitted(self, scope="namespace", name=""):
        """What a scope let in so far, by the names of its metrics, and when that was."""
        before = time.monotonic()
        text = urllib.request.urlopen(f"http://{self.ready['metrics']}/metrics", timeout=60).read().decode()
        found = {m.group(1): float(m.group(2)) for m in re.finditer(
            rf'^sluice_throttle_(\w+)\{{scope="{scope}",name="{name}",direction="in"\}} (\S+)$', text, re.M)}
        return dict(at=(before + time.monotonic()) / 2, cpu=self.cpu(), bytes=found["admitted_bytes_total"],
                    events=found["admitted_events_total"], requests=found["admitted_requests_total"],
                    held=found["held_requests_total"], refused=found["refused_requests_total"])

    def stop(self):
        super().stop()
        subprocess.run(["rm", "-rf", self.data], check=False)


class Load:
    """`sluice bench` beside everything else; it goes on whatever it is told."""

    def __init__(self, server, protocol, seconds, *args, hub="bench", where=None):
        self.server = server
        self.p = subprocess.Popen(
            [BIN, "bench", *(where or ("--data", server.data)), "--hub", hub, "--json", "--protocol", protocol,
             "--duration", f"{int(seconds * 1000)}ms", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.seconds = seconds

    def result(self):
        try:
            out, err = self.p.communicate(timeout=self.seconds + DRAIN)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.communicate()
            return dict(events=0, eventsLate=0, errors=0, eventsPerSecond=0, why="the load generator did not end")
        if not out.startswith("{"):
            return dict(events=0, eventsLate=0, errors=0, eventsPerSecond=0, why=err.strip()[-200:] or "no result")
        return dict(json.loads(out), why=err.strip()[-200:])

    def wait_started(self, seen, most=120):
        """Until the server admitted something beyond `seen`; returns a time before that."""
        earlier = time.monotonic()
        until = earlier + most
        while True:
            now = time.monotonic()
            if self.server.admitted()["events"] > seen["events"] or now > until or self.p.poll() is not None:
                return earlier
            earlier = now
            time.sleep(0.02)


def shape(protocol, mode, in_flight=None, size=100):
    """Arguments of a load generator: `mode` "single" or the events of a batch."""
    how = ["--mode", "single"] if mode == "single" else ["--batch", str(mode)]
    if in_flight is not None and protocol != "https":
        how += ["--in-flight", str(in_flight)]
    return [*how, "--size", str(size)]


def jain(shares):
    return sum(shares) ** 2 / max(len(shares) * sum(x * x for x in shares), 1e-12)


def spread(values):
    """Median, least, most, standard error of the mean."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.median(values), min(values), max(values), error


def verdict(met, why=""):
    return "met" if met else f"MISSED {why}".rstrip()
