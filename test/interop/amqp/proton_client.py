#!/usr/bin/python3
"""A generic AMQP 1.0 client (Qpid Proton) against a gateway: what any AMQP
library can do without a Microsoft SDK.

Takes SLUICE_CS, SLUICE_CA and SLUICE_HUB from the environment. Prints
"ok NAME" or "not ok NAME reason" lines; exits 1 when one failed.
"""
import base64
import hashlib
import hmac
import os
import threading
import time
import traceback
import urllib.parse
import uuid

from proton import (ConnectionException, Delivery, Described, LinkException, Message, SSLDomain,
                    symbol, ulong)
from proton.reactor import AtMostOnce, Filter, LinkOption
from proton.utils import BlockingConnection, LinkDetached, SendException

PARTS = dict(p.split("=", 1) for p in os.environ["SLUICE_CS"].split(";") if p)
HOST = urllib.parse.urlparse(PARTS["Endpoint"]).hostname
PORT = urllib.parse.urlparse(PARTS["Endpoint"]).port or 5671
NAME, KEY = PARTS["SharedAccessKeyName"], PARTS["SharedAccessKey"]
HUB = os.environ["SLUICE_HUB"]
P0 = HUB + "/ConsumerGroups/$Default/Partitions/0"


def connect(user=NAME, password=KEY, mechs="PLAIN"):
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(os.environ["SLUICE_CA"])
    domain.set_peer_authentication(SSLDomain.ANONYMOUS_PEER)
    return BlockingConnection("amqps://%s:%d" % (HOST, PORT), timeout=15, ssl_domain=domain,
                              user=user, password=password, allowed_mechs=mechs)


def token(resource, ttl=3600, name=NAME, key=KEY):
    sr = urllib.parse.quote_plus(resource)
    se = str(int(time.time() + ttl))
    sig = base64.b64encode(hmac.new(key.encode(), (sr + "\n" + se).encode(), hashlib.sha256).digest())
    return "SharedAccessSignature sr=%s&sig=%s&se=%s&skn=%s" % (
        sr, urllib.parse.quote_plus(sig), se, name)


class Node:
    """A request/response node over a pair of links with a dynamic reply address."""

    def __init__(self, conn, address):
        self.sender = conn.create_sender(address, name=str(uuid.uuid4()))
        self.receiver = conn.create_receiver(None, dynamic=True, credit=10, name=str(uuid.uuid4()))
        self.reply_to = self.receiver.link.remote_source.address

    def ask(self, properties, body, ident=None):
        ident = str(uuid.uuid4()) if ident is None else ident
        self.sender.send(Message(id=ident, reply_to=self.reply_to, properties=properties, body=body))
        reply = self.receiver.receive(timeout=10)
        assert reply.correlation_id == ident, (reply.correlation_id, ident)
        assert isinstance(ident, type(reply.correlation_id)), reply.correlation_id
        return reply


def put_token(node, audience, text, **kw):
    return node.ask({"operation": "put-token", "type": "servicebus.windows.net:sastoken",
                     "name": audience}, text, **kw)


class StartAt(Filter):
    def __init__(self, expression):
        name = symbol("apache.org:selector-filter:string")
        super().__init__({name: Described(name, expression)})


class Epoch(LinkOption):
    def __init__(self, epoch, name=None):
        self.properties = {symbol("com.microsoft:epoch"): epoch}
        if name:
            self.properties[symbol("com.microsoft:receiver-name")] = name

    def apply(self, link):
        from proton import Data
        import cproton
        data = Data(cproton.pn_link_properties(link._impl))
        data.clear()
        data.put_dict(self.properties)


def last_sequence(conn, partition="0"):
    reply = Node(conn, "$management").ask(
        {"operation": "READ", "type": "com.microsoft:partition", "name": HUB,
         "partition": partition}, b"[]")
    assert reply.properties["status-code"] == 200, reply.properties
    return reply.body["last_enqueued_sequence_number"]


def read_from(conn, sequence, count, **kw):
    r = conn.create_receiver(P0, credit=count, name=str(uuid.uuid4()), options=[
        StartAt("amqp.annotation.x-opt-sequence-number > '%d'" % sequence)], **kw)
    got = []
    while len(got) < count:
        got.append(r.receive(timeout=10))
    r.close()
    return got


def refusal(fn):
    try:
        fn()
    except LinkDetached as e:
        return e.condition, str(e)
    except (SendException, ConnectionException, LinkException) as e:
        return type(e).__name__, str(e)
    raise AssertionError("no error")


