"""The fields of a new job, and the strict reading of their JSON form."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queuectl.core.errors import InvalidInput
from queuectl.core.specs import JSON_FIELDS, JobSpec, parse_object

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
LIMIT = 130_000
LONE = "\ud800"


def spec(**given_fields):
    return JobSpec.from_fields({"command": "true", **given_fields}, now=NOW)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("id", "nightly-1.2_x", "nightly-1.2_x"),
        ("id", "x" * 128, "x" * 128),
        ("id", "\u00e9" * 64, "\u00e9" * 64),
        ("queue", "mail", "mail"),
        ("priority", -1_000_000_000, -1_000_000_000),
        ("priority", 1_000_000_000, 1_000_000_000),
        ("max_retries", 0, 1),
        ("max_retries", 1, 1),
        ("max_retries", 1_000_000, 1_000_000),
        ("timeout", 0, 0.0),
        ("timeout", 1.5, 1.5),
        ("timeout", "1h30m", 5400.0),
        ("cwd", "/", "/"),
        ("cwd", "/usr/../usr/", "/usr"),
        ("env", {"A": "", "_b1": "x y\n"}, {"A": "", "_b1": "x y\n"}),
        ("unique_key", "backup of / at 1,2", "backup of / at 1,2"),
        ("after", "a", ("a",)),
        ("after", ["a", "b"], ("a", "b")),
        ("after_any", [], ()),
        ("label", "for ann, weekly", "for ann, weekly"),
    ],
)
def test_a_field_in_range_is_accepted(name, value, expected):
    """Each field keeps its value, in the form that the storage needs."""
    made = spec(**{name: value})

    assert made == JobSpec(**{"command": "true", name: expected})
    assert type(getattr(made, name)) is type(expected)


@pytest.mark.parametrize("name", [name for name in JSON_FIELDS if name != "command"])
def test_null_means_absent(name):
    """A field that is null counts as absent."""
    assert spec(**{name: None}) == JobSpec(command="true")


def test_a_command_is_required():
    """A command that is null counts as absent, too."""
    for fields in ({}, {"command": None}):
        with pytest.raises(InvalidInput, match=r"^there is no command$"):
            JobSpec.from_fields(fields, now=NOW)


def test_if_dup_requires_a_unique_key():
    """Without a key it would have no effect. The key may also come from the defaults."""
    fields = {"command": "true", "if_dup": "replace"}
    with pytest.raises(InvalidInput, match=r"^if_dup requires unique_key$"):
        JobSpec.from_fields(fields, now=NOW)

    found = JobSpec.from_fields(fields, now=NOW, defaults={"unique_key": "k"})
    assert (found.if_dup, found.unique_key) == ("replace", "k")


def test_a_default_for_if_dup_does_not_require_a_key():
    """One default serves many jobs, of which only some have a key."""
    defaults = {"if_dup": "replace"}
    assert JobSpec.from_fields({"command": "true"}, now=NOW, defaults=defaults) == JobSpec(
        command="true", if_dup="replace"
    )


def test_delay_and_run_at_set_the_time():
    """A delay counts from now, and a time in the past means now."""
    assert spec(delay=90).run_at == NOW + timedelta(seconds=90)
    assert spec(delay="1h").run_at == NOW + timedelta(hours=1)
    assert spec(run_at="2026-12-24T18:00Z").run_at == datetime(
        2026, 12, 24, 18, tzinfo=timezone.utc
    )
    assert spec(run_at="2001-01-01").run_at == NOW


@pytest.mark.parametrize(
    "value",
    ["", "a b", "a\tb", "a\nb", "a,b", "a/b", "-a", "{a", "@a", "a\x07", "a\0", "\u200b",
     "a\u00a0b", "x" * 129, "\u00e9" * 65, LONE, 3, 1.0, True, [], {}],
)  # fmt: skip
@pytest.mark.parametrize("name", ["id", "queue", "after", "after_any"])
def test_a_name_must_be_one_word(name, value):
    """Ids and queues are 1 to 128 bytes of printable UTF-8 that no shell or list would split."""
    if name.startswith("after"):
        value = [value]
    elif name == "queue" and value == "@a":
        value = "@@a"  # after one @ comes the name of a batch
    with pytest.raises(InvalidInput, match=f"^{name} "):
        spec(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("priority", True, "priority must be a whole number, not true"),
        ("priority", "3", 'priority must be a whole number, not "3"'),
        ("priority", 3.0, "priority must be a whole number, not 3.0"),
        ("priority", 1_000_000_001, "priority must be -1000000000 to 1000000000"),
        ("priority", -(10**400), "priority must be -1000000000 to 1000000000"),
        ("max_retries", False, "max_retries must be a whole number, not false"),
        ("max_retries", "3", 'max_retries must be a whole number, not "3"'),
        ("max_retries", -1, "max_retries must be 0 to 1000000"),
        ("max_retries", 1_000_001, "max_retries must be 0 to 1000000"),
        ("timeout", True, 'timeout must be a number of seconds or text like "10m", not true'),
        ("timeout", "3", 'timeout must be a number of seconds or text like "10m", not "3"'),
        ("timeout", [1], 'timeout must be a number of seconds or text like "10m", not [1]'),
        ("timeout", -1, "timeout: a duration is 0 to 10 years, not -1 s"),
        ("timeout", float("nan"), "timeout: a duration is 0 to 10 years, not nan s"),
        ("timeout", float("inf"), "timeout: a duration is 0 to 10 years, not inf s"),
        (
            "timeout",
            "1x",
            "timeout: not a duration: '1x' (examples: 90, 30s, 5min, 1h30m, 2 hours, 1d 12h)",
        ),
        ("delay", "3", 'delay must be a number of seconds or text like "10m", not "3"'),
        ("delay", -1, "delay: a duration is 0 to 10 years, not -1 s"),
        ("delay", 1e300, "delay: a duration is 0 to 10 years, not 1e+300 s"),
        ("run_at", 5, "run_at must be text, not 5"),
        ("run_at", "18:00\0", "run_at holds a NUL byte"),
        ("run_at", LONE, "run_at is not valid UTF-8"),
        ("cwd", 1, "cwd must be text, not 1"),
        ("cwd", "", "cwd is empty"),
        ("cwd", "/etc/passwd", "cwd is not a folder: /etc/passwd"),
        ("cwd", "/no/such/folder", "cwd is not a folder: /no/such/folder"),
        ("cwd", "/\0", "cwd holds a NUL byte"),
        ("cwd", LONE, "cwd is not valid UTF-8"),
        ("cwd", "/" * 4097, "cwd has 4097 bytes; at most 4096 are allowed"),
        ("env", [], "env must be an object of names and texts, not []"),
        ("env", "A=1", 'env must be an object of names and texts, not "A=1"'),
        ("env", {"A": 1}, "env A must be text, not 1"),
        ("env", {"A": None}, "env A must be text, not null"),
        ("env", {"A-B": "1"}, "env: not a variable's name: 'A-B'"),
        ("env", {"1A": "1"}, "env: not a variable's name: '1A'"),
        ("env", {"": "1"}, "env: not a variable's name: ''"),
        ("env", {"\u00c4": "1"}, "env: not a variable's name: '\u00c4'"),
        ("env", {"A\n": "1"}, "env: not a variable's name: 'A\\n'"),
        ("env", {"QUEUECTL_JOB_ID": "1"}, "env: QUEUECTL_JOB_ID is set by queuectl"),
        ("env", {"A": "\0"}, "env A holds a NUL byte"),
        ("env", {"A": LONE}, "env A is not valid UTF-8"),
        ("unique_key", "", "unique_key must be one line of printable text"),
        ("unique_key", "a\nb", "unique_key must be one line of printable text"),
        ("unique_key", 7, "unique_key must be text, not 7"),
        ("unique_key", "x" * 1025, "unique_key has 1025 bytes; at most 1024 are allowed"),
        ("if_dup", "maybe", 'if_dup is skip, join, replace or error, not "maybe"'),
        ("if_dup", [], "if_dup is skip, join, replace or error, not []"),
        ("after", 1, "after must be a job's id or a list of them, not 1"),
        ("after", {"a": 1}, 'after must be a job\'s id or a list of them, not {"a": 1}'),
        ("after_any", [None], "after_any must be text, not null"),
        ("label", "a\x1b[31m", "label must be one line of printable text"),
        ("label", ["x"], 'label must be text, not ["x"]'),
        ("command", 1, "command must be text, not 1"),
        ("command", ["ls"], 'command must be text, not ["ls"]'),
        ("command", "", "the command is empty"),
        ("command", " \t\n", "the command is empty"),
        ("command", "a\0b", "command holds a NUL byte"),
        ("command", LONE, "command is not valid UTF-8"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_type_or_range_is_refused(name, value, message):
    """The message names the field and the value: true is not 1, "3" is not 3, NaN is no number."""
    with pytest.raises(InvalidInput) as refused:
        spec(**{name: value})

    assert str(refused.value) == message


@pytest.mark.parametrize(
    "text", ["x" * LIMIT, "\u00e9" * (LIMIT // 2), "\U0001f642" * (LIMIT // 4)]
)
def test_a_command_may_have_130_000_bytes(text):
    """The kernel can still pass that as one argument. One byte more is refused."""
    assert spec(command=text).command == text
    with pytest.raises(InvalidInput, match=f"^command has {LIMIT + 1} bytes; at most {LIMIT} are"):
        spec(command=text + "x")


def test_a_variable_may_have_130_000_bytes_with_its_name():
    """The kernel counts NAME=VALUE as one string."""
    name = "NAME"
    assert spec(env={name: "x" * (LIMIT - len(name) - 1)}).env[name][:1] == "x"
    with pytest.raises(InvalidInput, match=r"^env NAME has \d+ bytes; at most \d+ are allowed$"):
        spec(env={name: "x" * (LIMIT - len(name))})


def test_delay_and_run_at_cannot_be_used_together():
    """Both set the time of the first attempt."""
    with pytest.raises(InvalidInput, match=r"^delay and run_at cannot be used together$"):
        spec(delay=1, run_at="18:00")


@pytest.mark.parametrize(
    "name",
    ["state", "attempts", "created_at", "updated_at", "finished_at", "locked_by", "locked_at",
     "exit_code", "signal", "last_error"],
)  # fmt: skip
def test_a_field_that_queuectl_sets_is_refused(name):
    """The error names the command that accepts such fields."""
    with pytest.raises(InvalidInput) as refused:
        spec(**{name: "x"})

    assert str(refused.value) == f"{name} is set by queuectl; use import"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("comand", "did you mean command?"),
        ("max-retries", "did you mean max_retries?"),
        ("prioritty", "did you mean priority?"),
        ("uniqueKey", "did you mean unique_key?"),
        ("cmd", "did you mean command?"),
        ("cmdline", "did you mean command?"),
        ("run", "did you mean command?"),
        ("at", "did you mean run_at?"),
        ("zzz", f"known: {' '.join(JSON_FIELDS)}"),
    ],
)
def test_an_unknown_field_gets_a_suggestion(name, hint):
    """A typing error is refused, never ignored, and the error names the most similar field."""
    with pytest.raises(InvalidInput) as refused:
        spec(**{name: 1})

    assert str(refused.value) == f"unknown field {name!r} ({hint})"


def test_the_objects_own_field_wins_over_a_default():
    """Defaults replace fields that are absent or null; variables are merged one by one."""
    defaults = {"priority": 5, "queue": "mail", "env": {"A": "default", "B": "default"}}
    fields = {"command": "true", "priority": 0, "queue": None, "env": {"A": "own"}}

    made = JobSpec.from_fields(fields, now=NOW, defaults=defaults)

    assert made == JobSpec(
        command="true", priority=0, queue="mail", env={"A": "own", "B": "default"}
    )


def test_an_object_is_read_as_json():
    """A plain object gives its fields."""
    assert parse_object(' {"command": "ls", "priority": 1} ') == {"command": "ls", "priority": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"command": "a", "command": "b"}', "the key 'command' is given twice"),
        ('{"env": {"A": "1", "A": "2"}}', "the key 'A' is given twice"),
        ('{"timeout": NaN}', "NaN is not a number"),
        ('{"timeout": -Infinity}', "-Infinity is not a number"),
        ("[]", "it is not an object"),
        ('"x"', "it is not an object"),
        ("null", "it is not an object"),
        ('{"a":' * 100_000, "it is nested too deeply"),
    ],
)
def test_json_is_read_strictly(text, message):
    """Repeated keys, NaN and JSON that is no object are refused, with our own messages."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        parse_object(text)


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": 1,}', '{"a": 1} x', "{a: 1}", "\0"])
def test_broken_json_is_refused(text):
    """A broken object raises ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_object(text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["\ud800", "\0", "1e999", "18:00", "10m", "-a", "{", " "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(JSON_FIELDS) | st.text(max_size=12), VALUES, max_size=5)


@settings(deadline=None, max_examples=150, database=None)
@given(FIELDS)
@example({"command": "true", "timeout": 10**5000})
@example({"command": "true", "run_at": "0001-01-01T00:00+14:00"})
@example({"command": "true", "\ud800": 1})
def test_any_fields_make_a_job_or_are_refused(fields):
    """Whatever JSON holds, the checks return a spec or raise InvalidInput."""
    try:
        made = JobSpec.from_fields(fields, now=NOW)
    except InvalidInput:
        return
    assert made.command == fields["command"]


@settings(deadline=None, max_examples=300, database=None)
@given(st.text() | FIELDS.map(json.dumps) | st.text(st.sampled_from('{}[]",:\\u0d8 -eN19')))
@example('{"a": ' + "9" * 5000 + "}")
@example('{"a": "\\ud800"}')
def test_any_text_is_an_object_or_a_value_error(text):
    """Whatever the text, reading it returns a dict or raises ValueError."""
    try:
        read = parse_object(text)
    except ValueError:
        return
    assert type(read) is dict
