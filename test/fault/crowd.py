"""Many bad clients at once, written on bare sockets; see crowd.sh."""
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import time

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


# ---- AMQP by hand (AMQP 1.0 part 1 and 2) ---------------------------------
def sym(s):
    return b"\xa3" + bytes([len(s)]) + s.encode()


def string(s):
    return b"\xa1" + bytes([len(s)]) + s.encode()


def binary(b):
    return b"\xa0" + bytes([len(b)]) + b


def described(code, fields):
    body = b"".join(fields)
    return b"\x00\x53" + bytes([code]) + b"\xd0" + struct.pack(">II", len(body) + 4, len(fields)) + body


def frame(body, channel=0, kind=0):
    return struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body


NULL = b"\x40"
uint = lambda v: b"\x70" + struct.pack(">I", v)


def stuck_sender(i, sent_bytes):
    host, port = AMQP.split(":")
    s = socket.create_connection((host, int(port)), timeout=20)
    plain = b"\0RootManageSharedAccessKey\0" + KEY.encode()
    s.sendall(b"AMQP\x03\x01\x00\x00" + frame(described(0x41, [sym("PLAIN"), binary(plain)]), kind=1))
    s.sendall(b"AMQP\x00\x01\x00\x00" + frame(described(0x10, [string(f"stuck{i}"), string("localhost")])))
    s.sendall(frame(described(0x11, [NULL, uint(0), uint(2048), uint(2048)])))
    target = described(0x29, [string("crowd/Partitions/0")])
    source = described(0x28, [string("x")])
    s.sendall(frame(described(0x12, [string(f"l{i}"), uint(0), b"\x42", NULL, NULL, source, target, NULL, NULL, uint(0)])))
    deadline, got = time.time() + 20, b""
    while b"\x53\x13" not in got and time.time() < deadline:  # a flow: credit has come
        got += s.recv(65536)
    first = described(0x14, [uint(0), uint(0), binary(b"t"), uint(0), b"\x42", b"\x41"])  # more = true
    chunk = b"\x00\x53\x75\xb0" + struct.pack(">I", 900000)
    s.sendall(frame(first + chunk + b"x" * 60000))
    left = sent_bytes - 60000
    while left > 0:
        s.sendall(frame(described(0x14, [uint(0), NULL, NULL, NULL, NULL, b"\x41"]) + b"x" * 60000))
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