def test_plain_login_sends_and_receives():
    c = connect()
    seq = last_sequence(c)
    s = c.create_sender(HUB + "/Partitions/0")
    for i in range(50):
        s.send(Message(body="event %d" % i, id=i, properties={"n": i}))
    got = read_from(c, seq, 50)
    assert [m.body for m in got] == ["event %d" % i for i in range(50)]
    assert [m.properties["n"] for m in got] == list(range(50))
    a = got[0].annotations
    assert a["x-opt-sequence-number"] == seq + 1 and a["x-opt-offset"] == str(seq + 1), a
    assert "x-opt-enqueued-time" in a, a
    c.close()


def test_wrong_password_is_refused():
    try:
        connect(password="wrong").close()
    except ConnectionException as e:
        assert "uthentication" in str(e), e
        return
    raise AssertionError("let in")


def test_anonymous_without_token_may_not_attach():
    for mech in ("ANONYMOUS",):
        c = connect(user=None, password=None, mechs=mech)
        for address in (HUB, "nosuchhub", HUB + "/Partitions/99"):
            condition, text = refusal(lambda: c.create_sender(address))
            assert condition == "amqp:unauthorized-access", (address, condition, text)
            assert "'Send' claim(s) are required" in text and "TrackingId:" in text, text
        condition, text = refusal(lambda: c.create_receiver(P0))
        assert condition == "amqp:unauthorized-access" and "'Listen'" in text, text
        c.close()


def test_token_opens_the_way():
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    node = Node(c, "$cbs")
    audience = "sb://%s/%s" % (HOST, HUB)
    reply = put_token(node, audience, token(audience))
    assert reply.properties["status-code"] == 202, reply.properties
    assert reply.properties["status-description"] == "Accepted", reply.properties
    c.create_sender(HUB).send(Message(body="x"))
    c.create_receiver(P0).close()
    c.close()


def test_correlation_keeps_the_type():
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    node = Node(c, "$cbs")
    audience = "sb://%s/%s" % (HOST, HUB)
    for ident in ("text", ulong(0), ulong(2**40), uuid.uuid4()):
        assert put_token(node, audience, token(audience), ident=ident).properties["status-code"] == 202
    c.close()


def test_bad_tokens_are_401():
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    node = Node(c, "$cbs")
    audience = "sb://%s/%s" % (HOST, HUB)
    for what, text in {
            "InvalidSignature": token(audience, key="wrong"),
            "ExpiredToken": token(audience, ttl=-100),
            "MalformedToken": "SharedAccessSignature nonsense",
            "InvalidToken": "aaaa.bbbb.cccc",
            "InvalidAudience": token("sb://%s/otherhub" % HOST),
    }.items():
        reply = put_token(node, audience, text)
        assert reply.properties["status-code"] == 401, (what, reply.properties)
        assert what in reply.properties["status-description"], (what, reply.properties)
        assert "error-condition" not in reply.properties, reply.properties
        assert "TrackingId:" in reply.properties["status-description"], reply.properties
    missing = "sb://%s/nosuchhub" % HOST
    assert put_token(node, missing, token(missing)).properties["status-code"] == 404
    assert put_token(node, missing, token(missing, key="wrong")).properties["status-code"] == 401
    assert node.ask({"operation": "put-token"}, "x").properties["status-code"] == 400
    assert node.ask({"operation": "nonsense"}, "x").properties["status-code"] == 400
    assert node.ask({"operation": "put-token", "name": audience}, None).properties["status-code"] == 400
    c.close()


def test_second_cbs_link_is_refused():
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    c.create_sender("$cbs", name="first")
    condition, text = refusal(lambda: c.create_sender("$cbs", name="second"))
    assert condition == "amqp:not-allowed" and "$cbs node has already been opened" in text, text
    c.close()


def test_expired_token_detaches_its_links():
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    node = Node(c, "$cbs")
    audience = "sb://%s/%s" % (HOST, HUB)
    assert put_token(node, audience, token(audience, ttl=3)).properties["status-code"] == 202
    s = c.create_sender(HUB)
    s.send(Message(body="in time"))

    def later():
        for _ in range(20):
            time.sleep(0.5)
            s.send(Message(body="late"))

    condition, text = refusal(later)
    assert condition == "amqp:unauthorized-access" and "'Send' claim(s)" in text, (condition, text)
    # The connection stays; a new token opens it again.
    assert put_token(node, audience, token(audience)).properties["status-code"] == 202
    c.create_sender(HUB, name="again").send(Message(body="x"))
    c.close()


