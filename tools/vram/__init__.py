"""How much memory a deployment takes, by the engine's own arithmetic."""
