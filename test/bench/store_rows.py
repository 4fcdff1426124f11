"""Rows of `make bench` about the store itself, without a network: appends beside raw
LMDB commits of equal bytes, reads, recovery, verify, retention, memory. Everything in
one run, as ratios."""
import json
import os
import shutil
import signal
import subprocess
import time

from measure import BIN, SECONDS, cpu_of, raw, work

STORE = "build/release/bench/bench_store"
GB = float(os.environ.get("BENCH_STORE_GB", "10"))
HALF = max(2, int(SECONDS / 2))


def run(*args, **named):
    argv = [STORE]
    for name, value in named.items():
        argv += ["--" + name, str(value)]
    out = subprocess.run(argv + list(args), capture_output=True, text=True, timeout=1800,
                         env={**os.environ, "TMPDIR": work})
    if out.returncode != 0:
        raise RuntimeError(out.stderr[-400:])
    return json.loads(out.stdout)


def store_files(directory):
    found = []
    for at, _, names in os.walk(directory):
        found += [os.path.join(at, n) for n in names]
    return found


def forget_pages(directory):
    """What the kernel keeps of the files goes, as far as it is written."""
    os.sync()
    for path in store_files(directory):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def sequential(directory):
    """MB/s of plain reads of the directory's segments."""
    files = [f for f in store_files(directory) if f.endswith(".mdb")]
    size, began = 0, time.monotonic()
    for path in files:
        with open(path, "rb", buffering=0) as f:
            while True:
                n = len(f.read(1 << 20))
                size += n
                if n == 0:
                    break
    return size / 1048576 / (time.monotonic() - began)


def append_rows(only):
    rows = []
    print(f"\n{'store append':14}{'batch':>8}{'producers':>10}{'parts':>6}{'batches/s':>11}{'MB/s':>7}{'p50':>8}{'p99':>8}"
          f"{'cores':>7}{'group':>8}{'raw MB/s':>9}{'of raw':>8}{'p99 half':>9}{'raw p99':>8}{'ratio':>7}"
          f"{'disk/byte':>10}   (ms)")
    for size in (1024, 16384, 262144):
        for producers in (1, 16, 256):
            for partitions in (1, 16, 256):
                if only and only not in f"store append {size} x {producers} x {partitions}":
                    continue
                how = dict(size=size, producers=producers, partitions=partitions)
                r = run(seconds=HALF, **how)
                floor = raw(r["group"])
                half = run(seconds=HALF, rate=max(1, int(r["mbPerSecond"] * 512)), **how)
                paced = raw(half["group"], rate=max(0.05, r["mbPerSecond"] / 2))
                row = dict(name="store append", size=size, producers=producers, partitions=partitions,
                           run=r, raw=floor, half=half, rawHalf=paced,
                           ofRaw=r["mbPerSecond"] / floor["mbPerSecond"],
                           p99Ratio=half["p99Ms"] / max(paced["p99Ms"], 0.001),
                           amplification=r["diskMb"] / max(r["mb"], 0.001))
                rows.append(row)
                print(f"{'':14}{size:>8}{producers:>10}{partitions:>6}{r['batchesPerSecond']:>11.0f}"
                      f"{r['mbPerSecond']:>7.0f}{r['p50Ms']:>8.2f}{r['p99Ms']:>8.2f}"
                      f"{r['cpuSeconds'] / r['seconds']:>7.2f}{r['group'] / 1024:>7.0f}k"
                      f"{floor['mbPerSecond']:>9.0f}{row['ofRaw']:>8.0%}{half['p99Ms']:>9.2f}"
                      f"{paced['p99Ms']:>8.2f}{row['p99Ratio']:>7.1f}{row['amplification']:>10.2f}", flush=True)
    return rows


def read_rows():
    """Reads at the end from memory, from disk, and what either costs producers."""
    print()
    tail = run(seconds=HALF, size=16384, rate=20480, recent=4)
    t = tail["recent"]
    print(f"tail reads from the cache: {t['mb'] / max(t['cpuSeconds'], 0.001) / 1024:.1f} GB per CPU second")
    where = work + "/cold"
    run(dir=where, fill=2048, size=16384)
    forget_pages(where)
    disk = sequential(where)
    forget_pages(where)
    cold = run(dir=where, old=1, cold=4)
    print(f"catch-up reads: {cold['cold']['mbPerSecond']:.0f} MB/s, plain reads of the files {disk:.0f} MB/s: "
          f"{cold['cold']['mbPerSecond'] / disk:.0%}")
    rounds = {"alone": [], "cold": [], "slow": []}
    for _ in range(2):  # in turn, since the machine drifts
        for name, more in (("alone", {}), ("cold", dict(cold=2)), ("slow", dict(slow=1000))):
            rounds[name].append(run(dir=where, seconds=HALF * 3, size=16384, **more))
    speed = {name: sum(r["mbPerSecond"] for r in v) for name, v in rounds.items()}
    p99 = {name: max(r["p99Ms"] for r in v) for name, v in rounds.items()}
    disk_bytes = {name: sum(r["diskMb"] for r in v) / sum(r["mb"] for r in v) for name, v in rounds.items()}
    print(f"producers at full speed: {speed['alone'] / 2:.0f} MB/s, p99 {p99['alone']:.1f} ms; with catch-up readers "
          f"({rounds['cold'][0].get('cold', {}).get('mbPerSecond', 0):.0f} MB/s) {speed['cold'] / speed['alone']:.0%}, "
          f"p99 {p99['cold']:.1f}; with 1,000 slow consumers at places of their own {speed['slow'] / speed['alone']:.0%}, "
          f"p99 {p99['slow']:.1f}; bytes to disk per byte {disk_bytes['alone']:.2f}, {disk_bytes['cold']:.2f}, "
          f"{disk_bytes['slow']:.2f}")
    shutil.rmtree(where, ignore_errors=True)
    return [dict(name="store reads", tail=tail, cold=cold, disk=disk, rounds=rounds)]


