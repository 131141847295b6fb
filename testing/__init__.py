"""Servers, processes and proxies for use in tests and benchmarks."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