def test_token_renewed_in_time_keeps_links():
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    node = Node(c, "$cbs")
    audience = "sb://%s/%s" % (HOST, HUB)
    put_token(node, audience, token(audience, ttl=3))
    s = c.create_sender(HUB)
    put_token(node, audience, token(audience, ttl=100))
    for _ in range(10):
        time.sleep(0.5)
        s.send(Message(body="x"))
    c.close()


def test_management_errors():
    c = connect()
    node = Node(c, "$management")
    ask = lambda **kw: node.ask({k: v for k, v in kw.items()}, b"[]").properties  # noqa: E731
    hub = "com.microsoft:eventhub"
    assert ask(operation="READ", type=hub, name=HUB)["status-code"] == 200
    p = ask(operation="READ", type=hub, name="nosuchhub")
    assert (p["status-code"], p["error-condition"]) == (404, "amqp:not-found"), p
    p = ask(operation="DELETE", type=hub, name=HUB)
    assert (p["status-code"], p["error-condition"]) == (400, "amqp:not-allowed"), p
    p = ask(operation="READ", type="com.microsoft:other", name=HUB)
    assert (p["status-code"], p["error-condition"]) == (501, "amqp:not-implemented"), p
    p = ask(operation="READ", type="com.microsoft:partition", name=HUB, partition="x")
    assert (p["status-code"], p["error-condition"]) == (400, "com.microsoft:argument-out-of-range"), p
    p = ask(operation="READ", type=hub)
    assert p["status-code"] == 400, p
    c.close()
    c = connect(user=None, password=None, mechs="ANONYMOUS")
    node = Node(c, "$management")
    p = node.ask({"operation": "READ", "type": hub, "name": HUB}, None).properties
    assert (p["status-code"], p["error-condition"]) == (401, "amqp:unauthorized-access"), p
    p = node.ask({"operation": "READ", "type": hub, "name": HUB,
                  "security_token": token("sb://%s/%s" % (HOST, HUB))}, None).properties
    assert p["status-code"] == 200, p
    c.close()


def test_unknown_entities():
    c = connect()
    condition, text = refusal(lambda: c.create_sender("nosuchhub"))
    assert condition == "amqp:not-found" and "could not be found" in text, text
    condition, text = refusal(lambda: c.create_receiver(HUB + "/ConsumerGroups/nosuch/Partitions/0"))
    assert condition == "amqp:not-found", text
    condition, text = refusal(lambda: c.create_sender(HUB + "/Partitions/99"))
    assert condition == "com.microsoft:argument-out-of-range", text
    condition, text = refusal(lambda: c.create_receiver(P0, options=[StartAt("nonsense")]))
    assert condition == "com.microsoft:argument-error", text
    condition, text = refusal(lambda: c.create_receiver(HUB))
    assert condition == "amqp:not-allowed", text
    c.close()


def test_presettled_events_are_stored():
    c = connect()
    seq = last_sequence(c)
    s = c.create_sender(HUB + "/Partitions/0", options=[AtMostOnce()])
    for i in range(30):
        s.link.send(Message(body="fire %d" % i))
    got = read_from(c, seq, 30)
    assert [m.body for m in got] == ["fire %d" % i for i in range(30)]
    c.close()


def test_publisher_forces_the_key():
    c = connect()
    ids = Node(c, "$management").ask({"operation": "READ", "type": "com.microsoft:eventhub",
                                      "name": HUB}, b"").body["partition_ids"]
    before = {i: last_sequence(c, i) for i in ids}
    s = c.create_sender(HUB + "/Publishers/device-7")
    for _ in range(3):
        s.send(Message(body="p", annotations={symbol("x-opt-partition-key"): "other"}))
    after = {i: last_sequence(c, i) for i in ids}
    grown = [i for i in ids if after[i] != before[i]]
    assert len(grown) == 1, (before, after)
    r = c.create_receiver(HUB + "/ConsumerGroups/$Default/Partitions/" + grown[0], credit=1, options=[
        StartAt("amqp.annotation.x-opt-sequence-number > '%d'" % before[grown[0]])])
    m = r.receive(timeout=10)
    assert m.annotations["x-opt-partition-key"] == "device-7", m.annotations
    c.close()


def test_too_large_is_rejected_and_the_link_stays():
    c = connect()
    s = c.create_sender(HUB)
    assert s.link.remote_max_message_size == 1 << 20, s.link.remote_max_message_size
    d = s.link.send(Message(body=b"x" * (2 << 20)))
    c.wait(lambda: d.settled, timeout=15)
    assert d.remote_state == Delivery.REJECTED, d.remote_state
    assert d.remote.condition.name == "amqp:link:message-size-exceeded", d.remote.condition
    assert "1048576" in d.remote.condition.description, d.remote.condition
    d.settle()
    s.send(Message(body="small"))
    c.close()


