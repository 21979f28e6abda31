"""The configuration keys: which values each accepts, and which are in force."""

from __future__ import annotations

import pytest

from queuectl.core.errors import InvalidInput
from queuectl.core.settings import KEYS, Settings, check_key, check_value, effective

DEFAULTS = dict(  # noqa: C408 (names as they are in the settings)
    max_retries=3,
    backoff_base=2.0,
    backoff_max=3600.0,
    backoff_jitter=0.1,
    job_timeout=300.0,
    kill_grace=10.0,
    output_limit=10 * 1024 * 1024,
    retention=30 * 86400.0,
    leftovers="keep",
    log_commands="off",
    capture_env=("*",),
    shell="/bin/sh",
)


def subset(settings):
    """The keys that every release has; later releases may add others."""
    return {name: getattr(settings, name) for name in DEFAULTS}


def test_nothing_stored_means_the_defaults():
    """An empty configuration gives the documented defaults."""
    assert subset(effective(())) == DEFAULTS


def test_a_shared_queue_takes_over_only_path():
    """What jobs keep may be read by the others there. A value that is set counts everywhere."""
    assert effective((), shared=True).capture_env == ("PATH",)
    assert effective((("capture-env", "*"),), shared=True).capture_env == ("*",)
    assert effective((), shared=True) == effective(())._replace(capture_env=("PATH",))


def test_every_key_is_a_setting_and_has_help():
    """Each key is a field of the settings, and has a valid default and one line of help."""
    assert [key.replace("-", "_") for key in KEYS] == list(Settings._fields)
    for key, known in KEYS.items():
        assert check_value(key, known.default) == getattr(effective(()), key.replace("-", "_"))
        assert known.help
        assert "\n" not in known.help


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("max-retries", "0", 1),
        ("max-retries", "7", 7),
        ("max-retries", "1000000", 1_000_000),
        ("backoff-base", "1", 1.0),
        ("backoff-base", "1.5", 1.5),
        ("backoff-max", "0", 0.0),
        ("backoff-max", "1d", 86400.0),
        ("backoff-jitter", "0", 0.0),
        ("backoff-jitter", "1", 1.0),
        ("job-timeout", "0", 0.0),
        ("job-timeout", "1h30m", 5400.0),
        ("kill-grace", "500ms", 0.5),
        ("output-limit", "1024", 1024),
        ("output-limit", "64KiB", 65536),
        ("output-limit", "10mb", 10 * 1024**2),
        ("output-limit", "1.5 GiB", 3 * 512 * 1024**2),
        ("retention", "0", 0.0),
        ("retention", "30d", 30 * 86400.0),
        ("leftovers", "kill", "kill"),
        ("shell", "/usr/bin/zsh", "/usr/bin/zsh"),
        ("capture-env", "", ()),
        ("capture-env", "*", ("*",)),
        ("capture-env", "PATH HOME", ("PATH", "HOME")),
        ("capture-env", "PATH, LANG", ("PATH", "LANG")),
    ],
)
def test_a_value_in_range_is_accepted_and_in_force(key, text, value):
    """The text of a value is read, including the values at both ends of the range."""
    assert check_value(key, text) == value
    expected = {**DEFAULTS, key.replace("-", "_"): value}
    assert subset(effective(((key, text),))) == expected


BAD = [
    ("max-retries", "-1"),
    ("max-retries", "1.0"),
    ("max-retries", "1000001"),
    ("max-retries", "9" * 5000),
    ("max-retries", "three"),
    ("max-retries", ""),
    ("max-retries", " 3"),
    ("max-retries", "٣"),
    ("backoff-base", "0.9"),
    ("backoff-base", "1001"),
    ("backoff-base", "nan"),
    ("backoff-base", "inf"),
    ("backoff-base", ""),
    ("backoff-max", "-1"),
    ("backoff-max", "20000d"),
    ("backoff-jitter", "1.1"),
    ("backoff-jitter", "-0.1"),
    ("backoff-jitter", "nan"),
    ("job-timeout", "soon"),
    ("kill-grace", "-5s"),
    ("output-limit", "1023"),
    ("output-limit", "2TiB"),
    ("output-limit", "2048GiB"),
    ("output-limit", "-5"),
    ("output-limit", "9" * 400),
    ("output-limit", "much"),
    ("retention", "forever"),
    ("leftovers", "Keep"),
    ("leftovers", ""),
    ("capture-env", "PATH;HOME"),
    ("capture-env", "1A"),
    ("capture-env", "A-B"),
    ("shell", "bash"),
    ("shell", ""),
    ("shell", "~/bash"),
    ("shell", "/bin/"),
    ("shell", "/bin/a\nb"),
    ("capture-env", "PATH *"),
]


@pytest.mark.parametrize(("key", "text"), BAD)
def test_a_bad_value_is_refused_and_the_error_names_its_key(key, text):
    """The error is one line."""
    with pytest.raises(InvalidInput, match=f"^{key}: "):
        check_value(key, text)


@pytest.mark.parametrize(("key", "text"), BAD)
def test_a_bad_value_in_the_file_counts_as_unset(key, text):
    """A value that an older tool stored cannot stop the workers: the default is in force."""
    assert subset(effective(((key, text),))) == DEFAULTS


def test_an_unknown_key_in_the_file_changes_nothing():
    """Keys of an older tool are kept, and have no effect."""
    assert subset(effective((("backoff-initial-delay", "5"), (None, "x")))) == DEFAULTS


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("max_retries", "did you mean max-retries?"),
        ("timeout", "did you mean job-timeout?"),
        ("MAX-RETRIES", f"known: {' '.join(KEYS)}"),
        ("nonsense", f"known: {' '.join(KEYS)}"),
        ("", f"known: {' '.join(KEYS)}"),
    ],
)
def test_an_unknown_key_is_refused_and_the_error_names_the_right_one(key, hint):
    """A similar key if there is one, else all keys."""
    expected = f"unknown key {key!r} ({hint})"
    for refused in (lambda: check_key(key), lambda: check_value(key, "1")):
        with pytest.raises(InvalidInput) as error:
            refused()
        assert str(error.value) == expected
