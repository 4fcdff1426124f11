"""Many bad clients at once, written on bare sockets; see crowd.sh."""
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import amqp_raw  # noqa: E402

PID, AMQP, AMQPS, BIN, DATA = sys.argv[1:6]
KEY = re.search(r"SharedAccessKey=([^;]*)", os.environ["SLUICE_CS"]).group(1)
N = 1000
failed = False
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))


def verdict(name, good, why=""):
    global failed
    failed |= not good
    print(f"{'ok' if good else 'not ok'} {name} {why if not good else ''}", flush=True)


def rss_kb():
    text = open(f"/proc/{PID}/status").read()
    return int(re.search(r"RssAnon:\s+(\d+)", text).group(1))


def stuck_sender(i, sent_bytes):
    s = amqp_raw.connect(AMQP, KEY, f"stuck{i}")
    amqp_raw.attach_sender(s, f"l{i}", "crowd/Partitions/0")
    head = b"\x00\x53\x75\xb0" + struct.pack(">I", 900000)
    s.sendall(amqp_raw.transfer(head + b"x" * 60000, more=True))
    left = sent_bytes - 60000
    while left > 0:
        s.sendall(amqp_raw.transfer(b"x" * 60000, first=False, more=True))
        left -= 60000
    return s


def good_client():
    began = time.time()
    out = subprocess.run([BIN, "send", "crowd", "--partition", "1", "--data", DATA], input=b"hello\n" * 100,
                         capture_output=True, timeout=60)
    return out.returncode == 0, time.time() - began, out.stderr.decode()[-200:]


good, took, why = good_client()
verdict("a good client sends", good, why)
base = rss_kb()

half = []
for i in range(N):
    host, port = (AMQP if i % 2 else AMQPS).split(":")
    c = socket.create_connection((host, int(port)), timeout=20)
    if i % 4 == 1:
        c.sendall(b"AMQP\x03")
    if i % 4 == 2:
        c.sendall(b"\x16\x03\x01")
    half.append(c)
time.sleep(1)
after_half = rss_kb()
verdict("a thousand half-open connections cost less than 60 KB each", after_half - base < N * 60, f"{after_half - base} kB")
good, took, why = good_client()
verdict("a good client is served meanwhile", good and took < 10, f"{took:.1f} s {why}")

senders, refused = [], 0
for i in range(N):
    try:
        senders.append(stuck_sender(i, 120000))
    except OSError:
        refused += 1
time.sleep(1)
held = rss_kb()
# 64 MiB of message bytes, and the connections themselves.
verdict("a thousand senders stopped in a message stay within the budget", held - base < 64 * 1024 + N * 60 + N * 60,
        f"{held - base} kB, {refused} refused")
verdict("they were let in", refused < N // 10, f"{refused} refused")
gone = 0
for s in senders:
    s.setblocking(False)
    try:
        while s.recv(4096):
            pass
        gone += 1
    except BlockingIOError:
        pass
    except OSError:
        gone += 1
verdict("and are not cut off at once", gone == 0, f"{gone} of {len(senders)}")
good, took, why = good_client()
verdict("a good client is served among them", good and took < 15, f"{took:.1f} s {why}")
time.sleep(22)
closed = 0
for c in half:
    c.settimeout(0.01)
    try:
        while True:
            if not c.recv(4096):
                closed += 1
                break
    except socket.timeout:
        pass
    except OSError:
        closed += 1
verdict("half-open connections are closed after 20 s", closed >= N * 0.99, f"{closed} of {N}")
for s in senders:
    s.close()
time.sleep(1.5)
good, took, why = good_client()
verdict("a good client is served afterwards", good, why)
verdict("the process is alive", os.path.exists(f"/proc/{PID}"))
print(f"anonymous memory: start {base} kB, half-open {after_half} kB, stuck senders {held} kB, end {rss_kb()} kB")
sys.exit(1 if failed else 0)
