"""What the rows of run.py share: the daemon, the load generator, the raw loop."""
import atexit
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request

BIN = os.environ.get("SLUICE_BIN", "build/sluice")
RAW = "build/release/bench/bench_raw"
SECONDS = float(os.environ.get("BENCH_SECONDS", "6"))
TICKS = os.sysconf("SC_CLK_TCK")
work = tempfile.mkdtemp(prefix="sluice-bench.", dir=os.environ.get("BENCH_DIR"))
atexit.register(subprocess.run, ["rm", "-rf", work])
data = work + "/data"


def cpu_of(pid):
    """Processor seconds of a process, user and system."""
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / TICKS


class Server:
    def __init__(self, *flags, at=data, binary=BIN):
        self.data = at
        began = time.monotonic()
        self.p = subprocess.Popen(
            [binary, "serve", "--data", at, "--amqps", "127.0.0.1:0", "--https", "127.0.0.1:0",
             "--kafka", "127.0.0.1:0", "--kafka-plain", "127.0.0.1:0", "--metrics", "127.0.0.1:0",
             "--log-level", "warn", *flags], stdout=subprocess.PIPE, stderr=open(work + "/log", "ab"))
        atexit.register(self.p.kill)
        self.ready = json.loads(self.p.stdout.readline())
        self.ready_seconds = time.monotonic() - began

    def cpu(self):
        return cpu_of(self.p.pid)

    def memory_kb(self, field="VmRSS"):
        return int(re.search(field + r":\s+(\d+)", open(f"/proc/{self.p.pid}/status").read()).group(1))

    def metrics(self):
        text = urllib.request.urlopen(f"http://{self.ready['metrics']}/metrics", timeout=10).read().decode()
        return {m.group(1): float(m.group(2)) for m in re.finditer(r"^(\w+) (\S+)$", text, re.M)}

    def stop(self):
        self.p.terminate()
        self.p.wait(30)


def connection_string():
    return subprocess.run([BIN, "connection-string", "--data", data], capture_output=True, text=True,
                          check=True).stdout.strip()


def bench(*args, seconds=SECONDS, where=("--data", data)):
    out = subprocess.run([BIN, "bench", *where, "--json", "--duration", f"{int(seconds * 1000)}ms", *args],
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


def measured(server, args, **how):
    m0, c0 = server.metrics(), server.cpu()
    r = bench(*args, **how)
    m1, c1 = server.metrics(), server.cpu()
    commits = m1["sluice_store_commits_total"] - m0["sluice_store_commits_total"]
    r["serverCpu"] = c1 - c0
    r["group"] = (m1["sluice_store_written_bytes_total"] - m0["sluice_store_written_bytes_total"]) / max(1, commits)
    return r
