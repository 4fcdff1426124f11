#!/usr/bin/python3
"""HTTPS, one unit: what waits shortly is held and stored, what would wait too long is
refused with the reason and the time, and comes in when the client keeps to it."""
import json
import re
import threading
import time

from bed import MB, Https, figure, finish, metrics, test


def held():
    c = Https("https")
    body = "h" * (256 << 10)
    began = time.monotonic()
    for i in range(16):
        status, _, text = c.post("https", "%02d%s" % (i, body[2:]), 0)
        assert status == 201, (i, status, text)
    took = time.monotonic() - began
    # 4 MB in all, of which 1 MB at once.
    assert 2.9 <= took <= 4, "it took %.2f s" % took
    assert figure(metrics(), "held_requests_total") >= 10


def refused():
    """Eight connections want a megabyte each at once: some must be refused."""
    out = []

    def one(i):
        c = Https("https")
        body = bytes([65 + i]) * (MB - 1000)
        status, headers, text = c.post("https", body, 1)
        out.append((i, status, headers, text))
        if status == 201:
            return
        for _ in range(8):
            time.sleep(int(headers["retry-after"]))
            status, headers, text = c.post("https", body, 1)
            if status == 201:
                out.append((i, status, headers, text))
                return

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    busy = [o for o in out if o[1] == 503]
    assert sorted(o[0] for o in out if o[1] == 201) == list(range(8)), [(o[0], o[1]) for o in out]
    assert busy, "none was refused"
    for _, _, headers, text in busy:
        error = json.loads(text)["error"]
        assert error["code"] == "server-busy", error
        assert "50002" in error["message"] and "throughput unit" in error["message"], error
        wait = int(re.search(r"wait (\d+) second", error["message"]).group(1))
        assert wait == int(headers["retry-after"]) and 1 <= wait <= 20, (wait, headers)


def only_whole():
    """Nothing refused is stored: eight bodies, each once."""
    from bed import stored
    first = [b[0] for b in stored("https", 1)]
    assert sorted(first) == list("ABCDEFGH"), first


test("https: what waits shortly is held", held)
test("https: what would wait too long is refused with the reason and the time", refused)
test("https: what was refused is stored when it came again, once", only_whole)
finish()
