"""Reading crontabs as cron does."""

from __future__ import annotations

from queuectl.core.crontab import DEFAULT_PATH, Crontab, Entry, Refused, parse


def _parse(text: str, **more: str) -> Crontab:
    return parse(text, home="/home/ada", user="ada", **more)


def _entry(line: int, when: str, command: str, **changes: object) -> Entry:
    env = {"PATH": DEFAULT_PATH, "HOME": "/home/ada", "LOGNAME": "ada"}
    entry = Entry(line, when, command, None, env, "/home/ada", None, None, 0.0, None)
    return entry._replace(**changes)  # type: ignore[arg-type]


def _with(**variables: str) -> dict[str, str]:
    return {"PATH": DEFAULT_PATH, "HOME": "/home/ada", "LOGNAME": "ada", **variables}


def test_a_line_runs_a_command_in_the_home_folder_with_the_environment_of_cron():
    assert _parse("0 2 * * *\tbackup --all  now\n") == Crontab(
        (_entry(1, "0 2 * * *", "backup --all  now"),), (), ()
    )


def test_names_of_times_are_kept():
    assert _parse("@daily backup").entries == (_entry(1, "@daily", "backup"),)


def test_blank_lines_and_comments_are_skipped():
    text = "\n# m h dom mon dow command\n   # indented\n\t\n*/5 * * * * true # not a comment\n"
    assert _parse(text).entries == (_entry(5, "*/5 * * * *", "true # not a comment"),)


def test_a_comment_directly_above_that_can_be_a_name_is_kept():
    text = "# night-backup\n0 2 * * * a\n# night-mail\n\n0 3 * * * b\n# Some words\n0 4 * * * c\n"
    assert [entry.comment for entry in _parse(text).entries] == ["night-backup", None, None]


def test_variables_count_for_the_lines_below_them():
    text = """\
0 1 * * * first
PATH=/opt/bin:/bin
GREETING = "hello  world"
EMPTY=
'QUOTED'='a b'
0 2 * * * second
HOME=/srv
0 3 * * * third
"""
    first, second, third = _parse(text).entries
    own = {"PATH": "/opt/bin:/bin", "GREETING": "hello  world", "EMPTY": "", "QUOTED": "a b"}
    assert first == _entry(1, "0 1 * * *", "first")
    assert second == _entry(6, "0 2 * * *", "second", env=_with(**own))
    assert third.env == _with(**{**own, "HOME": "/srv"})
    assert third.folder == "/srv"


def test_variables_in_a_value_are_not_replaced():
    """cron does not replace them either (crontab(5))."""
    (entry,) = _parse("PATH=$HOME/bin:$PATH\n* * * * * x").entries
    assert entry.env["PATH"] == "$HOME/bin:$PATH"


def test_an_equals_sign_in_a_command_does_not_make_it_a_variable():
    commands = ["A=1 make", "test a = b", 'x="1"']
    text = "\n".join(f"0 2 * * * {command}" for command in commands) + "\n@daily A=1 make\n"
    assert [entry.command for entry in _parse(text).entries] == [*commands, "A=1 make"]


def test_variables_for_cron_itself_are_not_given_to_commands():
    text = """\
SHELL=/bin/bash
MAILTO=ada@example.org
CRON_TZ=Europe/Berlin
RANDOM_DELAY=15
TZ=UTC
0 2 * * * backup
MAILTO=""
0 3 * * * silent
"""
    assert _parse(text) == Crontab(
        (
            _entry(
                6, "0 2 * * *", "backup", env=_with(TZ="UTC"), shell="/bin/bash",
                timezone="Europe/Berlin", jitter_seconds=900.0,
            ),
            _entry(
                8, "0 3 * * *", "silent", env=_with(TZ="UTC"), shell="/bin/bash",
                timezone="Europe/Berlin", jitter_seconds=900.0,
            ),
        ),
        (),
        ("ada@example.org",),
    )  # fmt: skip


