"""What the Python scripts of this folder share: the environment (see ../kafka.sh)
and a runner that prints "ok NAME" or "not ok NAME reason"."""
import os
import sys
import threading
import time
import traceback

ENV = os.environ
failed = 0


def hub(client, what):
    return ENV.get("KAFKA_PREFIX", "") + client + "-" + what


def tls():
    return bool(ENV.get("KAFKA_TLS"))


def server():
    return ENV.get("KAFKA_TLS") or ENV["KAFKA_PLAIN"]


def user(role="all"):
    """User and password of a role: all, policy (name and key), send, listen, wrong."""
    return {"all": (ENV["KAFKA_USER"], ENV["KAFKA_PASSWORD"]),
            "policy": (ENV["KAFKA_POLICY"], ENV["KAFKA_KEY"]),
            "send": (ENV["KAFKA_SEND_USER"], ENV["KAFKA_SEND_PASSWORD"]),
            "listen": (ENV["KAFKA_LISTEN_USER"], ENV["KAFKA_LISTEN_PASSWORD"]),
            "wrong": (ENV["KAFKA_USER"], "wrong")}[role]


def test(name, fn, limit=60):
    """Runs fn on a thread, so that one that hangs is one failure and not the end."""
    global failed
    if ENV.get("KAFKA_ONLY", "") not in name:
        return
    problem = ["not done after %d s" % limit]

    def body():
        try:
            fn()
            problem.clear()
        except BaseException as e:  # pylint: disable=broad-except
            problem[0] = "%s: %s" % (type(e).__name__, str(e).replace("\n", " ")[:300])
            traceback.print_exc()

    began = time.monotonic()
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(limit)
    if problem:
        failed += 1
        print("not ok", name, problem[0], flush=True)
    else:
        print("ok", name, flush=True)
    print("%s took %.2f s" % (name, time.monotonic() - began), file=sys.stderr, flush=True)


def finish():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failed else 0)


def wants(kinds, fn):
    """fn must fail with one of these exceptions."""
    try:
        fn()
    except kinds as e:
        return e
    raise AssertionError("succeeded, but must fail")
