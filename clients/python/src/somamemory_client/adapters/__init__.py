"""Adapters for agent frameworks. Each module needs its framework, which the extra of the same name installs.

An adapter translates the framework's calls to those of the API and has no rules of its own.
"""
