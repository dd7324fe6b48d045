"""Web search behind a small protocol."""
