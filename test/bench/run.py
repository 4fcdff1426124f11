"""Measures a real daemon; see run.sh. Everything in one run, figures as ratios to
the raw figures taken between the rows, since machines drift."""
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import amqp_raw  # noqa: E402
import kafka_rows  # noqa: E402
import store_rows  # noqa: E402
import throttle_rows  # noqa: E402
from measure import SECONDS, Server, connection_string, measured, raw  # noqa: E402

if sys.argv[1:2] == ["throttle"]:
    throttle_rows.main(sys.argv[2:])
    sys.exit(0)

ROWS = [
    ("AMQP batches", s, ["--protocol", "amqp", "--mode", "batch", "--size", str(s), "--connections", "2",
                         "--batch", str(max(1, min(500, 600000 // (s + 40))))]) for s in (100, 1024, 10240)
] + [
    ("AMQP singles", s, ["--protocol", "amqp", "--mode", "single", "--size", str(s), "--connections", "2"])
    for s in (100, 1024, 10240)
] + [
    ("HTTPS batches", s, ["--protocol", "https", "--mode", "batch", "--size", str(s), "--connections", "32",
                          "--batch", str(max(1, min(100, 300000 // (s + 40))))]) for s in (100, 1024, 10240)
] + [
    ("HTTPS singles", 1024, ["--protocol", "https", "--mode", "single", "--size", "1024", "--connections", "256"]),
]

server = Server("--hub", "bench:4")
time.sleep(0.5)
idle_kb = server.memory_kb()
print(f"{os.cpu_count()} cores; {SECONDS:g} s a row; TLS and fsync on; 1 MB = 1,048,576 bytes of bodies")
print(f"ready in {server.ready_seconds * 1000:.0f} ms with an empty store; {idle_kb / 1024:.1f} MB resident idle")
speed = subprocess.run(["openssl", "speed", "-seconds", "1", "-bytes", "16384", "-evp", "aes-256-gcm"],
                       capture_output=True, text=True)
m = re.search(r"([\d.]+)k\s*$", speed.stdout.strip())
print(f"OpenSSL AES-256-GCM, one core: {float(m.group(1)) / 1048.576:.0f} MB/s" if m else "openssl speed: no figure")
key = re.search(r"SharedAccessKey=([^;]*)", connection_string()).group(1)
fresh = server.memory_kb("RssAnon")
idle = [amqp_raw.connect(server.ready["amqps"], key, f"idle{i}", server.ready["ca"]) for i in range(500)]
for i, s in enumerate(idle):
    amqp_raw.attach_sender(s, f"l{i}", "bench")
print(f"{(server.memory_kb('RssAnon') - fresh) / 500:.1f} KB for an idle TLS connection with a session and a link")
for s in idle:
    s.close()
print()
head = f"{'':14}{'size':>7}{'events/s':>11}{'sends/s':>9}{'MB/s':>7}{'p50':>8}{'p99':>8}{'p99.9':>8}" \
       f"{'CPU s/M':>9}{'cores':>7}{'per core':>10}{'group':>8}{'raw MB/s':>9}{'of raw':>8}" \
       f"{'p99 half':>9}{'raw p99':>8}{'ratio':>7}"
print(head + "   (ms)")
results = []
only = sys.argv[1] if len(sys.argv) > 1 else ""
for name, size, args in ROWS:
    if only and only not in f"{name} {size}":
        continue
    r = measured(server, ["--hub", "bench", *args])
    floor = raw(r["group"])
    half = measured(server, ["--hub", "bench", *args, "--rate", str(int(r["eventsPerSecond"] / 2))])
    paced = raw(half["group"], rate=max(0.05, r["mbPerSecond"] / 2))
    million = r["events"] / 1e6
    cores = r["serverCpu"] / r["seconds"]
    row = dict(name=name, size=size, bench=r, raw=floor, half=half, rawHalf=paced, cores=cores,
               perCore=r["eventsPerSecond"] / max(cores, 0.01), ofRaw=r["mbPerSecond"] / floor["mbPerSecond"],
               p99Ratio=half["latencyMs"]["p99"] / max(paced["p99Ms"], 0.001))
    results.append(row)
    sends = r["eventsPerSecond"] / (r["batch"] if r["mode"] == "batch" else 1)
    print(f"{name:14}{size:>7}{r['eventsPerSecond']:>11.0f}{sends:>9.0f}{r['mbPerSecond']:>7.0f}"
          f"{r['latencyMs']['p50']:>8.2f}{r['latencyMs']['p99']:>8.2f}{r['latencyMs']['p999']:>8.2f}"
          f"{r['serverCpu'] / million:>9.2f}{cores:>7.2f}{row['perCore']:>10.0f}{r['group'] / 1024:>7.0f}k"
          f"{floor['mbPerSecond']:>9.0f}{row['ofRaw']:>8.0%}{half['latencyMs']['p99']:>9.2f}{paced['p99Ms']:>8.2f}"
          f"{row['p99Ratio']:>7.1f}", flush=True)

results += kafka_rows.run(server, only)
server.stop()
results += throttle_rows.rows(only)
results += store_rows.rows(only)
with open("build/bench.json", "w") as f:
    json.dump(results, f, indent=1)
print("details: build/bench.json")
