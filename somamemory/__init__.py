"""SomaMemory: a self-hosted, multi-tenant memory service for AI agents."""

__version__ = "0.1.0"
