"""Files that start a plan, one generator a target."""
