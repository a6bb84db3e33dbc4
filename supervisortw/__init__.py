"""supervisortw: starts, stops and restarts long-running programs, and is steered from a prompt."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("supervisortw")
except PackageNotFoundError:  # running from a checkout that was never installed
    __version__ = "unknown"
