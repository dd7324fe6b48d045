"""Web search behind small protocols: engines, ranking, two pages read with limits, and the figures they state.

What comes back is text from strangers. It is cut to length, stripped of control characters, and only ever quoted.
"""
