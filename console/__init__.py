"""The admin console: model pages, dashboard and explorer. It uses the same services and selectors as the API."""
