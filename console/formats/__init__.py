"""Date and time formats for the admin console: sortable, year first."""
