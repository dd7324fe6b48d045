"""The commands of ``rigfit``, one module each, with a function ``command``; heavy imports happen inside it."""
