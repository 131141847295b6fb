"""The public search evaluation: `make eval DATA=FOLDER`. See docs/explanation/evaluation.md."""
