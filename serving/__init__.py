"""Runs and fronts the engines a plan describes."""
