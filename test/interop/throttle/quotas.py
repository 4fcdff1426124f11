#!/usr/bin/python3
"""What else is bounded, and what clients are told at it. The server has --max-connections
16, --max-links 4, --management-rate 5, --max-hubs 3, --max-partitions 4,
--max-consumer-groups 2."""
import json
import subprocess
import threading
import time
import uuid

from azure.eventhub.exceptions import EventHubError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from proton import ConnectionException, Message
from proton.utils import LinkDetached

from bed import ENV, HTTPS, CA, Https, finish, kafka_options, metrics, proton_connect, sdk_producer, test


def refusal(fn):
    try:
        fn()
    except (LinkDetached, ConnectionException) as e:
        return str(e)
    raise AssertionError("no error")


def links():
    c = proton_connect()
    senders = [c.create_sender("quotas", name="link-%d" % i) for i in range(4)]
    text = refusal(lambda: c.create_sender("quotas", name="link-4"))
    assert "resource-limit-exceeded" in text and "quota of 4 links" in text, text
    senders[0].close()
    time.sleep(0.2)
    c.create_sender("quotas", name="link-5").send(Message(body="goes on"))
    c.close()


def ask(conn, n):
    """The answers of $management to n questions."""
    sender = conn.create_sender("$management", name=str(uuid.uuid4()))
    receiver = conn.create_receiver(None, dynamic=True, credit=n, name=str(uuid.uuid4()))
    try:
        return answers(sender, receiver, n)
    finally:
        sender.close()
        receiver.close()


def answers(sender, receiver, n):
    to = receiver.link.remote_source.address
    out = []
    for i in range(n):
        sender.send(Message(id=str(i), reply_to=to, body=b"[]",
                            properties={"operation": "READ", "type": "com.microsoft:eventhub", "name": "quotas"}))
        out.append(receiver.receive(timeout=10).properties)
    return out


def management_amqp():
    c = proton_connect()
    got = ask(c, 30)
    good = [a for a in got if a["status-code"] == 200]
    busy = [a for a in got if a["status-code"] == 503]
    assert len(good) + len(busy) == 30 and good and busy, got
    assert busy[0]["error-condition"] == "com.microsoft:server-busy", busy[0]
    assert "50008" in busy[0]["status-description"], busy[0]
    c.close()


def management_sdk():
    """While somebody else asks all the time, the SDK sees why it is refused; and it tries
    again by itself until it gets through."""
    end = []

    def others():
        conn = proton_connect()
        while not end:
            ask(conn, 20)
        conn.close()

    thread = threading.Thread(target=others)
    thread.start()
    seen = None
    try:
        with sdk_producer("quotas", retry_total=0) as p:
            for _ in range(20):
                try:
                    p.get_eventhub_properties()
                except EventHubError as e:
                    seen = str(e)
                    break
    finally:
        end.append(True)
        thread.join()
    assert seen and "50008" in seen, seen
    with sdk_producer("quotas") as p:
        assert p.get_eventhub_properties()["partition_ids"] == ["0", "1"]


def management_https():
    c = Https()
    seen = None
    for _ in range(30):
        status, headers, text = c.ask("GET", "/$management/v1/hubs/quotas")
        assert status in (200, 503), (status, text)
        if status == 503:
            seen = headers, json.loads(text)["error"]
    assert seen, "never refused"
    assert int(seen[0]["retry-after"]) >= 1 and "50008" in seen[1]["message"] and seen[1]["code"] == "server-busy", seen
    status, _, _ = c.ask("GET", "/health/live")
    assert status == 200, status


def create(admin, name, partitions=1):
    return admin.create_topics([NewTopic(name, partitions, 1)])[name].result()


def code_of(fn):
    try:
        fn()
    except KafkaException as e:
        return e.args[0].code(), e.args[0].str()
    return 0, ""


def management_kafka():
    admin = AdminClient(kafka_options())
    seen = None
    for i in range(30):
        code, text = code_of(lambda: create(admin, "many-%d" % i))
        seen = (code, text) if code in (89, 7) else seen
    assert seen and "50008" in seen[1], seen
    for i in range(30):
        code_of(lambda: admin.delete_topics(["many-%d" % i])["many-%d" % i].result())


def later(fn, unless, limit=20):
    """Until what says that there were too many calls is over."""
    end = time.monotonic() + limit
    while True:
        out = fn()
        if not unless(out):
            return out
        assert time.monotonic() < end, out
        time.sleep(0.3)


def cli_error(*words):
    def once():
        run = subprocess.run([ENV["SLUICE_BIN"], *words, "--data", ENV["DATA"]], capture_output=True, text=True,
                             check=False)
        return run.returncode, run.stderr
    return later(once, lambda out: "50008" in out[1])


def entities():
    admin = AdminClient(kafka_options())
    while True:
        hubs = [h for h in list(admin.list_topics(timeout=10).topics) if h.startswith("many-")]
        if not hubs:
            break
        code_of(lambda: admin.delete_topics(hubs[:1])[hubs[0]].result())
        time.sleep(0.2)
    assert cli_error("hub", "create", "second", "--partitions", "4")[0] == 0
    status, text = cli_error("hub", "create", "third", "--partitions", "5")
    assert status == 1 and "4" in text and "partitions" in text, (status, text)
    assert cli_error("hub", "create", "third", "--partitions", "1")[0] == 0
    status, text = cli_error("hub", "create", "fourth", "--partitions", "1")
    assert status == 1 and "3" in text and "hubs" in text, (status, text)
    code, text = later(lambda: code_of(lambda: create(admin, "fourth")), lambda out: out[0] in (89, 7))
    assert code == 44 and "3" in text, (code, text)
    for group in ("one", "two"):
        assert cli_error("group", "create", "quotas", group)[0] == 0
    status, text = cli_error("group", "create", "quotas", "three")
    assert status == 1 and "2" in text and "groups" in text, (status, text)


def connections():
    import socket
    import ssl
    context = ssl.create_default_context(cafile=CA)
    host, port = HTTPS.split(":")
    time.sleep(0.5)
    taken = []
    while len(taken) < 20:
        s = socket.create_connection((host, int(port)))
        taken.append(context.wrap_socket(s, server_hostname=host))
    text = refusal(lambda: proton_connect().create_sender("quotas"))
    assert "resource-limit-exceeded" in text and "quota of 16 connections" in text, text
    status, headers, body = Https("quotas").post("quotas", "x")
    assert status == 403, (status, body)
    error = json.loads(body)["error"]
    assert error["code"] == "quota-exceeded" and "quota of 16 connections" in error["message"], error
    # Whoever watches the server sees it.
    assert metrics()["sluice_connections_active"] == 16
    admin = AdminClient(kafka_options())
    try:
        admin.list_topics(timeout=2)
        raise AssertionError("let in")
    except KafkaException:
        pass
    with open(ENV["SERVER_LOG"], encoding="utf-8") as f:
        log = f.read()
    assert "KAFKA-CONNECTION-QUOTA" in log and "NET-CONNECTIONS-FULL" in log
    for s in taken:
        s.close()
    end = time.monotonic() + 10
    while True:
        try:
            proton_connect().create_sender("quotas").close()
            break
        except ConnectionException:
            assert time.monotonic() < end, "it never lets anybody in again"
            time.sleep(0.2)


test("quotas: links of a connection", links)
test("quotas: management calls over AMQP", management_amqp)
test("quotas: management calls by the SDK", management_sdk)
test("quotas: management calls over HTTPS", management_https)
test("quotas: management calls over Kafka", management_kafka)
test("quotas: hubs, partitions, consumer groups", entities)
test("quotas: connections", connections)
finish()
