"""Everything that test modules share. No test module imports from another test module."""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# So that an assert in these modules shows the compared values, as one in a test module does.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
