"""Waits until an address answers 200: `python deploy/probe.py URL [SECONDS]`. Ends with 1 when it does not in time.

systemd runs it after the start of the web server, so that `systemctl start` fails where nobody would be served.
"""

import sys
import time
import urllib.error
import urllib.request


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the address is in a unit of root's
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def main(url: str, seconds: str = "60") -> int:
    until = time.monotonic() + float(seconds)
    while not answers(url):
        if time.monotonic() > until:
            print(f"{url} did not answer 200 within {seconds} s", file=sys.stderr)
            return 1
        time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
