"""What the Python interop tests share: a runner that prints ok / not ok lines."""
import os
import sys
import traceback

CS = os.environ["SLUICE_CS"]
CS_LISTEN = os.environ.get("SLUICE_CS_LISTEN", "")
CA = os.environ["SLUICE_CA"]
ADDRESS = os.environ["SLUICE_ADDRESS"]
_failed = []


def test(name):
    def run(fn):
        try:
            fn()
            print(f"ok {name}", flush=True)
        except Exception as e:  # every failure is a result
            _failed.append(name)
            text = f"{type(e).__name__} {e}".replace("\n", " ")[:400]
            print(f"not ok {name} {text}", flush=True)
            traceback.print_exc()
        return fn
    return run


def finish():
    # Client threads that hang must not keep the verdict back.
    sys.stdout.flush()
    os._exit(1 if _failed else 0)
