"""The prompt ``SRP>``: changes of a password file, one after the other, until they are saved."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable

from supervisortw.core.srp import SrpError
from supervisortw.core.text import printable
from supervisortw.errors import LocalError
from supervisortw.passwords.asking import UsageError
from supervisortw.passwords.editor import Editor, Options, Parser

PROMPT = "SRP> "
UNSAVED = "there are changes that are not saved: 'save' writes them, 'quit!' drops them"


Say = Callable[[str], None]


def run_prompt(editor: Editor, path: str, say: Say, complain: Say) -> bool:
    """Take commands until somebody leaves; return whether all went well, if nobody saw how it went."""
    typed = at_terminal()
    if typed:
        users = len(editor.passwd.records)
        state = "is a new file" if editor.is_new else f"has {users} user{'s' * (users != 1)}"
        say(f"{path} {state}; 'help' shows the commands")
    well = True
    while True:
        try:
            words = shlex.split(input(PROMPT if typed else ""))
            if words in (["quit"], ["quit!"]):
                if editor.unsaved and words == ["quit"]:
                    raise UsageError(UNSAVED)
                return well or typed
            well = _carry_out(editor, words, path, say) and well
        except EOFError:
            if typed:
                say("")
            if not editor.unsaved:
                return well or typed
            complain(UNSAVED)
            if not at_terminal():  # nobody is there to say anything else
                return False
        except KeyboardInterrupt:
            if not typed:
                raise
            say("")
        except UnicodeDecodeError:
            complain("this is not UTF-8 text")
            well = False
        except (UsageError, SrpError, LocalError, ValueError) as error:  # of shlex: an open quote
            complain(printable(str(error)))
            well = False


def _carry_out(editor: Editor, words: list[str], path: str, say: Say) -> bool:
    if not words:
        return True
    if words == ["save"]:
        editor.save()
        say(f"saved to {path}")
        return True
    parser = Parser(add_help=False, prog="SRP")
    parser.add_argument("words", nargs="*")
    options = Options()
    plain = parser.parse_intermixed_args(words, options).words
    return editor.run(plain, options) if plain else True


def at_terminal() -> bool:
    """Tell whether somebody types; a terminal that was closed is none any more."""
    if sys.stdin is None:
        return False
    try:
        return os.isatty(sys.stdin.fileno())
    except (OSError, ValueError):
        return False
