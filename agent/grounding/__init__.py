"""No figure without a source: every number with a unit in an answer is matched to a tool result or the asker's words.

A figure is bound to what its sentence says it is of (``claims``) and stands only where a result has that value for that
quantity of that model and card (``facts``, ``check``).
"""

from agent.grounding.check import Checker, ungrounded
from agent.grounding.conversation import facts_of
from agent.grounding.facts import Facts
from agent.grounding.figures import figures
from agent.grounding.pieces import pieces
from agent.grounding.release import Outlet, Release

__all__ = ["Checker", "Facts", "Outlet", "Release", "facts_of", "figures", "pieces", "ungrounded"]
