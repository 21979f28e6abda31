"""The web page of a queue: the same questions and actions as on the command line, in a browser.

`app.py` puts the parts together. A request first passes `guard.py`: header Host, secret path, token
or session, origin of a POST, role. Only then a page or an action sees it. So a page cannot forget a
check, and needs none of its own. `listen.py` holds the socket and the loop of the server.

How to add a page (example: `pages/workers.py` with `templates/workers.html`):

1.  `pages/NAME.py`: `NAME_page = Blueprint("NAME", __name__)`, and a view for GET that reads
    `guard.storage()` and returns `frame.render("NAME.html", title=…, nav="NAME.NAME", …)`. A view
    changes nothing. Add the blueprint to `PAGES` in `pages/__init__.py`, and a page for
    everybody to the navigation in `frame.py`.
2.  `templates/NAME.html` extends `base.html` and fills the block `main`, with one `<h1>`. Use the
    macros of `macros.html` (chips, times, job names, commands to copy, empty lists), and classes
    of `static/app.css`. The page updates itself: `app.js` asks for it again every 2 seconds and
    changes only what differs. An element with `data-keep` is left as it is. Give lists that reorder
    an `id` per row, so that a row keeps its focus and its tick.
3.  Whatever a template prints is escaped twice: control characters by `core/escaping.py`
    (`frame.py:_finalized`), HTML by Jinja. Attributes are always quoted. Inline scripts, inline
    styles, `style=` and `|safe` are forbidden, and `tests/web/test_templates.py` finds them. Only
    `charts.py` and `ansi.py` make markup.
4.  `tests/web/test_access.py` finds the page by itself: it needs a token, changes nothing, has all
    headers. Put what it shows into a test of its own, by `page.get("/NAME")`
    (`tests/support/web.py`).

How to add an action (example: `actions/jobs.py:retry`):

1.  A view for POST in `actions/`, its blueprint in `ACTIONS`. It calls the storage verb that the
    command line calls and ends with `acting.done(action, names, message)`: that logs one line, and
    leads back to the page of the form, which shows the message once. A QueueError that the storage
    raises does the same with its own text (`errors.py`): do not catch it. Where a verb keeps who
    acted, give it `acting.by()`.
2.  The button: the macro `act` within `{% if may_change() %}`, which writes a form with the field
    `back`. It has to work without JavaScript.
3.  View-only links, foreign origins and `--read-only` are refused before the view is called;
    `tests/web/test_access.py` tries all of them with every route. Test what the action does by
    `page.post("/…")`.
"""
