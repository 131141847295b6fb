"""A comparison with other memory stores on the same texts, vectors and queries."""
