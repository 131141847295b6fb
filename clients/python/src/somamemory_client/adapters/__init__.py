"""Adapters for agent frameworks. Each module requires its framework, which the extra of the same name installs.

An adapter translates the framework's calls into API calls, and contains no other logic.
"""
