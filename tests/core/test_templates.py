"""Command templates: what each placeholder becomes, and that an argument always stays text."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queuectl.core.errors import InvalidInput
from queuectl.core.templates import Template
from support.waiting import PATIENCE_SECONDS


def run(shell, text, **kwargs):
    return subprocess.run(
        [shell, "-c", text],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        **kwargs,
    )


SHELLS = [path for path in map(shutil.which, ("dash", "bash", "zsh")) if path]


def command(words, *arguments, number=1):
    return Template(words, len(arguments)).command(arguments, number)


@pytest.mark.parametrize(
    ("placeholder", "argument", "expected"),
    [
        ("{}", "a/b.tar.gz", "a/b.tar.gz"),
        ("{.}", "a/b.tar.gz", "a/b.tar"),
        ("{.}", "a.d/b", "a.d/b"),
        ("{.}", "a/.bashrc", "a/.bashrc"),
        ("{/}", "a/b.tar.gz", "b.tar.gz"),
        ("{//}", "a/b.tar.gz", "a"),
        ("{//}", "b.gz", "."),
        ("{//}", "/b.gz", "/"),
        ("{/.}", "a/b.tar.gz", "b.tar"),
        ("{#}", "anything", "7"),
        ("{1}", "a/b.gz", "a/b.gz"),
        ("{1.}", "a/b.gz", "a/b"),
        ("{1/.}", "a/b.gz", "b"),
    ],
)
def test_each_placeholder_becomes_a_part_of_the_argument(placeholder, argument, expected):
    """The placeholders are those of GNU parallel."""
    assert command(["run", placeholder], argument, number=7) == f"run {expected}"
    assert command([f"run {placeholder}"], argument, number=7) == f"run {expected}"


@pytest.mark.parametrize(
    ("words", "arguments", "expected"),
    [
        (["gzip"], ["a b"], "gzip 'a b'"),
        (["gzip -c"], ["a b"], "gzip -c 'a b'"),
        (["gzip"], ["a", "b c"], "gzip a 'b c'"),
        (["echo", "{#}"], ["a"], "echo 1"),
        (["cp", "{2}", "{1}"], ["a b", "$c"], "cp '$c' 'a b'"),
        (["cp", "{}"], ["a b", "c"], "cp 'a b' c"),
        (["x-({})"], ["a b", "c"], "'x-(a b c)'"),
        (["A={}", "make", "B={}"], ["c d"], "A='c d' make 'B=c d'"),
        (["{}", "x"], ["A=b"], "'A=b' x"),
        (["{}", "x"], ["if"], "'if' x"),
        (["{} x"], ["A+=b"], "'A+=b' x"),
        (["{}"], [""], "''"),
        (["mv", "{}", "{.}.b"], ["it's.a"], """mv 'it'"'"'s.a' 'it'"'"'s.b'"""),
        (["gzip -c {} > {.}.gz"], ["a b.c"], "gzip -c 'a b.c' > 'a b'.gz"),
        (["echo '{}'; echo \"{}\""], ["a'b\"$c"], """echo 'a'\\''b"$c'; echo "a'b\\"\\$c" """[:-1]),
        (["echo $(basename {})"], ["a b"], "echo $(basename 'a b')"),
        (["echo ${x} ${y%.*} {}"], ["a b"], "echo ${x} ${y%.*} 'a b'"),
        (["awk '{print $1}' {}"], ["a b"], "awk '{print $1}' 'a b'"),
        (["echo \\{} {}"], ["a b"], "echo \\{} 'a b'"),
        (["echo a # note\necho {}"], ["a b"], "echo a # note\necho 'a b'"),
        (["find", "{}", "-exec", "wc", "{", "}", ";"], ["a"], "find a -exec wc '{' '}' ';'"),
    ],
)  # fmt: skip
def test_arguments_are_quoted_for_the_place_where_they_are_put(words, arguments, expected):
    """Words are quoted as a whole; in a shell text, each argument for the quotes around it."""
    assert command(words, *arguments) == expected


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("echo # {}", "in a comment"),
        ("echo `basename {}`", "in or after `...` (use $(...))"),
        ('echo "$(basename {})"', 'in or after "$(...)" (leave the quotes out)'),
        ("echo ${x:-{}}", "in or after ${...}"),
        ("echo ${x:-'}'} {}", "in or after ${...}"),
        ("echo $(( {} + 1 ))", "in or after $((...))"),
        ("(( {} )) && true", "in or after ((...))"),
        ("cat <<E\n{}\nE", "in or after a here-document"),
        ("cat <<E # note\n{}\nE", "in or after a here-document"),
        ("echo $'a' {}", "in or after $'...'"),
    ],
)
def test_a_placeholder_that_cannot_be_quoted_safely_is_refused(text, since):
    """Otherwise an argument could run as a command."""
    with pytest.raises(InvalidInput) as refused:
        command([text], "a")

    assert str(refused.value) == (
        f"{{}} cannot be used {since} "
        "(give the command as several words, or put this text into a script)"
    )


