"""The admin console: models, dashboard and explorer. It uses the same services and selectors as the API."""
