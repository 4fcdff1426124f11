"""AMQP, HTTPS and idempotent Kafka producers write numbered events to one hub,
while AMQP and Kafka readers follow and the server is killed and started again.
At the end: nothing acknowledged is lost, nothing is doubled, every producer's
order holds in every partition, numbers are dense, all readers saw the same.

kafka_mixed.py SLUICE WORK-DIRECTORY SECONDS
"""
import os
import random
import re
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from proton import Described, symbol
from proton.reactor import AtMostOnce, Filter

from load import (AmqpWriter, HttpWriter, Server, Verdicts, Writer, check, free_port, identity_of, lost, pad,
                  seed_of_run, signal_of, torn)

BIN, WORK, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
SEED = seed_of_run()
HUB, PARTS = "mixed", 3
rng = random.Random(SEED)
verdicts = Verdicts(SEED)
KAFKA_PORT = free_port()
stop_reading = threading.Event()
# What a client may tell of while the server is away.
PASSING = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT,
           KafkaError._SSL, KafkaError._AUTHENTICATION, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
           KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR, KafkaError._MAX_POLL_EXCEEDED,
           KafkaError.REQUEST_TIMED_OUT, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.REBALANCE_IN_PROGRESS,
           KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError._NO_OFFSET,
           KafkaError._STATE, KafkaError._WAIT_COORD, KafkaError.UNKNOWN_TOPIC_OR_PART}


def kafka_options(**more):
    o = {"bootstrap.servers": f"localhost:{KAFKA_PORT}", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
         "sasl.username": "$ConnectionString", "sasl.password": server.cs, "ssl.ca.location": server.ca,
         "broker.address.family": "v4", "log_level": 0, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500}
    o.update({k.replace("_", "."): v for k, v in more.items()})
    return o


class KafkaWriter(Writer):
    """One idempotent producer for the whole run: it must get every event through,
    over all the kills, each once."""

    def __init__(self, name, codec):
        super().__init__(name, server, SEED)
        self.codec, self.problems, self.left = codec, [], None

    def note_error(self, error):
        if error.fatal() or error.code() not in PASSING:
            self.problems.append(str(error))

    def session(self):
        def report(error, message):
            ident = identity_of(message.value().decode())
            if error:
                self.problems.append((ident, str(error)))
            else:
                self.sent[ident][1] = True

        p = Producer(dict(kafka_options(enable_idempotence=True, compression_type=self.codec, linger_ms=5,
                                        message_timeout_ms=240000, retry_backoff_ms=50, batch_num_messages=40),
                          error_cb=self.note_error))
        while not self.stop.is_set():
            if len(p) < 400:
                part, ident = self.rng.randrange(PARTS), self.identity()
                self.sent[ident] = [part, False, None, 1]
                p.produce(HUB, pad(ident, self.rng.choice([10, 100, 1000])), partition=part, on_delivery=report)
            p.poll(0.002)
        self.left = p.flush(60)


class AmqpReader(threading.Thread):
    def __init__(self, part):
        super().__init__(daemon=True)
        self.name, self.part, self.seen, self.problems = "AMQP", part, {}, []

    def run(self):
        while not stop_reading.is_set():
            try:
                self.session()
            except Exception:  # a killed server is what this is about
                time.sleep(0.1)

    def session(self):
        name = symbol("apache.org:selector-filter:string")
        after = Filter({name: Described(name, f"amqp.annotation.x-opt-sequence-number > '{len(self.seen) - 1}'")})
        c = server.amqp()
        r = c.create_receiver(f"{HUB}/ConsumerGroups/$Default/Partitions/{self.part}", credit=200,
                              options=[after, AtMostOnce()])
        while not stop_reading.is_set():
            m = r.receive(timeout=15)
            seq = m.annotations["x-opt-sequence-number"]
            if seq != len(self.seen):
                self.problems.append((self.part, "not the next", len(self.seen), seq))
                return
            body = m.body if isinstance(m.body, str) else bytes(m.body).decode()
            self.seen[(self.part, seq)] = identity_of(body)
            if r.link.credit < 100:
                r.link.flow(100)


