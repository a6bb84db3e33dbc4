"""A daemon that cannot even be launched is told in plain words."""

from __future__ import annotations

import pytest
from functional_daemon import Daemon


@pytest.mark.parametrize("words", [(), ("-d", "/no/such/directory")])
def test_a_directory_that_is_not_there_is_no_traceback(
    daemon: Daemon, words: tuple[str, ...]
) -> None:
    daemon.write("", *([] if words else ["directory /no/such/directory"]))
    done = daemon.supervisord(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("supervisord: cannot start the daemon as uid ")
    assert "/no/such/directory: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
