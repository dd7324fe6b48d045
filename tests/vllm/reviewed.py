"""Where the calculator may differ from vLLM, each with the reason; anything else is a fault.

By the case's id: why, and which values differ.
"""

Reviewed = dict[str, tuple[str, tuple[str, ...]]]

GENERATED: Reviewed = {}

LITERAL: Reviewed = {}
