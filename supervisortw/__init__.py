"""supervisortw: starts, stops and restarts long-running programs, and is steered from a prompt."""

__version__ = "0.1.0"
