"""The optional packages: a command without them says in one line how to get them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from queuectl.core.extras import PACKAGES, MissingPackage, needed

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name queuectl on the public index belongs to another project, so a checkout is named."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(MissingPackage) as caught, needed("metrics"):
        import prometheus_client  # noqa: F401 (it is hidden)

    assert str(caught.value) == (
        "this command needs the package prometheus-client "
        "(in a checkout of queuectl: pip install '.[metrics]')"
    )
    assert caught.value.exit_code == 1


def test_the_message_says_what_works_without_the_package() -> None:
    """A schedule `every 10m` needs no package, a cron expression does."""
    error = MissingPackage("cron expressions need", "cron", "'every 10m' works without it")

    assert str(error) == (
        "cron expressions need the package cronsim "
        "(in a checkout of queuectl: pip install '.[cron]'; 'every 10m' works without it)"
    )


def test_a_dependency_of_a_package_may_be_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra brings flask and all that flask imports."""
    monkeypatch.setitem(sys.modules, "markupsafe", None)

    with pytest.raises(MissingPackage) as caught, needed("web"):
        import markupsafe  # noqa: F401 (it is hidden)

    assert str(caught.value) == (
        "this command needs the packages flask, waitress and prometheus-client "
        "(in a checkout of queuectl: pip install '.[web]')"
    )


def test_a_missing_module_of_ours_is_a_bug() -> None:
    """Nobody is told to install a package when queuectl itself is incomplete."""
    with pytest.raises(ModuleNotFoundError), needed("web"):
        import queuectl.no_such_module  # noqa: F401


@pytest.mark.skipif(not PROJECT.exists(), reason="an unpacked wheel lacks it")
def test_every_package_is_in_its_extra() -> None:
    """What the message tells people to install brings what it names."""
    project = PROJECT.read_text("utf-8")

    for extra, packages in PACKAGES.items():
        line = re.search(rf"^{extra} = \[(.*)\]$", project, re.MULTILINE)
        assert line is not None
        for package in re.split(", | and ", packages):
            assert f'"{package}>=' in line[1]
    assert 'full = ["queuectl[cron]", "queuectl[metrics]", "queuectl[web]"]' in project
