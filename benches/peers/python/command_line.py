"""bench_peer's command line and JSON for the Python libraries. Knows neither of them."""

import argparse
import json
import resource
import time

PIECE = 256 * 1024
WARM_UP_PINGS = 200


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("port", "key", "host", "user", "cipher", "mac", "kex"):
        parser.add_argument(f"--{name}")
    parser.set_defaults(host="127.0.0.1", user="root")
    parser.add_argument("verb")
    parser.add_argument("words", nargs="*")
    asked = parser.parse_args()
    asked.port = int(asked.port)
    return asked


class Meter:
    def __init__(self):
        self.started, self.cpu = time.monotonic(), self.spent()

    @staticmethod
    def spent():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def report(self, **fields):
        secs, cpu = time.monotonic() - self.started, self.spent() - self.cpu
        print(json.dumps({**fields, "secs": secs, "cpu": cpu}), flush=True)


def percentiles(times):
    times.sort()
    return {
        "count": len(times),
        "p50us": times[len(times) // 2] * 1e6,
        "p99us": times[len(times) * 99 // 100] * 1e6,
    }
