"""Writes to a server whose file operations are recorded, by all protocols, and keeps
a journal of what was acknowledged when: the length of the operation log before a
request was sent and after its answer was read (oracle.h has the format).

workload.py SLUICE PRELOAD WORK-DIRECTORY SECONDS SEED

Leaves WORK-DIRECTORY/oplog, journal, dirs (the data directories' names), and of backups
that were made under load and a restore their logs (back_up_and_restore). A third
of the way the server ends as by kill -9, at two thirds by SIGTERM, at the end as by
kill -9 again.
"""
import http.client
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from proton import Delivery, Message, SSLDomain
from proton.utils import BlockingConnection

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from load import free_port  # noqa: E402

BIN, PRELOAD, WORK, SECONDS, SEED = sys.argv[1], sys.argv[2], os.path.realpath(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
SYNC_US = os.environ.get("POWER_SYNC_US", "2500")
CONTROL_RUN, CONTROL_DIE = 0, 1
ROOT, LOG, CONTROL = WORK + "/root", WORK + "/oplog", WORK + "/control"
rng = random.Random(SEED)
stop = threading.Event()
journal_lock = threading.Lock()
lines = []
problems = []
HELP = subprocess.run([BIN, "serve", "--help"], capture_output=True, text=True).stdout
HELP_ALL = subprocess.run([BIN, "--help"], capture_output=True, text=True).stdout
HELP_HUB = subprocess.run([BIN, "hub", "create", "--help"], capture_output=True, text=True).stdout


def mark():
    return os.path.getsize(LOG)


def note(*words):
    with journal_lock:
        lines.append(" ".join(str(w) for w in words))


class Server:
    def __init__(self):
        self.data = ROOT + "/data"
        self.dirs = ["data"]
        self.amqps, self.https, self.kafka = free_port(), free_port(), free_port()
        self.proc = None

    def flags(self):
        wanted = [("--segment-bytes", "1MiB"), ("--shards", "4"), ("--retention-check", "200ms"),
                  ("--tombstone-retention", "1s"), ("--export-interval", "1s")]
        out = []
        for flag, value in wanted:
            if flag + " " in HELP:
                out += [flag, value]
        # Every other record is of two directories.
        if "further ones" in HELP and SEED % 2 == 1:
            self.dirs = ["data", "data1"]
            out += ["--data", ROOT + "/data1"]
        return out

    def start(self):
        with open(CONTROL, "wb") as f:
            f.write(CONTROL_RUN.to_bytes(4, "little"))
        env = dict(os.environ, LD_PRELOAD=PRELOAD, POWER_ROOT=ROOT, POWER_LOG=LOG, POWER_CONTROL=CONTROL,
                   POWER_SYNC_US=SYNC_US)
        self.proc = subprocess.Popen(
            [BIN, "serve", "--data", self.data, "--amqps", f"127.0.0.1:{self.amqps}",
             "--https", f"127.0.0.1:{self.https}", "--kafka", f"127.0.0.1:{self.kafka}",
             "--metrics", "127.0.0.1:0", *self.flags()],
            stdout=subprocess.PIPE, stderr=open(WORK + "/log", "ab"), env=env)
        if not self.proc.stdout.readline():
            raise RuntimeError("the server did not start: " + open(WORK + "/log").read()[-800:])

    def end(self, kill):
        if kill:
            fd = os.open(CONTROL, os.O_WRONLY)
            os.pwrite(fd, CONTROL_DIE.to_bytes(4, "little"), 0)
            os.close(fd)
            try:
                self.proc.wait(3)
            except subprocess.TimeoutExpired:  # it writes nothing, so nothing is under way
                self.proc.kill()
        else:
            self.proc.send_signal(signal.SIGTERM)
        status = self.proc.wait(30)
        self.proc.stdout.close()
        if not kill and status != 0:
            problems.append(f"SIGTERM ended with status {status}")

    def cli(self, *words):
        done = subprocess.run([BIN, *words, "--data", self.data], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(" ".join(words) + ": " + done.stderr[-300:])
        return done.stdout.strip()

    def learn(self):
        self.ca = self.data + "/tls/ca.pem"
        self.cs = self.cli("connection-string")
        self.key = re.search(r"SharedAccessKey=([^;]*)", self.cs).group(1)
        self.token = self.cli("token", "--ttl", "24h")

    def kafka_options(self, **more):
        o = {"bootstrap.servers": f"localhost:{self.kafka}", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
             "sasl.username": "$ConnectionString", "sasl.password": self.cs, "ssl.ca.location": self.ca,
             "broker.address.family": "v4", "log_level": 0, "reconnect.backoff.ms": 50,
             "reconnect.backoff.max.ms": 200}
        o.update({k.replace("_", "."): v for k, v in more.items()})
        return o


def body_of(ident, size):
    return f"EV{ident:08d} " + (f"x{ident}" * (size // 7 + 1))[:size]


class Writer(threading.Thread):
    def __init__(self, number, hub, parts):
        super().__init__(daemon=True)
        self.number, self.hub, self.parts, self.n = number, hub, parts, 0
        self.rng = random.Random(f"{SEED}/{number}")
        self.acked = 0

    def ident(self):
        self.n += 1
        return self.number * 1000000 + self.n

    def run(self):
        while not stop.is_set():
            try:
                self.session()
            except Exception:  # a server that is away
                time.sleep(0.1)


class HttpWriter(Writer):
    def session(self):
        tls = ssl.create_default_context(cafile=server.ca)
        c = http.client.HTTPSConnection("localhost", server.https, context=tls, timeout=15)
        while not stop.is_set():
            part = self.rng.randrange(self.parts)
            events = [(i, body_of(i, self.rng.choice([10, 300, 800])))
                      for i in (self.ident() for _ in range(self.rng.choice([1, 1, 6])))]
            begun, acked = mark(), 0
            try:
                c.request("POST", f"/{self.hub}/partitions/{part}/messages", json.dumps([{"Body": b} for _, b in events]),
                          {"Authorization": server.token, "Content-Type": "application/vnd.microsoft.servicebus.json"})
                r = c.getresponse()
                r.read()
                if r.status == 201:
                    acked = mark()
                    self.acked += 1
                elif r.status not in (404, 503):
                    problems.append(f"HTTPS {r.status}")
            finally:
                for i, b in events:
                    note("event", i, self.hub, part, -1, len(b), "-", begun, acked)
            stop.wait(self.rng.choice([0, 0.01, 0.05]))


class AmqpWriter(Writer):
    def session(self):
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(server.ca)
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER)
        c = BlockingConnection(f"amqps://localhost:{server.amqps}", user="RootManageSharedAccessKey",
                               password=server.key, ssl_domain=tls, allowed_mechs="PLAIN", timeout=10)
        part = self.rng.randrange(self.parts)
        link = c.create_sender(f"{self.hub}/Partitions/{part}").link
        waiting = []
        try:
            while not stop.is_set():
                while link.credit > 0 and len(waiting) < 20:
                    i = self.ident()
                    body = body_of(i, self.rng.choice([10, 500]))
                    begun = mark()
                    waiting.append((i, len(body), begun, link.send(Message(body=body.encode()))))
                c.wait(lambda: any(d.remote_state for *_, d in waiting), timeout=10)
                now = mark()
                rest = []
                for i, n, begun, d in waiting:
                    if d.remote_state:
                        good = d.remote_state == Delivery.ACCEPTED
                        note("event", i, self.hub, part, -1, n, "-", begun, now if good else 0)
                        self.acked += good
                        d.settle()
                    else:
                        rest.append((i, n, begun, d))
                waiting = rest
                stop.wait(0.02)
        finally:
            for i, n, begun, _ in waiting:
                note("event", i, self.hub, part, -1, n, "-", begun, 0)


class KafkaWriter(Writer):
    """One idempotent producer for the whole run. With keys: few, some of them deleted."""

    def __init__(self, number, hub, parts, sizes=(20, 100, 400), keys=0, pause=0.006):
        super().__init__(number, hub, parts)
        self.sizes, self.keys, self.pause = sizes, keys, pause
        self.pending = {}
        self.ends = [0] * parts

    def session(self):
        def report(ident, error, message):
            part, n, key, begun = self.pending.pop(ident)
            if error:
                note("event", ident, self.hub, part, -1, n, key, begun, 0)
            else:
                note("event", ident, self.hub, part, message.offset(), n, key, begun, mark())
                self.acked += 1
                self.ends[part] = max(self.ends[part], message.offset() + 1)

        p = Producer(server.kafka_options(enable_idempotence=True, linger_ms=4, message_timeout_ms=240000,
                                          retry_backoff_ms=50, batch_num_messages=30))
        while not stop.is_set():
            if len(p) < 100:
                ident, part = self.ident(), self.rng.randrange(self.parts)
                is_gone = self.keys > 0 and self.rng.random() < 0.1
                key = "k%d" % self.rng.randrange(self.keys) if self.keys else "-"
                body = None if is_gone else body_of(ident, self.rng.choice(self.sizes))
                self.pending[ident] = (part, -1 if body is None else len(body), key, mark())
                p.produce(self.hub, body, key=key if self.keys else None, partition=part,
                          headers=[("id", f"EV{ident:08d} ")] if body is None else None,
                          on_delivery=lambda e, m, i=ident: report(i, e, m))
            p.poll(self.pause)
        p.flush(20)
        for ident, (part, n, key, begun) in list(self.pending.items()):
            note("event", ident, self.hub, part, -1, n, key, begun, 0)
        self.pending.clear()


class Committer(threading.Thread):
    """Commits rising offsets of a hub for a group."""

    def __init__(self, group, hub, parts):
        super().__init__(daemon=True)
        self.group, self.hub, self.parts, self.done = group, hub, parts, 0

    def run(self):
        c = Consumer(server.kafka_options(group_id=self.group, enable_auto_commit=False))
        at = 0
        while not stop.is_set():
            at += 1
            part = at % self.parts
            begun, acked = mark(), 0
            try:
                answers = c.commit(offsets=[TopicPartition(self.hub, part, at)], asynchronous=False)
                if all(a.error is None for a in answers):
                    acked = mark()
                    self.done += 1
            except Exception:  # a server that is away
                stop.wait(0.1)
            note("commit", self.group, self.hub, part, at, begun, acked)
            stop.wait(0.08)
        c.close()


class Trimmer(threading.Thread):
    """Cuts the log of partition 0 of a hub by Kafka's DeleteRecords, which the clients
    at hand do not know, so by bytes."""

    def __init__(self, hub, writer):
        super().__init__(daemon=True)
        self.hub, self.writer, self.done = hub, writer, 0

    @staticmethod
    def ask(s, api, version, body):
        client = b"trim"
        frame = struct.pack(">hhih", api, version, 7, len(client)) + client + body
        s.sendall(struct.pack(">i", len(frame)) + frame)
        need = struct.unpack(">i", Trimmer.take(s, 4))[0]
        return Trimmer.take(s, need)[4:]

    @staticmethod
    def take(s, n):
        got = b""
        while len(got) < n:
            more = s.recv(n - len(got))
            if not more:
                raise OSError("closed")
            got += more
        return got

    def session(self):
        tls = ssl.create_default_context(cafile=server.ca)
        s = tls.wrap_socket(socket.create_connection(("127.0.0.1", server.kafka), 10), server_hostname="localhost")
        self.ask(s, 17, 1, struct.pack(">h", 5) + b"PLAIN")
        token = b"\0$ConnectionString\0" + server.cs.encode()
        if self.ask(s, 36, 0, struct.pack(">i", len(token)) + token)[:2] != b"\0\0":
            raise OSError("refused")
        name = self.hub.encode()
        while not stop.is_set():
            before = max(0, self.writer.ends[0] - rng.randrange(200))
            body = struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, before, 10000)
            begun, acked = mark(), 0
            try:
                answer = self.ask(s, 21, 0, body)
                low, code = struct.unpack(">qh", answer[-10:])
                if code == 0 and low >= before:
                    acked = mark()
                    self.done += 1
                elif code not in (0, 6):
                    problems.append(f"DeleteRecords: {code}")
            finally:
                note("trim", self.hub, 0, before, begun, acked)
            stop.wait(0.4)

    def run(self):
        while not stop.is_set():
            try:
                self.session()
            except OSError:  # a server that is away
                stop.wait(0.1)


class HubMaker(threading.Thread):
    """Makes hubs, writes a little into them, deletes most of them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.made = 0

    def run(self):
        own = random.Random(f"{SEED}/hubs")
        n = 0
        while not stop.is_set():
            n += 1
            name = f"t{n}"
            begun, acked = mark(), 0
            try:
                server.cli("hub", "create", name, "--partitions", "1")
                acked = mark()
                self.made += 1
            except Exception:
                pass
            note("hub", name, 1, "plain", begun, acked)
            w = HttpWriter(20 + n, name, 1) if acked and n < 80 else None
            if w:
                self.few(w)
            if own.random() < 0.7:
                begun, acked = mark(), 0
                try:
                    server.cli("hub", "delete", name, "--yes")
                    acked = mark()
                except Exception:
                    pass
                note("gone", name, begun, acked)
            stop.wait(own.uniform(0.2, 1.2))

    @staticmethod
    def few(w):
        """Three events, by the command line's client."""
        for _ in range(3):
            i = w.ident()
            body = body_of(i, 40)
            begun, acked = mark(), 0
            try:
                subprocess.run([BIN, "send", w.hub, "--partition", "0", "--data", server.data], input=body + "\n",
                               text=True, capture_output=True, timeout=20, check=True)
                acked = mark()
            except Exception:
                pass
            note("event", i, w.hub, 0, -1, len(body), "-", begun, acked)


def make_hub(name, parts, kind, *flags):
    begun = mark()
    server.cli("hub", "create", name, "--partitions", str(parts), *flags)
    note("hub", name, parts, kind, begun, mark())


def recorded(root, log, *words):
    """A command whose own writes are recorded."""
    os.makedirs(root, exist_ok=True)
    env = dict(os.environ, LD_PRELOAD=PRELOAD, POWER_ROOT=root, POWER_LOG=log, POWER_SYNC_US="0")
    done = subprocess.run([BIN, *words], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        problems.append(" ".join(words) + ": " + done.stderr[-300:])


def tell(name, *words):
    with open(f"{WORK}/{name}.options", "w") as f:
        f.write(" ".join(str(w) for w in words) + "\n")


def back_up_and_restore():
    """Two backups under load into one place, and a restore. Of each, its log and what
    power_check has to know: what was acknowledged before it is in it, what was begun
    after it is not."""
    musts, ends = [], []
    for _ in range(2):
        musts.append(mark())
        recorded(WORK + "/backups", WORK + "/backup.oplog", "backup", WORK + "/backups/backup", "--data", server.data)
        ends.append(os.path.getsize(WORK + "/backup.oplog"))
        time.sleep(1)
    may = mark()
    more = [word for d in server.dirs for word in ("--data", f"{WORK}/restored/{d}")]
    recorded(WORK + "/restored", WORK + "/restore.oplog", "restore", WORK + "/backups/backup", *more)
    tell("backup", "--backup --after", ends[0], "--must", musts[0], "--may", may)
    tell("restore", "--restored --must", musts[1], "--may", may)
    tell("from", "--must", musts[1], "--may", may)


os.makedirs(ROOT)
open(LOG, "wb").close()
server = Server()
server.start()
server.learn()
make_hub("plain", 3, "plain")
make_hub("more", 1, "plain")
writers = [HttpWriter(1, "plain", 3), AmqpWriter(2, "plain", 3), KafkaWriter(3, "plain", 3),
           KafkaWriter(4, "more", 1, sizes=(20, 600, 4000), pause=0.05)]
others = [Committer("g1", "plain", 3), Committer("g2", "more", 1), HubMaker()]
# What is to go is more than what is to stay, so that there is something to clean.
if "--retention-bytes" in HELP_HUB:
    make_hub("short", 2, "retain", "--retention-bytes", "200000")
    writers.append(KafkaWriter(5, "short", 2, sizes=(500, 3000), pause=0.006))
    make_hub("cut", 1, "trim")
    writers.append(KafkaWriter(7, "cut", 1, sizes=(50, 1000)))
    others.append(Trimmer("cut", writers[-1]))
if "--cleanup" in HELP_HUB:
    make_hub("keyed", 2, "compact", "--cleanup", "compact")
    writers.append(KafkaWriter(6, "keyed", 2, sizes=(300, 1500), keys=40))
for t in writers + others:
    t.start()
began = time.monotonic()
for share, kill in ((1 / 3, True), (2 / 3, False)):
    time.sleep(max(0, began + SECONDS * share - time.monotonic()))
    server.end(kill)
    server.start()
time.sleep(max(0, began + SECONDS - time.monotonic()))
if "\n  backup " in HELP_ALL:
    back_up_and_restore()
stop.set()
for t in writers + others:
    t.join(30)
server.end(True)
with open(WORK + "/journal", "w") as f:
    # Hubs first: the others name them.
    for line in sorted(lines, key=lambda text: not text.startswith("hub ")):
        f.write(line + "\n")
with open(WORK + "/dirs", "w") as f:
    f.write(",".join(server.dirs) + "\n")
if any(w.acked == 0 for w in writers) or any(c.done == 0 for c in others if c is not others[2]) or others[2].made == 0:
    problems.append(f"nothing got through: {[(w.number, w.acked) for w in writers]} {[c.done for c in others if c is not others[2]]}")
print(f"{sum(w.acked for w in writers)} acknowledged, {len(lines)} lines, {mark() >> 10} KiB of operations", flush=True)
for p in sorted(set(problems)):
    print("not ok power workload:", p, flush=True)
sys.stdout.flush()
os._exit(1 if problems else 0)
