"""Text to Reading: what a question says, and only that."""

from agent.reader.reading import read

__all__ = ["read"]
