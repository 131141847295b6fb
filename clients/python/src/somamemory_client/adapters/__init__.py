"""Adapters for agent frameworks. Each module requires its framework, which is installed by the extra of the same name.

An adapter translates the framework's calls into API calls, and contains no other logic.
"""
