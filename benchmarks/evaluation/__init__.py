"""The public evaluation of search: `make eval DATA=FOLDER`. See docs/explanation/evaluation.md."""
