"""The API that Sekha's clients expect, under `/sekha`."""
