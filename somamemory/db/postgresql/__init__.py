"""PostgreSQL with prepared statements and row-level security."""
