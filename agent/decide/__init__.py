"""Deciders: given the state, which tool calls come next."""
