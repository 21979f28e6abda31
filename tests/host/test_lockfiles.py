"""Who is alive is proved by the kernel: locks that end with their process."""

from __future__ import annotations
