"""Formats of dates and times in the admin console: sortable, year first."""
