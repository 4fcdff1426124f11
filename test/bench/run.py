"""Measures a real daemon; see run.sh. Everything in one run, figures as ratios to
the raw figures taken between the rows, since machines drift."""
import atexit
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import amqp_raw  # noqa: E402

BIN = os.environ.get("SLUICE_BIN", "build/sluice")
RAW = "build/release/bench/bench_raw"
SECONDS = float(os.environ.get("BENCH_SECONDS", "6"))
TICKS = os.sysconf("SC_CLK_TCK")
work = tempfile.mkdtemp(prefix="sluice-bench.", dir=os.environ.get("BENCH_DIR"))
data = work + "/data"


class Server:
    def __init__(self):
        began = time.monotonic()
        self.p = subprocess.Popen(
            [BIN, "serve", "--data", data, "--hub", "bench:4", "--amqps", "127.0.0.1:0", "--https", "127.0.0.1:0",
             "--metrics", "127.0.0.1:0", "--log-level", "warn"], stdout=subprocess.PIPE,
            stderr=open(work + "/log", "ab"))
        atexit.register(self.p.kill)
        self.ready = json.loads(self.p.stdout.readline())
        self.ready_seconds = time.monotonic() - began

    def cpu(self):
        f = open(f"/proc/{self.p.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / TICKS

    def memory_kb(self, field="VmRSS"):
        return int(re.search(field + r":\s+(\d+)", open(f"/proc/{self.p.pid}/status").read()).group(1))

    def metrics(self):
        text = urllib.request.urlopen(f"http://{self.ready['metrics']}/metrics", timeout=10).read().decode()
        return {m.group(1): float(m.group(2)) for m in re.finditer(r"^(\w+) (\S+)$", text, re.M)}

    def stop(self):
        self.p.terminate()
        self.p.wait(30)


def bench(*args, seconds=SECONDS):
    out = subprocess.run([BIN, "bench", "--data", data, "--hub", "bench", "--json", "--duration", f"{int(seconds * 1000)}ms", *args],
                         capture_output=True, text=True, timeout=seconds + 60)
    if out.returncode != 0:
        raise RuntimeError(out.stderr[-400:])
    return json.loads(out.stdout)


def raw(group_bytes, rate=None):
    """Durable commits of about group_bytes each, as values of a page run."""
    size = 65520 if group_bytes >= 65520 else max(64, int(group_bytes))
    n = max(1, round(group_bytes / size))
    args = [RAW, work, str(size), str(n), str(max(2.0, SECONDS / 2))] + ([f"{rate:.3f}"] if rate else [])
    return json.loads(subprocess.run(args, capture_output=True, text=True, check=True).stdout)


def measured(server, args):
    m0, c0 = server.metrics(), server.cpu()
    r = bench(*args)
    m1, c1 = server.metrics(), server.cpu()
    commits = m1["sluice_store_commits_total"] - m0["sluice_store_commits_total"]
    r["serverCpu"] = c1 - c0
    r["group"] = (m1["sluice_store_written_bytes_total"] - m0["sluice_store_written_bytes_total"]) / max(1, commits)
    return r


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

server = Server()
time.sleep(0.5)
idle_kb = server.memory_kb()
print(f"{os.cpu_count()} cores; {SECONDS:g} s a row; TLS and fsync on; 1 MB = 1,048,576 bytes of bodies")
print(f"ready in {server.ready_seconds * 1000:.0f} ms with an empty store; {idle_kb / 1024:.1f} MB resident idle")
speed = subprocess.run(["openssl", "speed", "-seconds", "1", "-bytes", "16384", "-evp", "aes-256-gcm"],
                       capture_output=True, text=True)
m = re.search(r"([\d.]+)k\s*$", speed.stdout.strip())
print(f"OpenSSL AES-256-GCM, one core: {float(m.group(1)) / 1048.576:.0f} MB/s" if m else "openssl speed: no figure")
key = re.search(r"SharedAccessKey=([^;]*)", subprocess.run(
    [BIN, "connection-string", "--data", data], capture_output=True, text=True, check=True).stdout.strip()).group(1)
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
    r = measured(server, args)
    floor = raw(r["group"])
    half = measured(server, [*args, "--rate", str(int(r["eventsPerSecond"] / 2))])
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

server.stop()
with open("build/bench.json", "w") as f:
    json.dump(results, f, indent=1)
print("details: build/bench.json")
subprocess.run(["rm", "-rf", work])
