"""Servers, processes and proxies that the tests and the benchmarks start."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
