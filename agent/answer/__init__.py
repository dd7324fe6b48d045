"""The written answer: what a turn's results say, rendered from the templates in ``prompts/answers``."""
