"""Create a consistent backup of the whole database in a folder, and restore it.

A folder holds the data (`database.sqlite3.gz`, or a dump of PostgreSQL in its custom format), the secret key where
SomaMemory generated it, and `manifest.json`: versions, the checksum of the data, and for each table its rows and a hash
over all of them, taken at the same moment. The vector index is not included: it is filled again from the vectors in
the database.
"""
