"""The API that SomaFractalMemory's clients expect, at the root, if SOMA_COMPAT_SOMAFRACTALMEMORY is set."""