class KafkaReader(threading.Thread):
    """Follows all partitions from their beginning; in a group it commits as it goes."""

    def __init__(self, name, group=None):
        super().__init__(daemon=True)
        self.name, self.group, self.seen, self.problems = name, group, {}, []
        self.leave = threading.Event()

    def run(self):
        c = Consumer(kafka_options(group_id=self.group or "mixed-assigned", enable_auto_commit=False,
                                   auto_offset_reset="earliest" if self.group else "error",
                                   session_timeout_ms=10000, heartbeat_interval_ms=500, fetch_wait_max_ms=200))
        if self.group:
            c.subscribe([HUB])
        else:
            c.assign([TopicPartition(HUB, p, 0) for p in range(PARTS)])
        following = dict.fromkeys(range(PARTS), 0)
        committed = time.monotonic()
        while not stop_reading.is_set() and not self.leave.is_set():
            m = c.poll(0.1)
            if m is not None and m.error():
                if m.error().fatal() or m.error().code() not in PASSING:
                    self.problems.append(str(m.error()))
                    time.sleep(0.2)
            elif m is not None:
                part, at = m.partition(), m.offset()
                if not self.group and at != following[part]:
                    self.problems.append((part, "not the next", following[part], at))
                following[part] = at + 1
                # The event of an AMQP sender may be a value with its encoding before it.
                found = re.search(rb"[hak]\d-\d{7}", m.value())
                ident = found.group(0).decode() if found else repr(m.value()[:40])
                if self.seen.setdefault((part, at), ident) != ident:
                    self.problems.append((part, at, "was", self.seen[(part, at)], "is", ident))
            if self.group and time.monotonic() - committed > 0.5:
                committed = time.monotonic()
                try:
                    c.commit(asynchronous=True)
                except Exception:  # nothing new, or the server is away
                    pass
        c.close()


def kill_again_and_again(until):
    """Kills, starts, and now and then replaces a member of the group."""
    kills, slowest, members = 0, 0.0, [KafkaReader("group", "mixed-group"), KafkaReader("group", "mixed-group")]
    for m in members:
        m.start()
    while time.monotonic() < until:
        time.sleep(rng.uniform(2.0, 6.0))
        sig = signal_of(rng)
        status = server.end(sig)
        if sig == signal.SIGTERM and status != 0:
            verdicts.say("SIGTERM ends with status 0", [status])
        time.sleep(rng.choice([0, 0, 1.0]))
        slowest = max(slowest, server.start())
        kills += 1
        if rng.random() < 0.4:
            # The one that is there longer leaves, a new one joins.
            standing = [m for m in members if not m.leave.is_set()]
            standing[0].leave.set()
            members.append(KafkaReader("group", "mixed-group"))
            members[-1].start()
    return kills, slowest, members


def await_readers(total, readers):
    """Until each has seen all, or no more comes."""
    end = time.monotonic() + 40
    while time.monotonic() < end and any(len(seen_by(r)) < total for r in readers):
        time.sleep(0.2)


def seen_by(threads):
    both = {}
    for t in threads:
        both.update(dict(t.seen))
    return both


server = Server(BIN, WORK, HUB, PARTS, "--kafka", f"127.0.0.1:{KAFKA_PORT}")
server.start()
server.learn()
writers = [HttpWriter("h0", server, SEED, 0.02), AmqpWriter("a0", server, SEED, 0.1)]
kafka_writers = [KafkaWriter("k0", "none"), KafkaWriter("k1", "lz4"), KafkaWriter("k2", "zstd")]
amqp_readers = [AmqpReader(p) for p in range(PARTS)]
kafka_reader = [KafkaReader("Kafka")]
for t in writers + kafka_writers + amqp_readers + kafka_reader:
    t.start()
kill_count, slowest_start, group_readers = kill_again_and_again(time.monotonic() + SECONDS)
writers += kafka_writers
for w in writers:
    w.stop.set()
for w in writers:
    w.join(70)
known = {k: v for w in writers for k, v in w.sent.items()}
acked = [k for k, v in known.items() if v[1]]
logs = server.read_all()
total_events = sum(len(v) for v in logs.values())
await_readers(total_events, [amqp_readers, kafka_reader, group_readers])
stop_reading.set()

what, where = check(logs, {}, known)
what["lost"] += lost(acked, where)
what["torn"] += torn(known, where)
for kind, found in what.items():
    verdicts.say(f"mixed: nothing {kind} among {total_events} events after {kill_count} kills", found)
for w in kafka_writers:
    verdicts.say(f"mixed: idempotent Kafka producer {w.name} got all {len(w.sent)} events through",
                 w.problems + [k for k, v in w.sent.items() if not v[1]] + ([w.left] if w.left else []))
verdicts.say("mixed: every writer got through", [w.name for w in writers if not any(v[1] for v in w.sent.values())])
stored = {(p, seq): identity_of(body) for p, log in logs.items() for seq, body in log}
for name, threads in (("AMQP", amqp_readers), ("Kafka", kafka_reader), ("Kafka group", group_readers)):
    seen = seen_by(threads)
    problems = [p for t in threads for p in t.problems]
    problems += [("missing", k, v) for k, v in stored.items() if seen.get(k) != v]
    problems += [("more", k, v) for k, v in seen.items() if k not in stored]
    verdicts.say(f"mixed: {name} readers saw what is stored", problems)
verdicts.say("mixed: ready within 5 s after each kill", [slowest_start] if slowest_start > 5 else [])
last_status = server.end(signal.SIGTERM)
verdicts.say("mixed: SIGTERM ends with status 0", [last_status] if last_status else [])
print(f"{len(acked)} acknowledged, slowest start {slowest_start:.2f} s", flush=True)
sys.stdout.flush()
os._exit(1 if verdicts.failed else 0)
