"""Writers over HTTPS and AMQP, a server that is killed, and a checker.

Every event has an identity and is sent exactly once, never again. A writer
notes it as acknowledged (201, accepted) or unknown. After each kill and at the
end all partitions are read and compared:
  lost        an acknowledged event is missing
  duplicated  an event is there twice
  invented    an event nobody sent, or with other bytes
  reordered   of one writer and partition, out of its order
  torn        a part of a batch
  renumbered  a sequence number now names another event than before, or a gap
"""
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
import sys
import threading
import time
import zlib

from proton import Delivery, Message, SSLDomain
from proton.utils import BlockingConnection

BIN, WORK, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
SEED = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 30)))
print(f"seed={SEED}", flush=True)
rng = random.Random(SEED)
DATA = WORK + "/data"
PARTS = 3
HUB = "kill"
failed = False


def verdict(name, problems):
    global failed
    if problems:
        failed = True
        print(f"not ok {name} {len(problems)}: {problems[:3]} seed={SEED}", flush=True)
    else:
        print(f"ok {name}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self):
        self.amqps, self.https, self.proc = free_port(), free_port(), None

    def start(self):
        began = time.monotonic()
        self.proc = subprocess.Popen(
            [BIN, "serve", "--data", DATA, "--hub", f"{HUB}:{PARTS}", "--amqps", f"127.0.0.1:{self.amqps}",
             "--https", f"127.0.0.1:{self.https}", "--metrics", "127.0.0.1:0", "--segment-bytes", "16MiB"],
            stdout=subprocess.PIPE, stderr=open(WORK + "/log", "ab"))
        atexit.register(self.proc.kill)
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start: " + open(WORK + "/log").read()[-500:])
        return time.monotonic() - began

    def end(self, sig):
        self.proc.send_signal(sig)
        status = self.proc.wait(30)
        self.proc.stdout.close()
        return status


def pad(identity, n):
    """A body that proves itself: identity, filler made from it, checksum."""
    fill = hashlib.sha256(identity.encode()).hexdigest() * (n // 64 + 1)
    text = f"{identity} {fill[:n]}"
    return f"{text} {zlib.crc32(text.encode()):08x}"


def check_body(body):
    text, _, crc = body.rpartition(" ")
    return len(crc) == 8 and f"{zlib.crc32(text.encode()):08x}" == crc


class Writer(threading.Thread):
    """Keeps what it sent: identity -> (partition, state, batch)."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name, self.sent, self.stop, self.n = name, {}, threading.Event(), 0
        self.rng = random.Random(f"{SEED}{name}")

    def identity(self):
        self.n += 1
        return f"{self.name}-{self.n:07d}"

    def run(self):
        while not self.stop.is_set():
            try:
                self.session()
            except Exception:  # a killed server is what this is about
                time.sleep(0.05)


def snapshot():
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
        tls = ssl.create_default_context(cafile=DATA + "/tls/ca.pem")
        c = http.client.HTTPSConnection("localhost", server.https, context=tls, timeout=15)
        while not self.stop.is_set():
            part = self.rng.randrange(PARTS)
            ids = [self.identity() for _ in range(self.rng.choice([1, 1, 5, 40]))]
            bodies = [pad(i, self.rng.choice([10, 100, 3000])) for i in ids]
            for i in ids:
                self.sent[i] = [part, False, ids[0] if len(ids) > 1 else None, len(ids)]
            if len(ids) == 1:
                c.request("POST", f"/{HUB}/partitions/{part}/messages", bodies[0],
                          {"Authorization": TOKEN, "Content-Type": "text/plain"})
            else:
                c.request("POST", f"/{HUB}/partitions/{part}/messages",
                          json.dumps([{"Body": b} for b in bodies]),
                          {"Authorization": TOKEN, "Content-Type": "application/vnd.microsoft.servicebus.json"})
            r = c.getresponse()
            r.read()
            if r.status == 201:
                for i in ids:
                    self.sent[i][1] = True


class AmqpWriter(Writer):
    def session(self):
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(DATA + "/tls/ca.pem")
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER)
        c = BlockingConnection(f"amqps://localhost:{server.amqps}", user="RootManageSharedAccessKey", password=KEY,
                               ssl_domain=tls, allowed_mechs="PLAIN", timeout=10)
        part = self.rng.randrange(PARTS)
        link = c.create_sender(f"{HUB}/Partitions/{part}").link
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


def read_all():
    """partition -> list of (sequence number, body)."""
    out = subprocess.run([BIN, "receive", HUB, "--from", "earliest", "--json", "--data", DATA],
                         capture_output=True, timeout=120)
    if out.returncode != 0:
        raise RuntimeError(out.stderr.decode()[-400:])
    logs = {p: [] for p in range(PARTS)}
    for line in out.stdout.splitlines():
        e = json.loads(line)
        body = e["body"] if "body" in e else base64.b64decode(e["bodyBase64"]).decode()
        logs[int(e["partition"])].append((int(e["sequenceNumber"]), body))
    return logs


def check(logs, before, acked, known):
    p = {k: [] for k in ("lost", "duplicated", "invented", "reordered", "torn", "renumbered")}
    where = {}
    for part, log in logs.items():
        last = {}
        for at, (seq, body) in enumerate(log):
            if seq != at:
                p["renumbered"].append(("gap", part, at, seq))
            m = re.match(r"[a-z0-9]+-\d{7}", body)
            ident = m.group(0) if m else body[:40]
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
    p["lost"] += [i for i in acked if i not in where]
    for ident, (part, _, batch, n) in known.items():
        if batch == ident and n > 1:
            w, num = ident.split("-")
            there = [f"{w}-{int(num) + k:07d}" in where for k in range(n)]
            if any(there) and not all(there):
                p["torn"].append(ident)
    return p


server = Server()
server.start()
CS = subprocess.run([BIN, "connection-string", "--data", DATA], capture_output=True, text=True, check=True).stdout.strip()
KEY = re.search(r"SharedAccessKey=([^;]*)", CS).group(1)
TOKEN = subprocess.run([BIN, "token", "--hub", HUB, "--ttl", "24h", "--data", DATA], capture_output=True, text=True,
                       check=True).stdout.strip()

writers = [HttpWriter(f"h{i}") for i in range(3)] + [AmqpWriter(f"a{i}") for i in range(2)]
for w in writers:
    w.start()
before, slowest = {}, 0.0
for r in range(ROUNDS):
    time.sleep(rng.uniform(0.4, 1.8))
    sig = signal.SIGTERM if rng.random() < 0.25 else signal.SIGKILL
    status = server.end(sig)
    if sig == signal.SIGTERM and status != 0:
        verdict("SIGTERM ends with status 0", [status])
    known = snapshot()
    acked = [k for k, v in known.items() if v[1]]
    slowest = max(slowest, server.start())
    logs = read_all()
    # Writers go on meanwhile: what they sent since is known too.
    known = snapshot() | known
    problems = check(logs, before, acked, known)
    for kind in ("torn",):
        # A batch being written while it was read is judged at the end.
        problems[kind] = [] if r < ROUNDS - 1 else problems[kind]
    before = logs
    total = sum(len(v) for v in logs.values())
    name = "kill -9" if sig == signal.SIGKILL else "SIGTERM"
    verdict(f"round {r + 1}: {name}, {total} events, {len(acked)} acknowledged",
            [(k, v[:2]) for k, v in problems.items() if v])
for w in writers:
    w.stop.set()
for w in writers:
    w.join(20)
known = {k: v for w in writers for k, v in w.sent.items()}
acked = [k for k, v in known.items() if v[1]]
logs = read_all()
for kind, found in check(logs, before, acked, known).items():
    verdict(f"nothing {kind} among {sum(len(v) for v in logs.values())} events", found)
verdict("every writer got through", [w.name for w in writers if not any(v[1] for v in w.sent.values())])
verdict("ready within 5 s after each kill", [slowest] if slowest > 5 else [])
status = server.end(signal.SIGTERM)
verdict("SIGTERM ends with status 0", [status] if status else [])
print(f"{len(acked)} acknowledged, slowest start {slowest:.2f} s", flush=True)
sys.stdout.flush()
os._exit(1 if failed else 0)
