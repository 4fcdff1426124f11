"""Writers over HTTPS and AMQP, a server that is killed, and a checker: after each
kill and at the end all partitions are read and compared (see load.check)."""
import os
import random
import signal
import sys
import time

from load import AmqpWriter, HttpWriter, Server, Verdicts, check, lost, seed_of_run, signal_of, snapshot, torn

BIN, WORK, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3])
SEED = seed_of_run()
rng = random.Random(SEED)
verdicts = Verdicts(SEED)

server = Server(BIN, WORK, "kill", 3)
server.start()
server.learn()
writers = [HttpWriter(f"h{i}", server, SEED) for i in range(3)] + [AmqpWriter(f"a{i}", server, SEED) for i in range(2)]
for w in writers:
    w.start()
before, slowest = {}, 0.0
for r in range(ROUNDS):
    time.sleep(rng.uniform(0.4, 1.8))
    sig = signal_of(rng)
    status = server.end(sig)
    if sig == signal.SIGTERM and status != 0:
        verdicts.say("SIGTERM ends with status 0", [status])
    known = snapshot(writers)
    acked = [k for k, v in known.items() if v[1]]
    slowest = max(slowest, server.start())
    logs = server.read_all()
    # Writers go on meanwhile: what they sent since is known too. A batch being
    # written while it was read is judged at the end.
    problems, where = check(logs, before, snapshot(writers) | known)
    problems["lost"] += lost(acked, where)
    before = logs
    name = "kill -9" if sig == signal.SIGKILL else "SIGTERM"
    verdicts.say(f"round {r + 1}: {name}, {sum(len(v) for v in logs.values())} events, {len(acked)} acknowledged",
                 [(k, v[:2]) for k, v in problems.items() if v])
for w in writers:
    w.stop.set()
for w in writers:
    w.join(20)
known = {k: v for w in writers for k, v in w.sent.items()}
acked = [k for k, v in known.items() if v[1]]
logs = server.read_all()
problems, where = check(logs, before, known)
problems["lost"] += lost(acked, where)
problems["torn"] += torn(known, where)
for kind, found in problems.items():
    verdicts.say(f"nothing {kind} among {sum(len(v) for v in logs.values())} events", found)
verdicts.say("every writer got through", [w.name for w in writers if not any(v[1] for v in w.sent.values())])
verdicts.say("ready within 5 s after each kill", [slowest] if slowest > 5 else [])
status = server.end(signal.SIGTERM)
verdicts.say("SIGTERM ends with status 0", [status] if status else [])
print(f"{len(acked)} acknowledged, slowest start {slowest:.2f} s", flush=True)
sys.stdout.flush()
os._exit(1 if verdicts.failed else 0)
