// The grid of a dictionary: as tall as all its features, with only the rows near the window in the page.
"use strict";

(() => {
  const TALLEST = 15e6; // pixels; browsers stop a little above
  let stop = null;

  function start(table) {
    const total = Number(table.dataset.total);
    const size = Number(table.dataset.block);
    const body = table.tBodies[0];
    const height = body.rows[0].getBoundingClientRect().height;
    const count = Math.ceil(total / size);
    if (total <= body.rows.length || total * height > TALLEST) return null;
    table.parentElement.querySelector(".pager").hidden = true;

    const spacer = () => {
      const made = document.createElement("tbody");
      made.setAttribute("aria-hidden", "true");
      made.className = "space";
      return made;
    };
    const above = spacer();
    const below = spacer();
    body.before(above);
    body.after(below);
    const blocks = new Map([[Math.floor(Number(table.dataset.first) / size), body]]);
    const asking = new Map();
    const rowsOf = (block) => Math.min(size, total - block * size);

    const tall = (element, rows) => { element.style.height = `${rows * height}px`; element.hidden = rows === 0; };
    const fetchBlock = async (block) => {
      const control = new AbortController();
      asking.set(block, control);
      try {
        const url = new URL(table.dataset.rows, location.href);
        url.searchParams.set("cursor", block * size);
        const answer = await fetch(url, { signal: control.signal, credentials: "same-origin", headers: { "HX-Request": "true" } });
        if (!answer.ok) return;
        const made = blocks.get(block);
        if (!made) return;
        made.innerHTML = await answer.text();
        made.removeAttribute("aria-hidden");
        made.style.height = "";
      } catch { /* scrolled past, or offline: asked again when it is seen */ } finally { asking.delete(block); }
    };

    const seen = () => {
      const top = -table.tHead.getBoundingClientRect().bottom;
      const first = Math.floor(top / height / size);
      const last = Math.floor((top + innerHeight) / height / size);
      return [Math.min(count - 1, Math.max(0, first - 1)), Math.max(0, Math.min(count - 1, last + 1))];
    };

    let timer = null;
    const draw = () => {
      if (!table.isConnected) return;
      const [first, last] = seen();
      for (const [block, made] of blocks) {
        if (block >= first && block <= last) continue;
        made.remove();
        blocks.delete(block);
        asking.get(block)?.abort();
      }
      let before = above;
      for (let block = first; block <= last; block += 1) {
        let made = blocks.get(block);
        if (!made) {
          made = spacer();
          made.className = "";
          made.setAttribute("role", "rowgroup");
          tall(made, rowsOf(block));
          blocks.set(block, made);
        }
        if (before.nextElementSibling !== made) before.after(made);
        before = made;
      }
      tall(above, first * size);
      tall(below, Math.max(0, total - (last + 1) * size));
      clearTimeout(timer);
      timer = setTimeout(() => {
        for (const [block, made] of blocks) if (!made.rows.length && !asking.has(block)) fetchBlock(block);
      }, 60);
    };

    let due = false;
    const scrolled = () => {
      if (due) return;
      due = true;
      requestAnimationFrame(() => { due = false; draw(); });
    };
    addEventListener("scroll", scrolled, { passive: true });
    addEventListener("resize", scrolled, { passive: true });
    draw();
    return () => {
      removeEventListener("scroll", scrolled);
      removeEventListener("resize", scrolled);
      clearTimeout(timer);
      for (const control of asking.values()) control.abort();
    };
  }

  function restart() {
    const table = document.querySelector("[data-grid]");
    if (table === restart.of) return;
    stop?.();
    restart.of = table;
    stop = table ? start(table) : null;
  }
  document.addEventListener("htmx:load", restart);
  restart();
})();
