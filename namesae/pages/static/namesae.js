// What the pages add where there is JavaScript. All of it works without, only with more page loads.
"use strict";

(() => {
  const root = document.documentElement;
  const isTyping = (target) => target.closest?.("input, textarea, select, [contenteditable]") !== null;
  const say = (text) => { document.getElementById("said").textContent = text; };

  // Light or dark: the system's, until chosen.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const toggle = document.querySelector("[data-theme-toggle]");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const label = () => toggle?.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
  if (toggle) {
    toggle.hidden = false;
    label();
    system.addEventListener("change", label);
    toggle.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
      label();
      root.dispatchEvent(new CustomEvent("theme"));
    });
  }

  // Keys: / searches; j and k walk a [data-walk] list, Enter opens.
  const steps = (by) => {
    const items = [...document.querySelectorAll("[data-walk] [data-step]")].filter((each) => each.offsetParent);
    if (!items.length) return;
    const now = items.indexOf(document.activeElement?.closest("[data-step]"));
    const first = items.findIndex((each) => each.getBoundingClientRect().top >= 60);
    const next = items[now < 0 ? Math.max(0, first) : Math.min(items.length - 1, Math.max(0, now + by))];
    const link = next.matches("a, button") ? next : next.querySelector("a, button");
    link.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "/") { event.preventDefault(); document.getElementById("find")?.focus(); }
    if (event.key === "j") steps(1);
    if (event.key === "k") steps(-1);
  });

  // [data-shows="name"] puts the class on the nearest [data-shown], or on the element its id names.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-shows]");
    if (!button) return;
    const shown = document.getElementById(button.getAttribute("aria-controls")) ?? button.closest("[data-shown]");
    const on = shown.classList.toggle(button.dataset.shows);
    button.setAttribute("aria-pressed", String(on));
    if (on) fetchLate(shown);
  });
  for (const button of document.querySelectorAll("[data-needs-js]")) button.hidden = false;

  // Pictures that are made when asked for come two at a time, so that other requests get through.
  const fetchLate = (shown) => {
    const next = () => {
      const late = shown.querySelector("img[data-late]");
      if (!late) return;
      late.classList.add("waiting");
      late.addEventListener("load", () => { late.classList.remove("waiting"); next(); }, { once: true });
      late.addEventListener("error", next, { once: true });
      late.src = late.dataset.late;
      delete late.dataset.late;
    };
    next();
    next();
  };

  // [data-copy="text"], or [data-copy-from="/url"]: into the clipboard.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy], button[data-copy-from]");
    if (!button) return;
    try {
      const from = button.dataset.copyFrom;
      const text = from ? await (await fetch(from, { credentials: "same-origin" })).text() : button.dataset.copy;
      await navigator.clipboard.writeText(text);
      say("Copied");
      const before = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = before; }, 1500);
    } catch { say("The browser did not let it be copied"); }
  });

  // A file larger than [data-most-bytes] is refused before it is sent.
  document.addEventListener("change", (event) => {
    const most = Number(event.target.dataset?.mostBytes);
    if (!most) return;
    const size = event.target.files[0]?.size ?? 0;
    event.target.setCustomValidity(size > most ? `The file has ${(size / 1e6).toFixed(1)} MB, more than ${most / 1e6} MB; reduce it.` : "");
  });

  // A picture that has gone leaves a grey square.
  document.addEventListener("error", (event) => {
    if (event.target.matches?.("img[data-picture]")) event.target.classList.add("gone");
  }, true);

  // [data-watch="/api/v1/runs/ID/events"]: each event of the run, at most one in 400 ms, becomes the event
  // "news" on the element, the last one "ended": hx-trigger="news, ended". EventSource reconnects by itself.
  const watched = new Map();
  const watch = (element) => {
    if (watched.has(element)) return;
    const source = new EventSource(element.dataset.watch);
    let due = null;
    const told = (name) => element.isConnected && window.htmx?.trigger(element, name);
    const news = (event) => {
      element.dispatchEvent(new CustomEvent("told", { detail: { kind: event.type, id: event.lastEventId, data: event.data } }));
      due ??= setTimeout(() => { due = null; told("news"); }, 400);
    };
    const close = () => { source.close(); watched.delete(element); };
    const kinds = ["started", "observed", "planned", "asked", "streamed", "scored", "raced", "judged", "ended", "reviewed", "forked"];
    for (const kind of kinds) source.addEventListener(kind, news);
    source.addEventListener("end", () => { close(); clearTimeout(due); told("ended"); });
    watched.set(element, close);
  };
  const watchAll = () => {
    for (const [element, close] of watched) if (!element.isConnected) close();
    document.querySelectorAll("[data-watch]").forEach(watch);
  };
  document.addEventListener("htmx:load", watchAll);
  watchAll();

  window.namesae = { say, isTyping, isDark };
})();
