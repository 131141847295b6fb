"""The contract of SomaFractalMemory's clients, at the root, if SOMA_COMPAT_SOMAFRACTALMEMORY is set."""
