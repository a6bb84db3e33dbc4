"""Everybody who takes part, in the order of the table."""

from __future__ import annotations

from peers.base import Peer
from peers.circus import Circus
from peers.floor import Floor
from peers.runit import Runit
from peers.s6 import S6
from peers.supervisor import Supervisor
from peers.supervisortw import Supervisortw

PEERS: tuple[type[Peer], ...] = (Floor, Supervisortw, Supervisor, Circus, Runit, S6)
