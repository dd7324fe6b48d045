"""A group whose engines have been looked at."""

from __future__ import annotations

from serving.orders import Policy, Seen
from serving.residency import Group

POLICY = Policy(min_awake_s=2.0, grace_s=0.5, max_wait_s=60.0, max_waiting=3)


def group(*names: str, awake: str | None = None, policy: Policy = POLICY) -> Group:
    """A group whose engines have been looked at, at time 0."""
    made = Group(names, policy, 0.0)
    for name in names:
        made.saw(name, Seen.AWAKE if name == awake else Seen.ASLEEP, made.epoch(name), 0.0)
    assert not made.orders()
    return made
