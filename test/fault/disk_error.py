"""Errors of the disk: one file's writes or syncs fail, in a server under load.

EIO: the process ends with status 1 and one line that names the directory. ENOSPC: in
the log as EIO; elsewhere the work is given up and done later, and the server goes on.
After each, without the fault, a start finds all that was acknowledged.

disk_error.py SLUICE PRELOAD WORK-DIRECTORY
"""
import os
import re
import signal
import subprocess
import sys
import time

from load import HttpWriter, Server, Verdicts, check, lost, seed_of_run

BIN, PRELOAD, WORK = sys.argv[1], sys.argv[2], os.path.realpath(sys.argv[3])
ONLY = sys.argv[4] if len(sys.argv) > 4 else ""
SEED = seed_of_run()
CONTROL_RUN, CONTROL_FAIL = 0, 2
HELP = subprocess.run([BIN, "serve", "--help"], capture_output=True, text=True).stdout
HELP_HUB = subprocess.run([BIN, "hub", "create", "--help"], capture_output=True, text=True).stdout
HAS_EXPORTS, HAS_MORE_DIRS = "--export-interval " in HELP, "further ones" in HELP
HAS_RETENTION = "--retention-bytes" in HELP_HUB
verdicts = Verdicts(SEED)


class FaultyServer(Server):
    def __init__(self, work, rule, two=False):
        super().__init__(BIN, work, "disk", 3)
        os.makedirs(work + "/root")
        self.data, self.rule, self.control = work + "/root/data", rule, work + "/control"
        self.more = ["--data", work + "/root/data1"] if two else []
        self.set_faults(False)

    def set_faults(self, on):
        fd = os.open(self.control, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, (CONTROL_FAIL if on else CONTROL_RUN).to_bytes(4, "little"), 0)
        os.close(fd)

    def start(self):
        env = dict(os.environ, LD_PRELOAD=PRELOAD, POWER_ROOT=self.work + "/root", POWER_CONTROL=self.control,
                   POWER_FAULT=self.rule)
        flags = ["--export-interval", "1s"] if HAS_EXPORTS else []
        if HAS_RETENTION:
            flags += ["--retention-check", "200ms"]
        self.log_at = os.path.getsize(self.work + "/log") if os.path.exists(self.work + "/log") else 0
        self.proc = subprocess.Popen(
            [BIN, "serve", "--data", self.data, *self.more, "--hub", f"{self.hub}:{self.parts}", "--amqps",
             f"127.0.0.1:{self.amqps}",
             "--https", f"127.0.0.1:{self.https}", "--kafka", "off", "--metrics", "off", "--segment-bytes", "1MiB",
             "--shards", "4", *flags],
            stdout=subprocess.PIPE, stderr=open(self.work + "/log", "ab"), env=env)
        return bool(self.proc.stdout.readline())

    def said_since(self):
        with open(self.work + "/log", "rb") as f:
            f.seek(self.log_at)
            return f.read().decode(errors="replace").splitlines()

    def ended_within(self, seconds):
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


def short_of(lines):
    return " | ".join(lines[-2:])[-400:]


def after_restart(name, server, writers):
    """All that was acknowledged is there, and it stops as it should."""
    server.set_faults(False)
    if server.proc.poll() is None:
        server.proc.kill()
        server.proc.wait()
    if not server.start():
        verdicts.say(f"{name}: starts again", [short_of(server.said_since())])
        return
    known = {k: v for w in writers for k, v in w.sent.items()}
    logs = server.read_all()
    problems, where = check(logs, {}, known)
    if any(v[0] == "gap" for v in problems["renumbered"]) and HAS_RETENTION and not writers:
        problems["renumbered"] = []
    problems["lost"] += lost([k for k, v in known.items() if v[1]], where)
    status = server.end(signal.SIGTERM)
    found = [(k, v[:2]) for k, v in problems.items() if v] + ([("status", status)] if status else [])
    verdicts.say(f"{name}: what was acknowledged is there after a restart", found)


def under_load(name, rule, dies, two=False):
    work = f"{WORK}/{name.replace(' ', '-')}"
    os.makedirs(work)
    server = FaultyServer(work, rule, two)
    if not server.start():
        verdicts.say(f"{name}: starts", [short_of(server.said_since())])
        return
    server.learn()
    is_cleaning = "c*" in rule or "MANIFEST" in rule
    writers = [HttpWriter(f"h{i}", server, SEED, 0.2 if is_cleaning else 0.0) for i in range(3)]
    for w in writers:
        w.start()
    if is_cleaning:
        churn(server)
    time.sleep(0.5)
    server.set_faults(True)
    status = server.ended_within(20) if dies else None
    end = time.monotonic() + 20
    while not dies and status is None and not told(server) and time.monotonic() < end:
        status = server.ended_within(0.2)
    lines = server.said_since()
    if dies:
        # One line of the end, which names the directory.
        last = [line for line in lines if re.search(r" error .*WRITE(-FAILED)? dir=", line)]
        good = status == 1 and len(last) == 1 and work in last[0] and lines[-1] == last[0]
        verdicts.say(f"{name}: one line and status 1", [] if good else [(status, short_of(lines))])
    else:
        verdicts.say(f"{name}: goes on and says so", [] if status is None and told(server) else [(status, short_of(lines))])
        before = sum(v[1] for w in writers for v in list(w.sent.values()))
        server.set_faults(False)
        time.sleep(1)
        after = sum(v[1] for w in writers for v in list(w.sent.values()))
        verdicts.say(f"{name}: writes are taken afterwards", [] if after > before else [(before, after)])
    for w in writers:
        w.stop.set()
    for w in writers:
        w.join(20)
    after_restart(name, server, writers)


