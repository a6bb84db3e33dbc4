"""The entry of ``passwd`` in the table of commands; the work is done by `supervisortw.passwords`.

It is done before there is a reactor, which must not wait for somebody who types a password. So it is no
command of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from supervisortw.client.command import Command, UsageError
from supervisortw.client.desk import Desk
from supervisortw.client.exitcodes import ExitCode

NAME = "passwd"


async def _passwd(desk: Desk, words: Sequence[str]) -> ExitCode:
    raise UsageError(
        "passwords are not changed from here: leave, and say 'supervisorctl passwd' in a shell on the "
        "daemon's machine"
    )


COMMANDS = (
    Command(
        name=NAME,
        arguments="[OPTION ...] [FILE] [COMMAND ...]",
        summary="edit the users and passwords of supervisord, on its machine",
        details=(
            "Called as 'supervisorctl passwd', it edits the password file FILE, by default the one that "
            "'passwdfile' in supervisord.conf names, from a prompt of its own (where 'help' shows the "
            "commands), or by one command, which is saved at once. A running daemon goes by the new file "
            "as soon as it is saved. Passwords are typed, or read with --password-stdin or "
            "--password-fd N, or made with -g. 'supervisorctl passwd --help' tells the rest."
        ),
        run=_passwd,
    ),
)
