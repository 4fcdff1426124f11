#!/usr/bin/python3
"""Peers that break the rules or stop half-way, frame by frame, against a
gateway. After each the gateway must still serve an honest client.

Takes SLUICE_CS, SLUICE_CA and SLUICE_HUB from the environment; SLUICE_SLOW=1 adds
the tests that wait for the limits' time. Prints "ok NAME" or "not ok NAME
reason" lines; exits 1 when one failed.
"""
import os
import random
import socket
import ssl
import struct
import time
import traceback
import urllib.parse

PARTS = dict(p.split("=", 1) for p in os.environ["SLUICE_CS"].split(";") if p)
HOST = urllib.parse.urlparse(PARTS["Endpoint"]).hostname
PORT = urllib.parse.urlparse(PARTS["Endpoint"]).port or 5671
NAME, KEY = PARTS["SharedAccessKeyName"], PARTS["SharedAccessKey"]
HUB = os.environ["SLUICE_HUB"]
SENDERS = int(os.environ.get("SLUICE_SENDERS", "200"))

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)


# ---- encoding -------------------------------------------------------------------

class Sym(str):
    pass


class Raw(bytes):
    pass


def enc(v):
    if v is None:
        return b"\x40"
    if isinstance(v, Raw):
        return bytes(v)
    if isinstance(v, bool):
        return b"\x41" if v else b"\x42"
    if isinstance(v, int):
        return b"\x70" + struct.pack(">I", v)
    if isinstance(v, Sym):
        b = v.encode()
        return b"\xb3" + struct.pack(">I", len(b)) + b
    if isinstance(v, str):
        b = v.encode()
        return b"\xb1" + struct.pack(">I", len(b)) + b
    if isinstance(v, bytes):
        return b"\xb0" + struct.pack(">I", len(v)) + v
    if isinstance(v, list):
        b = b"".join(map(enc, v))
        return b"\xd0" + struct.pack(">II", len(b) + 4, len(v)) + b
    raise TypeError(v)


def described(code, fields):
    return Raw(b"\x00\x53" + bytes([code]) + enc(fields))


def frame(code, fields, channel=0, payload=b"", kind=0):
    body = described(code, fields) + payload
    return struct.pack(">IBBH", len(body) + 8, 2, kind, channel) + body


def ubyte(n):
    return Raw(b"\x50" + bytes([n]))


def source(address):
    return described(0x28, [address])


def target(address):
    return described(0x29, [address])


def attach(name, handle, address, receiver=False, channel=0, properties=None):
    return frame(ATTACH, [name, handle, receiver, ubyte(2), ubyte(0),
                          source(address if receiver else "c"), target("c" if receiver else address),
                          None, None, None if receiver else 0, None, None, None, properties], channel)


def transfer(handle, delivery, payload, more=False, channel=0, settled=False, has_id=True):
    return frame(TRANSFER, [handle, delivery if has_id else None, struct.pack(">I", delivery) if has_id else None,
                            0, settled, more], channel, payload)


def event(body=b"x"):
    return b"\x00\x53\x75" + enc(body)


HEADER = b"AMQP\x00\x01\x00\x00"
SASL = b"AMQP\x03\x01\x00\x00"


class Peer:
    def __init__(self, plain=True, login=True, timeout=10):
        s = socket.create_connection((HOST, PORT), timeout=timeout)
        ctx = ssl.create_default_context(cafile=os.environ["SLUICE_CA"])
        ctx.check_hostname = False
        self.s = ctx.wrap_socket(s)
        self.buffer = b""
        if not plain:
            return
        init = "PLAIN" if login else "ANONYMOUS"
        response = ("\0%s\0%s" % (NAME, KEY)).encode() if login else b""
        self.send(SASL + frame(0x41, [Sym(init), response, HOST], kind=1))
        self.send(HEADER + frame(OPEN, ["hostile", HOST]))

    def send(self, data):
        self.s.sendall(data)

    def frames(self, until=None, timeout=10):
        """Performative codes and payloads as they come; ends at close."""
        end = time.time() + timeout
        while time.time() < end:
            while len(self.buffer) >= 8:
                if self.buffer[:4] == b"AMQP":
                    self.buffer = self.buffer[8:]
                    continue
                n = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) < n:
                    break
                f, self.buffer = self.buffer[:n], self.buffer[n:]
                if n > 8:
                    code = f[10]
                    yield code, f
                    if code == until:
                        return
            self.s.settimeout(max(0.1, end - time.time()))
            try:
                data = self.s.recv(65536)
            except (TimeoutError, socket.timeout):
                return
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                yield None, b""
                return
            self.buffer += data

    def expect(self, code, timeout=10):
        for c, f in self.frames(until=code, timeout=timeout):
            if c == code:
                return f
        raise AssertionError("no frame %s in time" % (hex(code) if code else "end"))

    def closed_with(self, text, timeout=10):
        f = self.expect(CLOSE, timeout)
        assert text.encode() in f, f

    def session(self, channel=0):
        self.send(frame(BEGIN, [None, 0, 2048, 2048], channel))

    def sender(self, address=None, handle=0, name="s"):
        self.send(attach(name, handle, address or HUB))
        self.expect(FLOW)

    def close(self):
        self.s.close()


