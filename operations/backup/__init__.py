"""Create a consistent backup of the whole database in a folder, and restore it.

A backup folder contains the data (`database.sqlite3.gz`, or a PostgreSQL dump in custom format), the secret key if
SomaMemory generated it, and `manifest.json`. It never contains the key that signs the audit log. The manifest contains
versions, the checksum of the data, and each table's row count and a hash of its rows, from the same snapshot.
The vector index is not included, because it is rebuilt from the vectors in the database.
"""
