"""A generic AMQP 1.0 client: python-qpid-proton with SASL PLAIN over TLS."""
import time
import uuid

from proton import Message, SSLDomain, symbol, timestamp, ulong, int32, Described, float32
from proton.utils import BlockingConnection, LinkDetached, SendException
from proton.reactor import Filter

from lib import ADDRESS, CA, CS, finish, test

KEY = [x.split("=", 1)[1] for x in CS.split(";") if x.startswith("SharedAccessKey=")][0]
HUB = "py-proton"


def connect(key=KEY):
    tls = SSLDomain(SSLDomain.MODE_CLIENT)
    tls.set_trusted_ca_db(CA)
    tls.set_peer_authentication(SSLDomain.VERIFY_PEER)
    return BlockingConnection(f"amqps://{ADDRESS}:5671", user="RootManageSharedAccessKey", password=key,
                              ssl_domain=tls, allowed_mechs="PLAIN", timeout=20)


SOURCE = HUB + "/ConsumerGroups/$Default/Partitions/{}"


@test("send with SASL PLAIN and read back, every type unchanged")
def _():
    props = {"i": int32(-5), "u": ulong(2 ** 63), "s": "ü", "b": b"\x00", "f": float32(0.5), "d": 1.25,
             "t": timestamp(1700000000123), "id": uuid.UUID(int=7), "sym": symbol("x"), "n": None, "y": True}
    body = {"list": [1, "two", None], "described": Described(symbol("d"), "v")}
    c = connect()
    c.create_sender(HUB + "/Partitions/0").send(
        Message(body=body, properties=props, id=uuid.UUID(int=9), subject="s", user_id=b"me"))
    r = c.create_receiver(SOURCE.format(0), credit=5)
    m = r.receive(timeout=15)
    assert m.body == body, m.body
    assert m.properties == props, m.properties
    assert m.id == uuid.UUID(int=9) and m.subject == "s" and m.user_id == b"me"
    assert m.annotations["x-opt-sequence-number"] == 0 and m.annotations["x-opt-offset"] == "0"
    c.close()


@test("a thousand single events in order")
def _():
    c = connect()
    s = c.create_sender(HUB + "/Partitions/1")
    for i in range(1000):
        s.link.send(Message(body=i))
        if i % 100 == 99:
            c.wait(lambda: s.link.unsettled == 0 or s.link.credit > 50, timeout=15)
    c.wait(lambda: s.link.queued == 0, timeout=20)
    r = c.create_receiver(SOURCE.format(1), credit=100)
    got = []
    while len(got) < 1000:
        got.append(r.receive(timeout=15).body)
        r.flow(1)
    assert got == list(range(1000))
    c.close()


@test("a filter by sequence number")
def _():
    c = connect()
    f = Filter({symbol("apache.org:selector-filter:string"):
                Described(symbol("apache.org:selector-filter:string"),
                          "amqp.annotation.x-opt-sequence-number > '990'")})
    r = c.create_receiver(SOURCE.format(1), credit=5, options=f)
    assert r.receive(timeout=15).body == 991
    c.close()


@test("a wrong password is refused")
def _():
    try:
        connect("nope")
    except Exception as e:
        assert "auth" in str(e).lower(), e
    else:
        raise AssertionError("was allowed")


@test("an unknown hub is amqp:not-found")
def _():
    c = connect()
    try:
        c.create_sender("nowhere")
    except LinkDetached as e:
        assert "not-found" in str(e) or "not-found" in str(e.condition), e
    else:
        raise AssertionError("was allowed")
    c.close()


finish()
