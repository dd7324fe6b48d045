"""An engine's start-up log or out-of-memory error, taken apart and explained."""
