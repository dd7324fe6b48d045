"""Which models to take for given cards: who is eligible, what fits, and which few are worth showing."""