def is_alive():
    p = Peer()
    p.session()
    p.sender()
    p.send(transfer(0, 0, event()))
    f = p.expect(DISPOSITION)
    assert b"\x00\x53\x24" in f, f
    p.close()


# ---- tests ------------------------------------------------------------------------

def test_first_transfer_without_delivery_id():
    p = Peer()
    p.session()
    p.sender()
    p.send(transfer(0, 0, event(), more=True, has_id=False))
    p.closed_with("no delivery-id")


def test_transfer_with_a_field_of_the_wrong_type():
    """Two decoders must not read it differently."""
    for at in (0, 1, 3, 4, 5, 9):
        p = Peer()
        p.session()
        p.sender()
        fields = [0, 0, b"tag", 0, False, True, None, None, None, False]
        fields[at] = "text"
        p.send(frame(TRANSFER, fields, payload=event()))
        p.send(frame(TRANSFER, [0, None, None, None, None, True], payload=event()))
        p.closed_with("TrackingId")
        p.close()


def test_begin_that_answers_nothing():
    p = Peer()
    p.session()
    p.expect(BEGIN)
    p.send(frame(BEGIN, [Raw(b"\x60\x00\x00"), 0, 9, 9], 1))
    p.closed_with("never sent")


def test_open_twice():
    p = Peer()
    p.send(frame(OPEN, ["again", HOST]))
    p.closed_with("open already")


def test_channel_taken_twice():
    p = Peer()
    p.session()
    p.session()
    p.closed_with("in use already")


def test_channel_above_the_limit():
    p = Peer()
    p.session(channel=5000)
    p.closed_with("channel-max")


def test_handle_taken_twice():
    p = Peer()
    p.session()
    p.sender()
    p.send(attach("other", 0, HUB))
    p.closed_with("in use already")


def test_deep_nesting():
    deep = Raw(b"\x45")
    for _ in range(3000):
        deep = Raw(enc([deep]))
    p = Peer()
    p.session()
    p.send(attach("deep", 0, HUB, properties=deep))
    p.closed_with("nested")


def test_more_than_the_credit():
    p = Peer()
    p.session()
    p.sender()
    p.send(b"".join(transfer(0, i, event(), settled=False) for i in range(3000)))
    f = p.expect(DETACH)
    assert b"transfer-limit-exceeded" in f, f


def test_frame_too_large():
    p = Peer()
    p.send(struct.pack(">IBBH", 1 << 20, 2, 0, 0))
    p.closed_with("framing-error")


def test_not_amqp():
    p = Peer(plain=False)
    p.send(b"GET / HTTP/1.1\r\n\r\n")
    for _ in p.frames(timeout=10):
        pass


def test_unauthorised_bytes():
    p = Peer(login=False)
    p.session()
    try:
        for _ in range(100):
            p.send(frame(FLOW, [0, 2048, 0, 2048]) * 50)
            time.sleep(0.01)
    except OSError:
        return
    p.closed_with("without authorising")


def test_unauthorised_links():
    p = Peer(login=False)
    p.session()
    for i in range(20):
        p.send(attach("l%d" % i, i, HUB))
    p.closed_with("Too many links")


def test_tiny_transfers_that_are_rejected():
    """Rejections must not pile up when the peer does not read."""
    p = Peer(timeout=5)
    p.session()
    p.sender()
    junk = b"\x00\x53\x75\xff"
    sent = 0
    try:
        for i in range(200):
            p.send(transfer(0, i, junk))
            sent += 1
    except (OSError, TimeoutError):
        pass
    assert sent == 200


