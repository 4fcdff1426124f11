"""What the fault scripts share: a server that can be killed and started again on
the same ports, events that prove themselves, and writers that note what was
acknowledged. A writer never sends an event again, so that each of them is there
once or, when its fate is unknown, perhaps not."""
import atexit
import base64
import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import zlib

from proton import Delivery, Message, SSLDomain
from proton.utils import BlockingConnection


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, binary, work, hub, parts, *flags):
        self.binary, self.work, self.hub, self.parts, self.flags = binary, work, hub, parts, flags
        self.data = work + "/data"
        self.amqps, self.https, self.proc = free_port(), free_port(), None

    def start(self):
        """How long it took until ready, in seconds."""
        began = time.monotonic()
        self.proc = subprocess.Popen(
            [self.binary, "serve", "--data", self.data, "--hub", f"{self.hub}:{self.parts}",
             "--amqps", f"127.0.0.1:{self.amqps}", "--https", f"127.0.0.1:{self.https}",
             "--kafka", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--segment-bytes", "16MiB", *self.flags],
            stdout=subprocess.PIPE, stderr=open(self.work + "/log", "ab"))
        atexit.register(self.proc.kill)
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start: " + open(self.work + "/log").read()[-500:])
        return time.monotonic() - began

    def end(self, sig):
        self.proc.send_signal(sig)
        status = self.proc.wait(30)
        self.proc.stdout.close()
        return status

    def cli(self, *words):
        return subprocess.run([self.binary, *words, "--data", self.data], capture_output=True, timeout=120)

    def said(self, *words):
        done = self.cli(*words)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode()[-400:])
        return done.stdout.decode().strip()

    def learn(self):
        """Once it runs: what clients need."""
        self.ca = self.data + "/tls/ca.pem"
        self.cs = self.said("connection-string")
        self.key = re.search(r"SharedAccessKey=([^;]*)", self.cs).group(1)
        self.token = self.said("token", "--hub", self.hub, "--ttl", "24h")

    def amqp(self):
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(self.ca)
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER)
        return BlockingConnection(f"amqps://localhost:{self.amqps}", user="RootManageSharedAccessKey",
                                  password=self.key, ssl_domain=tls, allowed_mechs="PLAIN", timeout=10)

    def read_all(self):
        """partition -> list of (sequence number, body)."""
        out = self.cli("receive", self.hub, "--from", "earliest", "--json")
        if out.returncode != 0:
            raise RuntimeError(out.stderr.decode()[-400:])
        logs = {p: [] for p in range(self.parts)}
        for line in out.stdout.splitlines():
            e = json.loads(line)
            body = e["body"] if "body" in e else base64.b64decode(e["bodyBase64"]).decode()
            logs[int(e["partition"])].append((int(e["sequenceNumber"]), body))
        return logs


def signal_of(rng):
    """Mostly the hard one."""
    return signal.SIGTERM if rng.random() < 0.25 else signal.SIGKILL


