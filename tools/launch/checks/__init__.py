"""Validators for generated files, one a module. One that is not there answers ``ok=None``; it never answers True."""
