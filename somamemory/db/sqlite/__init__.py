"""Django's SQLite backend, with a fair queue for this process's writers."""
