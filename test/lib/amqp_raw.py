"""AMQP 1.0 written by hand, for clients that must misbehave or be very cheap
(AMQP 1.0 part 1 types, part 2 frames, part 5 SASL)."""
import socket
import ssl
import struct


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


def connect(address, key, name, ca=None):
    """A connection with one session and SASL PLAIN; TLS when `ca` is given."""
    host, port = address.split(":")
    s = socket.create_connection((host, int(port)), timeout=20)
    if ca:
        s = ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname="localhost")
    plain = b"\0RootManageSharedAccessKey\0" + key.encode()
    s.sendall(b"AMQP\x03\x01\x00\x00" + frame(described(0x41, [sym("PLAIN"), binary(plain)]), kind=1))
    s.sendall(b"AMQP\x00\x01\x00\x00" + frame(described(0x10, [string(name), string("localhost")])))
    s.sendall(frame(described(0x11, [NULL, uint(0), uint(2048), uint(2048)])))
    return s


def attach_sender(s, link, address):
    """Returns when credit has come."""
    target = described(0x29, [string(address)])
    source = described(0x28, [string("x")])
    s.sendall(frame(described(0x12, [string(link), uint(0), b"\x42", NULL, NULL, source, target, NULL, NULL, uint(0)])))
    got = b""
    while b"\x53\x13" not in got:  # a flow
        more = s.recv(65536)
        if not more:
            raise ConnectionError("closed before credit came")
        got += more


def transfer(payload, first=True, more=False):
    flag = b"\x41" if more else b"\x42"
    if first:
        return frame(described(0x14, [uint(0), uint(0), binary(b"t"), uint(0), b"\x42", flag]) + payload)
    return frame(described(0x14, [uint(0), NULL, NULL, NULL, NULL, flag]) + payload)