def test_malformed_message_is_rejected_and_the_link_stays():
    c = connect()
    s = c.create_sender(HUB)
    d = s.link.delivery("bad")
    s.link.stream(b"\x00\x53\x75\xa0\x05abc")
    s.link.advance()
    c.wait(lambda: d.settled, timeout=15)
    assert d.remote_state == Delivery.REJECTED, d.remote_state
    assert d.remote.condition.name == "amqp:decode-error", d.remote.condition
    d.settle()
    s.send(Message(body="good"))
    c.close()


def test_aborted_delivery_leaves_nothing():
    c = connect()
    seq = last_sequence(c)
    s = c.create_sender(HUB + "/Partitions/0")
    d = s.link.delivery("aborted")
    s.link.stream(b"\x00" * 200000)
    c.wait(lambda: s.link.session.outgoing_bytes == 0, timeout=5)
    d.abort()
    s.send(Message(body="after"))
    assert last_sequence(c) == seq + 1
    c.close()


def test_big_events_pass_in_pieces():
    c = connect()
    seq = last_sequence(c)
    s = c.create_sender(HUB + "/Partitions/0")
    bodies = [os.urandom(n) for n in (65000, 65536, 100000, 1000000)]
    for b in bodies:
        s.send(Message(body=b))
    got = read_from(c, seq, len(bodies))
    assert [bytes(m.body) for m in got] == bodies
    c.close()


def test_credit_is_honoured_and_drained():
    c = connect()
    seq = last_sequence(c)
    s = c.create_sender(HUB + "/Partitions/0")
    for i in range(10):
        s.send(Message(body="%d" % i))
    r = c.create_receiver(P0, credit=3, options=[
        StartAt("amqp.annotation.x-opt-sequence-number > '%d'" % seq)])
    r.link.flow(0)
    for i in range(3):
        assert r.receive(timeout=10).body == "%d" % i
    # BlockingReceiver tops up by one before each receive; what was granted came.
    r.link.drain(100)
    c.wait(lambda: not r.link.draining(), timeout=10)
    assert r.link.credit == r.link.queued, (r.link.credit, r.link.queued)
    c.close()


def test_owner_levels():
    c = connect()
    low = c.create_receiver(P0, credit=1, name="low", options=[Epoch(3, "low"),
                            StartAt("amqp.annotation.x-opt-offset > '@latest'")])
    d = connect()
    high = d.create_receiver(P0, credit=1, name="high", options=[Epoch(4, "high"),
                             StartAt("amqp.annotation.x-opt-offset > '@latest'")])
    condition, text = refusal(lambda: low.receive(timeout=10))
    assert condition == "amqp:link:stolen" and "'high'" in text and "'low'" in text, (condition, text)
    condition, text = refusal(lambda: c.create_receiver(P0, name="lower", options=[Epoch(2)]))
    assert condition == "amqp:link:stolen", (condition, text)
    condition, text = refusal(lambda: c.create_receiver(P0, name="none"))
    assert condition == "amqp:link:stolen", (condition, text)
    high.close()
    c.create_receiver(P0, name="now").close()
    c.close()
    d.close()


def test_sixth_reader_is_refused():
    c = connect()
    p = HUB + "/ConsumerGroups/$Default/Partitions/1"
    for i in range(5):
        c.create_receiver(p, name="r%d" % i)
    condition, text = refusal(lambda: c.create_receiver(p, name="r5"))
    assert condition == "amqp:resource-limit-exceeded" and "5" in text, (condition, text)
    c.close()


def test_link_without_address_is_refused():
    c = connect()
    condition, text = refusal(lambda: c.create_sender(None))
    assert condition == "com.microsoft:argument-error", (condition, text)
    c.close()


def test_many_connections_send_at_once():
    errors = []

    def one(n):
        try:
            c = connect()
            s = c.create_sender(HUB)
            for i in range(20):
                s.send(Message(body="%d-%d" % (n, i)))
            c.close()
        except Exception as e:  # pylint: disable=broad-except
            errors.append(e)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


def main():
    failed = 0
    only = os.environ.get("SLUICE_ONLY", "")
    for name, fn in sorted(globals().items()):
        if not name.startswith("test_") or only not in name:
            continue
        try:
            fn()
            print("ok", name[5:], flush=True)
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print("not ok", name[5:], type(e).__name__, str(e).replace("\n", " ")[:400], flush=True)
            if os.environ.get("SLUICE_TRACE"):
                traceback.print_exc()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