def test_a_percent_sign_ends_the_command_and_begins_its_input():
    r"""`\%` stands for itself (crontab(5))."""
    entries = _parse(
        "0 1 * * * mail -s hi ada%Dear Ada,%%soon%\n"
        "0 2 * * * date +\\%F\n"
        "0 3 * * * a \\% b%in \\% put\n"
        "0 4 * * * cat%\n"
    ).entries
    assert [(entry.command, entry.input) for entry in entries] == [
        ("mail -s hi ada", b"Dear Ada,\n\nsoon\n\n"),
        ("date +%F", None),
        ("a % b", b"in % put\n"),
        ("cat", b"\n"),
    ]


def test_lines_that_cannot_become_schedules_are_refused_with_their_number():
    text = "@reboot daemon\n0 2 * * *\n@daily\nnonsense\nRANDOM_DELAY=soon\n0 2 * * * good\n"
    crontab = _parse(text)
    assert crontab.refused == (
        Refused(1, "@reboot daemon", "@reboot has no counterpart: let a service start the command"),
        Refused(2, "0 2 * * *", "there is no command after the five fields"),
        Refused(3, "@daily", "there is no command after @daily"),
        Refused(4, "nonsense", "there is no command after the five fields"),
        Refused(5, "RANDOM_DELAY=soon", "RANDOM_DELAY is no number of minutes"),
    )
    assert [entry.command for entry in crontab.entries] == ["good"]


def test_only_a_newline_ends_a_line():
    """As in cron; commands were broken at a form feed, too."""
    (entry,) = _parse("0 2 * * * printf 'a\fb\u2028c'\r\n").entries
    assert entry.command == "printf 'a\fb\u2028c'"


def test_a_random_delay_of_too_many_digits_is_refused():
    """Only its first nine digits were looked at."""
    line = "RANDOM_DELAY=000000000999999999999"
    (refused,) = _parse(f"{line}\n0 2 * * * x\n").refused
    assert refused == Refused(1, line, "RANDOM_DELAY is no number of minutes")


def test_a_system_crontab_has_a_column_for_the_user():
    text = (
        "17 * * * * root cd / && run-parts /etc/cron.hourly\n@daily ada backup\n0 1 * * * ada x\n"
    )
    assert [entry.command for entry in _parse(text, system_user="ada").entries] == ["backup", "x"]
    assert [entry.when for entry in _parse(text, system_user="root").entries] == ["17 * * * *"]


def test_lines_that_packages_of_debian_install():
    """Their commands come out as they are, with the times as one word would write them."""
    lines = {
        "7 1 * * *  root test -x /etc/init.d/anacron && /usr/sbin/invoke-rc.d anacron start": (
            "7 1 * * *",
            "test -x /etc/init.d/anacron && /usr/sbin/invoke-rc.d anacron start",
        ),
        "5-55/10 * * * * root command -v debian-sa1 > /dev/null && debian-sa1 1 1": (
            "5-55/10 * * * *",
            "command -v debian-sa1 > /dev/null && debian-sa1 1 1",
        ),
        "09,39 *  * * *  root  [ -x /usr/lib/php/sessionclean ] && /usr/lib/php/sessionclean": (
            "09,39 * * * *",
            "[ -x /usr/lib/php/sessionclean ] && /usr/lib/php/sessionclean",
        ),
        '0 */12 * * * root perl -e "sleep int(rand(43200))" && certbot -q renew': (
            "0 */12 * * *",
            'perl -e "sleep int(rand(43200))" && certbot -q renew',
        ),
        "30 7-23 * * * root [ $(date +\\%d) -le 7 ] && /usr/share/mdadm/checkarray --cron": (
            "30 7-23 * * *",
            "[ $(date +%d) -le 7 ] && /usr/share/mdadm/checkarray --cron",
        ),
    }
    entries = _parse("\n".join(lines), system_user="root").entries
    assert [(entry.when, entry.command) for entry in entries] == list(lines.values())
