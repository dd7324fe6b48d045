"""From what was asked to a placement and its options."""
