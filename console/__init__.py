"""The pages for people: admin, dashboard and explorer. They ask the same services and selectors as the API."""
