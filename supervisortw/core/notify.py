from dataclasses import dataclass
@dataclass
class Notice:
    ready: bool = False
    status: str | None = None
    extend_seconds: float | None = None
    ping: bool = False
