"""The contract of Sekha's clients, under `/sekha`."""
