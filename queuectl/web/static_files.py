"""The files that pages need: the style sheet, the scripts, the icons.

They are read once. Their URLs contain a hash of their content, so browsers may keep them for ever.
"""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from flask import Blueprint, Response, abort, url_for

from queuectl.core.named_tuples import NamedTuple

_FOLDER = Path(__file__).parent / "static"
_HASH_DIGITS = 12

files = Blueprint("static_files", __name__)


class _File(NamedTuple):
    content: bytes
    kind: str
    digest: str


def _read() -> dict[str, _File]:
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in (".css", ".js", ".svg"):
            content = path.read_bytes()
            kind = mimetypes.types_map.get(path.suffix, "application/octet-stream")
            if path.suffix == ".js":  # Python versions differ
                kind = "text/javascript"
            if kind.startswith("text/"):
                kind += "; charset=utf-8"
            digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
            found[path.name] = _File(content, kind, digest)
    return found


_FILES = _read()


@files.get("/static/<digest>/<name>")
def static_file(digest: str, name: str) -> Response:
    """Return a file; it needs no token, since it is the same in every queue."""
    found = _FILES.get(name)
    if found is None or found.digest != digest:
        abort(404)
    response = Response(found.content, content_type=found.kind)
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    return response


def static(name: str) -> str:
    """Return the URL of a file, for templates."""
    return url_for("static_files.static_file", digest=_FILES[name].digest, name=name)
