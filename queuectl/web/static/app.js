// The page works without this file. It adds: updates without reloading, keys, copying, the theme.
"use strict";
(() => {
  const POLL_MS = 2000;
  const FOLLOW_MS = 1000;
  const MOST_LINES = 5000;
  const ANNOUNCE_MS = 10000;
  const FAILURES_BEFORE_BANNER = 3;

  // Before the page is drawn: the theme that was chosen.
  const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private mode */ } };
  const THEMES = ["system", "light", "dark"];
  const theme = () => (THEMES.includes(stored("theme")) ? stored("theme") : "system");
  const applyTheme = () => {
    if (theme() === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme();
  };
  applyTheme();

  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Updates: the page asks for itself, and is given only what has changed.
  let tag = null;
  let failures = 0;
  let problem = ""; // what the server says instead of the page
  let paused = false;
  let announcedAt = 0;

  const isSelecting = () => {
    const selection = getSelection();
    return !selection.isCollapsed && find("#main").contains(selection.anchorNode);
  };
  const isBusy = () =>
    document.hidden || paused || isSelecting() || find("dialog[open]") !== null ||
    find("#main[data-live]") === null;

  // Morphing looks at each pair of lines: for the 11,000 lines of a long output that took a minute.
  const replace = (node, fresh) => {
    if (node.contains(document.activeElement) && isTyping({ target: document.activeElement })) {
      tag = null; // later, when nobody types there
      return;
    }
    const top = find(".term", node)?.scrollTop;
    node.replaceChildren(...[...fresh.childNodes].map((each) => document.importNode(each, true)));
    node.dataset.keep = fresh.dataset.keep;
    const term = find(".term", node);
    if (term) term.scrollTop = following ? term.scrollHeight : top;
  };
  const morph = (selector, fresh) => {
    const old = find(selector);
    const made = find(selector, fresh);
    if (old && made) {
      Idiomorph.morph(old, made, {
        ignoreActiveValue: true,
        callbacks: {
          // What the user has opened, ticked or typed stays as it is.
          beforeAttributeUpdated: (name, node) =>
            !(name === "open" && node.tagName === "DETAILS") &&
            !(name === "class" && node.matches("tr.at")) &&
            !(name === "checked" || (name === "value" && node.tagName !== "BUTTON")),
          beforeNodeMorphed: (node, fresh) => {
            if (node.nodeType !== 1 || !fresh.dataset?.keep) return true;
            if (node.dataset.keep !== fresh.dataset.keep) replace(node, fresh);
            return false;
          },
        },
      });
    }
  };

  const showFresh = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    if (find("#main[data-live]", fresh) === null) { location.reload(); return; }
    morph("#main", fresh);
    morph("nav.main", fresh);
    morph("#foot > span:nth-of-type(2)", fresh);
    document.title = fresh.title;
    const icon = find("link[rel=icon]");
    const newIcon = find("link[rel=icon]", fresh);
    if (icon && newIcon && icon.href !== newIcon.href) icon.href = newIcon.href;
    const spoken = find("#announce", fresh);
    if (spoken && Date.now() - announcedAt >= ANNOUNCE_MS && spoken.textContent !== find("#announce").textContent) {
      announcedAt = Date.now();
      find("#announce").textContent = spoken.textContent;
    }
    prepare();
  };

  const showState = () => {
    const live = find("#live");
    if (!live) return;
    const lost = failures >= FAILURES_BEFORE_BANNER;
    const wrong = lost ? "queuectl web does not answer. Trying again." : problem;
    live.className = `live${wrong ? " off" : paused ? " paused" : ""}`;
    find("span", live).textContent = lost ? "no answer" : problem ? "no update" : paused ? "paused" : "live";
    let banner = find("#banner");
    if (wrong && !banner) {
      banner = document.createElement("p");
      banner.id = "banner";
      banner.className = "banner";
      banner.setAttribute("role", "status");
      find("#main").before(banner);
    }
    if (!wrong) banner?.remove();
    else if (banner.textContent !== wrong) banner.textContent = wrong;
  };

  const update = async () => {
    if (isBusy()) return;
    try {
      const headers = { "X-Queuectl-Live": "1" };
      if (tag) headers["If-None-Match"] = tag;
      const answer = await fetch(location.href.split("#")[0], { headers, cache: "no-store" });
      if (answer.status === 401) { location.reload(); return; }
      const text = answer.status === 304 ? "" : await answer.text();
      failures = 0;
      problem = "";
      if (answer.status === 200) {
        if (isBusy()) return;
        tag = answer.headers.get("ETag");
        showFresh(text);
      } else if (answer.status !== 304) {
        const page = new DOMParser().parseFromString(text, "text/html");
        problem = find("main p", page)?.textContent || `queuectl web answers with an error (${answer.status}).`;
        if (problem === find("main p")?.textContent) problem = ""; // this page is the one that says it
      }
    } catch {
      failures += 1;
    }
    showState();
  };

  // Times: the server writes how long ago; these lines keep that fresh between updates.
  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const inOneUnit = (seconds) => {
    const [unit, length] = UNITS.find(([, each]) => seconds >= each) || UNITS[3];
    return `${Math.floor(seconds / length).toLocaleString("en")} ${unit}`;
  };
  const two = (number) => String(number).padStart(2, "0");
  const span = (seconds) => {
    if (seconds < 60) return `${seconds} s`;
    const minutes = Math.floor(seconds / 60);
    if (seconds < 600) return `${minutes} min ${two(seconds % 60)} s`;
    if (seconds < 3600) return `${minutes} min`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${two(minutes % 60)} min`;
    return `${Math.floor(seconds / 86400)} d ${two(Math.floor(seconds / 3600) % 24)} h`;
  };
  let ahead = 0; // how far this browser's clock is ahead of the server's
  const refreshTimes = () => {
    if (isSelecting()) return;
    for (const time of all("time[datetime]:not([data-exact])")) {
      const seconds = (Date.now() - ahead - Date.parse(time.dateTime)) / 1000;
      if ("span" in time.dataset) time.textContent = span(Math.max(0, Math.floor(seconds)));
      else if ("upcoming" in time.dataset && seconds >= 0) time.textContent = "now";
      else time.textContent = seconds < 0 ? `in ${inOneUnit(-seconds)}` : `${inOneUnit(seconds)} ago`;
    }
  };

  // Output of a running job: asked for from where it ended, and kept at its end while it is followed.
  let following = true;
  const follow = async () => {
    const term = find(".term[data-output]");
    if (!term || document.hidden || paused || isSelecting()) return;
    try {
      const headers = { "X-Queuectl-Live": "1" }; // a message is for a page that shows it
      const separator = term.dataset.output.includes("?") ? "&" : "?";
      const address = `${term.dataset.output}${separator}from=${term.dataset.next}`;
      const answer = await fetch(address, { headers, cache: "no-store" });
      if (answer.status !== 200) return;
      const list = find("ol", term);
      const lines = new DOMParser().parseFromString(`<ol>${await answer.text()}</ol>`, "text/html");
      find("li[data-partial]", list)?.remove();
      list.append(...all("li", lines));
      while (list.children.length > MOST_LINES) list.firstElementChild.remove();
      term.dataset.next = answer.headers.get("X-Queuectl-Next");
      if (answer.headers.get("X-Queuectl-Running") === "0") {
        delete term.dataset.output;
        delete find("#out").dataset.keep;
        tag = null;
      }
      if (following) term.scrollTop = term.scrollHeight;
    } catch { /* the banner of the updates says that nobody answers */ }
  };
  const showWrap = () => all(".term").forEach((term) => term.classList.toggle("nowrap", stored("wrap") === "off"));

  // Keys. They do nothing while somebody types, and can be switched off.
  const isTyping = (event) => event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  const rows = () => all("#main tbody tr").filter((row) => find("a[href]", row));
  let going = false;
  const moveBy = (step) => {
    const list = rows();
    if (!list.length) return;
    const old = find("tr.at");
    const row = list[Math.max(0, Math.min(list.length - 1, list.indexOf(old) + step))];
    old?.classList.remove("at");
    row.classList.add("at");
    row.scrollIntoView({ block: "nearest" });
  };
  const press = (key) => {
    const row = find("tr.at");
    const target = (row && find(`[data-key="${key}"]`, row)) || find(`#main [data-key="${key}"]`);
    if (target) target.click();
    return Boolean(target);
  };
  const keyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || stored("keys") === "off") return;
    if (find("dialog[open]") || isTyping(event)) {
      if (event.key === "Escape" && isTyping(event)) event.target.blur();
      return;
    }
    const { key } = event;
    if (going) {
      going = false;
      const link = find(`nav.main a[data-key="${key}"]`);
      if (link) link.click();
      return;
    }
    const row = find("tr.at");
    if (key === "/" && find("#find")) find("#find").focus();
    else if (key === "g") { going = true; setTimeout(() => { going = false; }, 1500); return; }
    else if (key === "j") moveBy(1);
    else if (key === "k") moveBy(-1);
    else if (key === "Enter" && row && event.target === document.body) find("a[href]", row).click();
    else if (key === "x" && row && find("input[type=checkbox]", row)) find("input[type=checkbox]", row).click();
    else if (key === "p") { paused = !paused; showState(); }
    else if (key === "?") find("#keys")?.showModal();
    else if (key === "Escape") all("tr.at").forEach((each) => each.classList.remove("at"));
    else if (!"recf[]".includes(key) || key.length !== 1 || !press(key)) return;
    event.preventDefault();
  };

  // What only works with this script is hidden until it is here; also after each update.
  const prepare = () => {
    const kinds = ["copy", "theme-switch", "keys", "script", "wrap", "follow"];
    all(kinds.map((kind) => `[data-${kind}][hidden]`).join()).forEach((each) => { each.hidden = false; });
    const button = find("[data-theme-switch]");
    if (button) button.textContent = `Theme: ${theme()}`;
    showWrap();
    refreshTimes();
    showTicked();
  };
  // How many jobs are ticked, those of ticked groups included.
  const showTicked = () => {
    const form = find("form.pick");
    if (!form) return;
    const everything = find("[name=all]", form);
    let count = 0;
    for (const group of all("[name=in-group]:checked", form)) count += Number(group.dataset.count);
    for (const job of all("[name=job]:checked", form)) {
      if (!find("[name=in-group]:checked", job.closest("tbody"))) count += 1;
    }
    const whole = everything.dataset.count;
    const shown = everything.checked ? (whole || "all") : count;
    find("[data-ticked]", form).textContent = shown ? `${shown} selected` : "";
  };
  const clicked = async (event) => {
    const button = event.target.closest("button, a");
    if (!button) return;
    if ("copy" in button.dataset) {
      await navigator.clipboard.writeText(find("span", button.closest(".cmd")).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } else if ("themeSwitch" in button.dataset) {
      store("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
      applyTheme();
      prepare();
    } else if ("keys" in button.dataset) find("#keys").showModal();
    else if ("wrap" in button.dataset) {
      store("wrap", stored("wrap") === "off" ? "on" : "off");
      showWrap();
    } else if ("follow" in button.dataset) {
      following = !following;
      button.setAttribute("aria-pressed", String(following));
      follow();
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const written = find('meta[name="now"]');
    if (written) ahead = Date.now() - Date.parse(written.content);
    prepare();
    const box = find("[data-keys-on]");
    if (box) {
      box.checked = stored("keys") !== "off";
      box.addEventListener("change", () => store("keys", box.checked ? "on" : "off"));
    }
    document.addEventListener("click", clicked);
    document.addEventListener("change", showTicked);
    document.addEventListener("keydown", keyDown);
    if (find("#main[data-live]")) setInterval(update, POLL_MS);
    setInterval(refreshTimes, 1000);
    setInterval(follow, FOLLOW_MS);
    all(".term").forEach((term) => { term.scrollTop = term.scrollHeight; });
  });
})();
