"""One module an engine: how it budgets GPU memory."""