def pad(identity, n):
    """A body that proves itself: identity, filler made from it, checksum."""
    fill = hashlib.sha256(identity.encode()).hexdigest() * (n // 64 + 1)
    text = f"{identity} {fill[:n]}"
    return f"{text} {zlib.crc32(text.encode()):08x}"


def check_body(body):
    text, _, crc = body.rpartition(" ")
    return len(crc) == 8 and f"{zlib.crc32(text.encode()):08x}" == crc


def identity_of(body):
    m = re.match(r"[a-z]\d-\d{7}", body)
    return m.group(0) if m else body[:40]


class Writer(threading.Thread):
    """Keeps what it sent: identity -> [partition, acknowledged, first of its batch or None, batch size]."""

    def __init__(self, name, server, seed, pause=0.0):
        super().__init__(daemon=True)
        self.name, self.server, self.pause = name, server, pause
        self.sent, self.stop, self.n = {}, threading.Event(), 0
        self.rng = random.Random(f"{seed}{name}")

    def identity(self):
        self.n += 1
        return f"{self.name}-{self.n:07d}"

    def run(self):
        while not self.stop.is_set():
            try:
                self.session()
            except Exception:  # a killed server is what this is about
                time.sleep(0.05)


def snapshot(writers):
    """What all writers have sent so far; they go on writing meanwhile."""
    known = {}
    for w in writers:
        while True:
            try:
                known.update({k: list(v) for k, v in w.sent.items()})
                break
            except RuntimeError:  # it grew while it was copied
                continue
    return known


class HttpWriter(Writer):
    def session(self):
        hub, token = self.server.hub, self.server.token
        tls = ssl.create_default_context(cafile=self.server.ca)
        c = http.client.HTTPSConnection("localhost", self.server.https, context=tls, timeout=15)
        while not self.stop.is_set():
            part = self.rng.randrange(self.server.parts)
            ids = [self.identity() for _ in range(self.rng.choice([1, 1, 5, 40]))]
            bodies = [pad(i, self.rng.choice([10, 100, 3000])) for i in ids]
            for i in ids:
                self.sent[i] = [part, False, ids[0] if len(ids) > 1 else None, len(ids)]
            if len(ids) == 1:
                c.request("POST", f"/{hub}/partitions/{part}/messages", bodies[0],
                          {"Authorization": token, "Content-Type": "text/plain"})
            else:
                c.request("POST", f"/{hub}/partitions/{part}/messages",
                          json.dumps([{"Body": b} for b in bodies]),
                          {"Authorization": token, "Content-Type": "application/vnd.microsoft.servicebus.json"})
            r = c.getresponse()
            r.read()
            if r.status == 201:
                for i in ids:
                    self.sent[i][1] = True
            self.stop.wait(self.pause)


class AmqpWriter(Writer):
    def session(self):
        c = self.server.amqp()
        part = self.rng.randrange(self.server.parts)
        link = c.create_sender(f"{self.server.hub}/Partitions/{part}").link
        waiting = []
        while not self.stop.is_set():
            while link.credit > 0 and len(waiting) < 60:
                i = self.identity()
                self.sent[i] = [part, False, None, 1]
                waiting.append((i, link.send(Message(body=pad(i, self.rng.choice([10, 200]))))))
            c.wait(lambda: any(d.remote_state for _, d in waiting), timeout=10)
            rest = []
            for i, d in waiting:
                if d.remote_state == Delivery.ACCEPTED:
                    self.sent[i][1] = True
                if d.remote_state:
                    d.settle()
                else:
                    rest.append((i, d))
            waiting = rest
            self.stop.wait(self.pause)


def check(logs, before, known):
    """Compares what is stored with what was sent; kind of damage -> where.

    lost        an acknowledged event is missing
    duplicated  an event is there twice
    invented    an event nobody sent, or with other bytes
    reordered   of one writer and partition, out of its order
    torn        a part of a batch
    renumbered  a sequence number now names another event than before, or a gap
    """
    p = {k: [] for k in ("lost", "duplicated", "invented", "reordered", "torn", "renumbered")}
    where = {}
    for part, log in logs.items():
        last = {}
        for at, (seq, body) in enumerate(log):
            if seq != at:
                p["renumbered"].append(("gap", part, at, seq))
            ident = identity_of(body)
            if ident not in known or not check_body(body) or known[ident][0] != part:
                p["invented"].append((part, seq, ident))
            if ident in where:
                p["duplicated"].append(ident)
            where[ident] = (part, seq)
            writer = ident.split("-")[0]
            if last.get(writer, "") >= ident:
                p["reordered"].append((part, seq, ident))
            last[writer] = ident
        for (seq, body), (seq2, body2) in zip(before.get(part, []), log):
            if (seq, body) != (seq2, body2):
                p["renumbered"].append(("changed", part, seq))
                break
        if len(log) < len(before.get(part, [])):
            p["lost"].append(("shorter", part))
    return p, where


def lost(acked, where):
    return [i for i in acked if i not in where]


def torn(known, where):
    found = []
    for ident, (_, _, batch, n) in known.items():
        if batch == ident and n > 1:
            w, num = ident.split("-")
            there = [f"{w}-{int(num) + k:07d}" in where for k in range(n)]
            if any(there) and not all(there):
                found.append(ident)
    return found


class Verdicts:
    def __init__(self, seed):
        self.seed, self.failed = seed, False

    def say(self, name, problems):
        if problems:
            self.failed = True
            print(f"not ok {name} {len(problems)}: {problems[:3]} seed={self.seed}", flush=True)
        else:
            print(f"ok {name}", flush=True)


def seed_of_run():
    seed = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 30)))
    print(f"seed={seed}", flush=True)
    return seed
