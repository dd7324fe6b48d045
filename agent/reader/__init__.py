"""Text to Reading: what a question says, and only that."""