def told(server):
    return [line for line in server.said_since() if re.search(r" (warn|error) +[A-Z-]*(STORE|SEAL|CLEAN|EXPORT|VOLUME|SEGMENT)", line)]


def churn(server):
    """A hub that keeps little, so that there is something to clean."""
    server.said("hub", "create", "short", "--partitions", "1", "--retention-bytes", "100000")
    subprocess.Popen(
        f'i=0; while [ $i -lt 25 ]; do i=$((i+1)); head -c 400000 /dev/zero | tr "\\0" x | fold -w 20000 | '
        f'{BIN} send short --partition 0 --data {server.data}; done', shell=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def at_start(name, rule, founded):
    """Of a new directory, or of one that is there: refused with one line."""
    work = f"{WORK}/{name.replace(' ', '-')}"
    os.makedirs(work)
    server = FaultyServer(work, rule)
    if founded:
        server.start()
        server.end(signal.SIGKILL)
    server.set_faults(True)
    began = server.start()
    status = server.ended_within(10)
    lines = server.said_since()
    good = not began and status == 1 and any(server.data in line for line in lines[-2:])
    verdicts.say(f"{name}: refused by name with status 1", [] if good else [(began, status, short_of(lines))])
    server.learn = lambda: None
    after_restart(name, server, [])


LOADS = [
    ("log write EIO", "w:*/segments/0*.mdb:EIO:20", True),
    ("log sync EIO", "s:*/segments/0*.mdb:EIO:20", True),
    ("log write ENOSPC", "w:*/segments/0*.mdb:ENOSPC:20", True),
    ("new log EIO", "o:*/segments/0*.mdb:EIO:1", True),
    ("directory sync EIO", "s:*/segments:EIO:1", True),
    ("index write EIO", "w:*.idx*:EIO:1", True),
    ("index sync EIO", "s:*.idx*:EIO:1", True),
    ("index name EIO", "n:*.idx*:EIO:1", True),
    ("index write ENOSPC", "w:*.idx*:ENOSPC:1:6", False),
    ("state write EIO", "w:*/state/data.mdb:EIO:1", True),
    ("state sync EIO", "s:*/state/data.mdb:EIO:1", True),
    ("state write ENOSPC", "w:*/state/data.mdb:ENOSPC:1:6", False),
]
if HAS_EXPORTS:
    LOADS += [
        ("export write EIO", "w:*/export/*:EIO:1", True),
        ("export sync EIO", "s:*/export/*:EIO:1", True),
        ("export write ENOSPC", "w:*/export/*:ENOSPC:1:3", False),
    ]
if HAS_RETENTION:
    LOADS += [
        ("cleaned write EIO", "w:*/segments/c*:EIO:1", True),
        ("cleaned write ENOSPC", "w:*/segments/c*:ENOSPC:2:2", False),
        ("manifest write EIO", "w:*/MANIFEST*:EIO:1", True),
        ("manifest sync EIO", "s:*/MANIFEST*:EIO:1", True),
        ("manifest write ENOSPC", "w:*/MANIFEST*:ENOSPC:1:2", False),
    ]
STARTS = [
    ("founding VERSION EIO", "ws:*/VERSION*:EIO:1", False),
    ("founding log EIO", "w:*/segments/*:EIO:1", False),
    ("founding VERSION ENOSPC", "w:*/VERSION*:ENOSPC:1", False),
    ("recovery log sync EIO", "s:*/segments/*.mdb:EIO:1", True),
    ("recovery directory sync EIO", "s:*/volume/segments:EIO:1", True),
]
for case in STARTS:
    if ONLY in case[0]:
        at_start(*case)
for case in LOADS:
    if ONLY in case[0]:
        under_load(*case)
if HAS_MORE_DIRS and ONLY in "second directory":
    under_load("second directory log sync EIO", "s:data1/volume/segments/0*.mdb:EIO:20", True, two=True)
    under_load("second directory log write EIO", "w:data1/volume/segments/0*.mdb:EIO:20", True, two=True)
sys.stdout.flush()
os._exit(1 if verdicts.failed else 0)
