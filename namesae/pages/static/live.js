// Live parts of a page: events are the bell, the server's own HTML is what is shown, and only what changed is
// replaced. A server or worker that went away is asked again until it is back.
"use strict";

(() => {
  const live = document.getElementById("live");
  const KINDS = ["started", "observed", "planned", "asked", "streamed", "scored", "raced", "judged", "reviewed", "forked", "ended"];
  const OVER = new Set(["ended", "failed", "cancelled"]);
  const POLL_MS = 4000, BELL_MS = 250, RETRY_MS = [1000, 2000, 3000, 5000];

  // Messages that are fetched when they are opened.
  document.addEventListener("toggle", async (event) => {
    const box = event.target;
    if (!box.matches?.("details[data-src]") || !box.open) return;
    const source = box.dataset.src;
    delete box.dataset.src;
    try {
      const answer = await fetch(source, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      const part = document.createElement("div");
      part.innerHTML = await answer.text();
      box.lastElementChild.replaceWith(part);
    } catch { box.dataset.src = source; box.open = false; }
  }, true);

  if (!live) return;
  const served = new Map();
  const say = (text) => window.namesae?.say(text);
  let tag = null, busy = false, again = false, due = null, source = null, tries = 0, last = live.dataset.after ?? null;
  let polling = null;

  const key = (part) => `${part.parentElement.dataset.parts}/${part.dataset.part}`;
  for (const part of live.querySelectorAll("[data-part]")) served.set(key(part), part.outerHTML);

  const standing = (text) => {
    for (const place of live.querySelectorAll("[data-connection]")) place.textContent = text;
    live.dataset.connection = text;
  };

  const kept = (old) => ({
    open: new Set([...old.querySelectorAll("details[open]")].map((box, at) => box.id || String(at))),
    loaded: new Map([...old.querySelectorAll("details[id]:not([data-src])")].filter((box) => box.open).map((box) => [box.id, box.lastElementChild])),
    focus: old.contains(document.activeElement) ? document.activeElement.id || document.activeElement.className : null,
    scroll: old.querySelector(".log")?.scrollTop ?? 0,
  });

  const restore = (part, before) => {
    [...part.querySelectorAll("details")].forEach((box, at) => {
      const loaded = before.loaded.get(box.id);
      if (loaded) { delete box.dataset.src; box.lastElementChild.replaceWith(loaded); }
      if (before.open.has(box.id || String(at))) box.open = true;
    });
    if (before.scroll && part.querySelector(".log")) part.querySelector(".log").scrollTop = before.scroll;
    if (before.focus) (document.getElementById(before.focus) ?? part.querySelector(`[class="${CSS.escape(before.focus)}"]`))?.focus?.({ preventScroll: true });
  };

  const show = (html) => {
    const told = new DOMParser().parseFromString(html, "text/html");
    for (const list of told.querySelectorAll("[data-parts]")) {
      const here = live.querySelector(`[data-parts="${list.dataset.parts}"]`);
      if (!here) continue;
      const wanted = new Set();
      let place = null;
      for (const fresh of [...list.querySelectorAll(":scope > [data-part]")]) {
        const name = `${list.dataset.parts}/${fresh.dataset.part}`;
        const text = fresh.outerHTML;
        wanted.add(fresh.dataset.part);
        let mine = here.querySelector(`:scope > [data-part="${CSS.escape(fresh.dataset.part)}"]`);
        if (!mine || served.get(name) !== text) {
          const next = document.importNode(fresh, true);
          if (mine) {
            const before = kept(mine);
            mine.replaceWith(next);
            restore(next, before);
          } else {
            next.classList.add("fresh");
            if (place) place.after(next); else here.prepend(next);
          }
          mine = next;
          served.set(name, text);
        }
        place = mine;
      }
      for (const old of here.querySelectorAll(":scope > [data-part]")) {
        if (!wanted.has(old.dataset.part)) { served.delete(key(old)); old.remove(); }
      }
    }
    const head = told.querySelector("[data-parts][data-state]");
    if (head) {
      if (head.dataset.say && head.dataset.say !== live.dataset.said) { live.dataset.said = head.dataset.say; say(head.dataset.say); }
      if (head.dataset.title) document.title = `${head.dataset.title} · namesae`;
    }
    live.dataset.state = head?.dataset.state ?? "ended";
    if (OVER.has(live.dataset.state)) stop();
  };

  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(live.dataset.live, { credentials: "same-origin", headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.redirected) { location.reload(); return; }
      if (answer.ok) { tag = answer.headers.get("etag"); show(await answer.text()); standing(OVER.has(live.dataset.state) ? "" : "Live, latest first"); }
      else if (answer.status !== 304) standing("The server does not answer; trying again");
    } catch { standing("The server does not answer; trying again"); }
    busy = false;
    if (again) { again = false; ring(); }
  };

  const ring = () => { due ??= setTimeout(() => { due = null; refresh(); }, BELL_MS); };

  const listen = () => {
    if (!live.dataset.events) return;
    source = new EventSource(last ? `${live.dataset.events}?after=${encodeURIComponent(last)}` : live.dataset.events);
    source.addEventListener("open", () => { tries = 0; ring(); });
    for (const kind of KINDS) source.addEventListener(kind, (event) => { last = event.lastEventId || last; ring(); });
    source.addEventListener("end", () => { source.close(); source = null; refresh(); });
    source.addEventListener("error", () => {
      standing("The server does not answer; trying again");
      // The browser comes back by itself after a lost connection, but not after an answer that was an error.
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(() => { if (!OVER.has(live.dataset.state)) listen(); }, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]);
      }
    });
  };

  const stop = () => {
    source?.close();
    source = null;
    clearInterval(polling);
    standing("");
  };

  if (OVER.has(live.dataset.state)) return;
  listen();
  polling = setInterval(() => { if (!document.hidden) refresh(); }, Number(live.dataset.every ?? POLL_MS));
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !OVER.has(live.dataset.state)) refresh(); });
})();
