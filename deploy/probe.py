"""Wait until a URL returns status 200: `python deploy/probe.py URL [SECONDS]`. Exits with status 1 after the timeout.

systemd runs this after it has started the web server, so that `systemctl start` fails if the server is not available.
"""

import sys
import time
import urllib.error
import urllib.request


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the address comes from a systemd unit, which only root can change
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def main(url: str, seconds: str = "60") -> int:
    until = time.monotonic() + float(seconds)
    while not answers(url):
        if time.monotonic() > until:
            print(f"{url} did not return 200 within {seconds} s", file=sys.stderr)
            return 1
        time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