@pytest.mark.parametrize(
    ("placeholder", "problem"),
    [
        ("{3}", "{3} is used, but there are only 2 sources of arguments"),
        ("{0}", "{0}: the sources of arguments are counted from 1"),
    ],
)
def test_a_source_that_is_not_there_is_refused(placeholder, problem):
    """It is refused before any job is stored."""
    with pytest.raises(InvalidInput) as refused:
        Template(["echo", placeholder], 2)

    assert str(refused.value) == problem


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "argument",
    ["", "-n", "a  b", "it's", '"', "$HOME", "`id`", "a\nb", "\\", "*", "~", "!", "=ls", "é夏"],
)
def test_a_shell_gets_each_argument_as_it_is(shell, argument):
    """This holds for words, and for each kind of quotes in a shell text."""
    for template in (
        ["printf", "<%s>", "{}"],
        ["printf '<%s>' {}"],
        ["printf '<%s>' '{}'"],
        ["printf '<%s>' \"{}\""],
        ["printf '<%s>' $(printf %s '')\"{}\""],
    ):
        ran = run(shell, command(template, argument))

        assert (ran.stdout.decode(), ran.stderr) == (f"<{argument}>", b""), template


_PIECES = [
    *(
        "echo ",
        "'",
        '"',
        "\\",
        "\n",
        "#",
        " ",
        ";",
        "(",
        ")",
        "$(",
        "$((",
        "))",
        "`",
        "${x}",
        "${x:-",
    ),
    *("}", "{}", "{}", "$", "$'", "<<E", "<<<", "E\n", "a", "|", "&", "case a in a) "),
]
_RUNS = 'echo IN""JECTED'
_HOSTILE = [f"{before}{runs}{after}"
            for before in ("", "'", '"', "\n", "\\")
            for runs in (f"$({_RUNS})", f"`{_RUNS}`", f";{_RUNS};", f"\n{_RUNS}\n")
            for after in ("", "'", '"', "#")]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(st.sampled_from(_PIECES), max_size=12), argument=st.sampled_from(_HOSTILE))
@example(pieces=["a", "\\", " ", "#", '"', "\n", '"', "{}"], argument=_HOSTILE[0])
@example(pieces=["a", "\\", "\n", "#", '"', "\n", '"', "{}"], argument=_HOSTILE[0])
@example(pieces=["$(", "case a in a) ", '"', "{}", '"'], argument=_HOSTILE[0])
def test_no_shell_text_lets_an_argument_run(pieces, argument):
    """Whatever text surrounds a placeholder, it is refused or its argument stays text."""
    try:
        text = command(["echo " + "".join(pieces) + " {}"], argument)
    except InvalidInput:
        return
    for shell in SHELLS:
        ran = run(shell, text, env={"PATH": "/nowhere"})

        assert b"INJECTED" not in ran.stdout + ran.stderr, text