def test_senders_that_stop_in_the_middle():
    peers = []
    for n in range(SENDERS):
        p = Peer(timeout=30)
        p.session()
        p.sender()
        p.send(b"".join(transfer(0, 0, b"\x00" * 60000, more=True) for _ in range(1 + n % 8)))
        peers.append(p)
    is_alive()
    begun = time.time()
    p = Peer()
    p.session()
    p.sender()
    big = event(b"y" * 900000)
    while time.time() < begun + 15:
        for i in range(0, len(big), 60000):
            p.send(transfer(0, 0, big[i:i + 60000], more=i + 60000 < len(big), has_id=True))
        if b"\x00\x53\x24" in p.expect(DISPOSITION):
            break
        p.close()
        time.sleep(1)
        p = Peer()
        p.session()
        p.sender()
    else:
        raise AssertionError("large messages of others found no room")
    for p in peers:
        p.close()


def test_random_frames():
    rng = random.Random(int(os.environ.get("SLUICE_SEED", "1")))
    rounds = int(os.environ.get("SLUICE_FUZZ", "300"))
    for _ in range(rounds):
        p = Peer()
        script = [
            frame(BEGIN, [None, 0, 2048, 2048]),
            attach("s", 0, HUB), attach("r", 1, HUB + "/ConsumerGroups/$Default/Partitions/0", receiver=True),
            attach("c", 2, "$cbs"), attach("d", 3, "$cbs", receiver=True), attach("m", 4, "$management"),
            frame(FLOW, [0, 2048, 0, 2048, 1, 0, 10]), frame(FLOW, [0, 100, 0, 100, 1, 0, 0, 0, True]),
            transfer(0, 0, event()), transfer(0, 1, event(), more=True), transfer(0, 1, event(), has_id=False),
            transfer(2, 2, event()), transfer(4, 3, event()),
            frame(DISPOSITION, [True, 0, 5, True]), frame(DISPOSITION, [False, 0, 9, True]),
            frame(DETACH, [0, True]), frame(DETACH, [1, False]), attach("s", 0, HUB),
            transfer(0, 4, event(), settled=True), frame(END, [None]), frame(BEGIN, [None, 0, 9, 9]),
            frame(CLOSE, []),
        ]
        for _ in range(rng.randrange(1, 5)):
            i = rng.randrange(len(script))
            what = rng.randrange(5)
            f = bytearray(script[i])
            if what == 0:
                del script[i]
            elif what == 1:
                script.insert(rng.randrange(len(script)), bytes(f))
            elif what == 2:
                j = rng.randrange(len(script))
                script[i], script[j] = script[j], script[i]
            elif what == 3:
                f[rng.randrange(8, len(f))] = rng.randrange(256)
                script[i] = bytes(f)
            else:
                f[rng.randrange(4, len(f))] ^= 1 << rng.randrange(8)
                script[i] = bytes(f)
        # Transfers wait for the answer to begin, or all of them were violations.
        first = [i for i, f in enumerate(script) if len(f) > 10 and f[10] == TRANSFER]
        first = first[0] if first else len(script)
        data = b"".join(script[first:])
        cut = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)
        try:
            p.send(b"".join(script[:first]))
            for _ in p.frames(until=ATTACH, timeout=0.05):
                pass
            p.send(data[:cut])
            if rng.random() < 0.5:
                for _ in p.frames(timeout=0.02):
                    pass
        except OSError:
            pass
        p.close()


def slow_unauthorised_time():
    p = Peer(login=False)
    begun = time.time()
    p.closed_with("20 seconds", timeout=30)
    assert 18 < time.time() - begun < 25, time.time() - begun


def slow_partial_delivery_is_dropped():
    p = Peer()
    p.session()
    p.sender()
    p.send(transfer(0, 0, b"\x00" * 1000, more=True))
    begun = time.time()
    f = p.expect(DETACH, timeout=80)
    assert b"detach-forced" in f and 55 < time.time() - begun < 70, (f, time.time() - begun)


def main():
    failed = 0
    only = os.environ.get("SLUICE_ONLY", "")
    kinds = ("test_", "slow_") if os.environ.get("SLUICE_SLOW") else ("test_",)
    for name, fn in sorted(globals().items()):
        if not name.startswith(kinds) or only not in name:
            continue
        try:
            fn()
            is_alive()
            print("ok", name[5:], flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print("not ok", name[5:], type(e).__name__, str(e).replace("\n", " ")[:400], flush=True)
            if os.environ.get("SLUICE_TRACE"):
                traceback.print_exc()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
