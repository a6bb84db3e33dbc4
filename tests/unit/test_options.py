"""The command line of supervisord, read and handed on."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisortw.options import KEYS, Options, parse

PATHS = [(short, long, key) for short, long, key, is_path, _ in KEYS if is_path]
OTHERS = [(short, long, key) for short, long, key, is_path, _ in KEYS if not is_path]


class TestParse:
    def test_nothing(self) -> None:
        assert parse([]) == Options()

    def test_switches(self) -> None:
        options = parse(["-n", "-f", "--strict", "--check", "--sample-config"])
        assert options == Options(
            foreground=True,
            strict=True,
            check=True,
            sample_config=True,
            overrides={"forever": ("yes",)},
        )

    @pytest.mark.parametrize(("short", "long", "key"), OTHERS)
    def test_a_value_is_passed_on_as_it_is(self, short: str, long: str, key: str) -> None:
        expected = {key: ("value",)}
        assert parse([short, "value"]).overrides == expected
        assert parse([long, "value"]).overrides == expected
        assert parse([f"{long}=value"]).overrides == expected

    @pytest.mark.parametrize(("short", "long", "key"), PATHS)
    def test_a_path_is_made_absolute(self, short: str, long: str, key: str) -> None:
        here = os.getcwd()
        assert parse([short, "a/b"]).overrides == {key: (f"{here}/a/b",)}
        assert parse([f"{long}=/x/../y"]).overrides == {key: ("/y",)}

    def test_the_configuration_file_too(self) -> None:
        assert parse(["-c", "x.conf"]).config == f"{os.getcwd()}/x.conf"

    def test_a_socket_without_a_slash_may_be_a_port(self) -> None:
        assert parse(["-s", "host:9001"]).overrides == {"socket-name": ("host:9001",)}
        assert parse(["-s", "./s"]).overrides == {"socket-name": (f"{os.getcwd()}/s",)}

    @pytest.mark.parametrize(
        "arguments",
        [
            ["-c", "a", "-c", "b"],
            ["-l", "a", "--logfile", "b"],
            ["--nosuch"],
            ["--for"],
            ["--backoff"],
            ["-u"],
            ["surplus"],
        ],
    )
    def test_what_is_wrong_is_code_2(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            parse(arguments)
        assert caught.value.code == 2
        assert "supervisord: error: " in capsys.readouterr().err

    def test_an_option_given_twice_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(["-l", "a", "--logfile", "b"])
        assert "--logfile is given twice" in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--help", "--version"])
    def test_questions(self, option: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            parse([option])
        assert caught.value.code == 0
        assert "supervisord" in capsys.readouterr().out


values = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=9).filter(
        lambda text: text != "--"
    ),  # a quirk of argparse
    st.sampled_from(["", "-", "-x", "-n", "-1", "--strict", "a b", "=", "-c=x"]),
)
command_lines = st.tuples(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.sampled_from([long for _, long, *_ in KEYS]), values, max_size=4),
)


@settings(max_examples=80, deadline=None)
@given(command_lines)
def test_what_is_handed_on_says_the_same_from_any_directory(
    line: tuple[bool, bool, bool, dict[str, str]],
) -> None:
    foreground, strict, forever, given_values = line
    switches = [
        *(["-n"] if foreground else []),
        *(["--strict"] if strict else []),
        *(["-f"] if forever else []),
    ]
    options = parse([*switches, *(f"{long}={text}" for long, text in given_values.items())])
    handed_on = options.arguments("/etc/x.conf")
    before = os.getcwd()
    try:
        os.chdir("/")
        again = parse(handed_on)
    finally:
        os.chdir(before)
    assert again.config == "/etc/x.conf"
    assert again.overrides == options.overrides
    assert (again.foreground, again.strict) == (foreground, strict)