def serve(where, *flags):
    """A daemon on the directory: (process, seconds until it was ready)."""
    began = time.monotonic()
    p = subprocess.Popen([BIN, "serve", "--data", where, "--amqps", "off", "--https", "127.0.0.1:0", "--kafka", "off",
                          "--metrics", "127.0.0.1:0", "--log-level", "warn", *flags],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    line = p.stdout.readline()
    if not line:
        raise RuntimeError("the daemon did not start")
    return p, time.monotonic() - began


def recovery_rows():
    where = work + "/big"
    r = run(dir=where, fill=int(GB * 1024), size=262144)
    writer = subprocess.Popen([STORE, "--dir", where, "--seconds", "60"], stdout=subprocess.DEVNULL)
    time.sleep(2)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    forget_pages(where)
    p, seconds = serve(where)
    p.terminate()
    p.wait(60)
    print(f"\nready {seconds:.2f} s after kill -9 with {GB:g} GB on disk, page cache empty (filled at {r['mbPerSecond']:.0f} MB/s)")
    disk = sequential(where)
    began = time.monotonic()
    v = subprocess.Popen([BIN, "verify", "--data", where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cpu = 0
    while v.poll() is None:
        try:
            cpu = cpu_of(v.pid)
        except (OSError, IndexError):
            break
        time.sleep(0.05)
    out, err = v.communicate()
    took = time.monotonic() - began
    print(f"verify: exit {v.returncode}, {GB / took:.2f} GB/s, {GB / max(cpu, 0.01):.2f} GB per CPU second "
          f"(plain reads of the files: {disk / 1024:.2f} GB/s): {(out or err).strip().splitlines()[-1:]}")
    shutil.rmtree(where, ignore_errors=True)
    return [dict(name="store recovery", gb=GB, readySeconds=seconds, verifySeconds=took, verifyCpu=cpu)]


def retention_rows():
    """Deleting at the write rate, scaled: small segments and small partitions, so that
    as many segments go in a minute as do in an hour."""
    how = dict(seconds=max(20, int(SECONDS * 5)), size=16384, segment=16)
    keep = run(rate=40960, **how)
    drop = run(rate=40960, retention=4096, **how)
    full_keep = run(**{**how, "seconds": HALF * 2})
    full_drop = run(retention=4096, **{**how, "seconds": HALF * 2})
    print(f"\nretention at the write rate: {full_drop['mbPerSecond']:.0f} MB/s, without {full_keep['mbPerSecond']:.0f}: "
          f"{full_drop['mbPerSecond'] / full_keep['mbPerSecond']:.0%}; paced at 40 MB/s p99 {drop['p99Ms']:.2f} ms, "
          f"without {keep['p99Ms']:.2f}; on disk at the end {drop['storeMb']:.0f} MB of {drop['mb']:.0f} written, "
          f"retained {4 * 16} MB")
    return [dict(name="store retention", keep=keep, drop=drop, fullKeep=full_keep, fullDrop=full_drop)]


def memory_rows():
    where = work + "/many"
    hubs = run(dir=where, partitions=1024, producers=16, size=100, seconds=2)
    print(f"\nmemory: {(hubs['rssHubKb'] - hubs['rssOpenKb']) * 1024 / 1024:.0f} bytes a partition when made "
          f"(1,024 partitions)")
    p, _ = serve(where, *sum((["--hub", f"h{i}:1000"] for i in range(9)), []))
    p.terminate()
    p.wait(60)
    p, seconds = serve(where)
    rss = int(open(f"/proc/{p.pid}/status").read().split("VmRSS:")[1].split()[0])
    p.terminate()
    p.wait(60)
    print(f"10,024 partitions on one node: ready in {seconds:.2f} s, {rss / 1024:.0f} MB resident")
    shutil.rmtree(where, ignore_errors=True)
    return [dict(name="store memory", hubs=hubs, readySeconds=seconds, residentKb=rss)]


def rows(only):
    parts = [("store append", lambda: append_rows(only)), ("store reads", read_rows),
             ("store recovery", recovery_rows), ("store retention", retention_rows),
             ("store memory", memory_rows)]
    results = []
    for name, make in parts:
        if not only or only in name or only.startswith(name):
            results += make()
    return results


