"""Conversations as files: written as Markdown or JSON, and read back, whoever wrote them."""
