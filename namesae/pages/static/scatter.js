// Density against activation on a canvas: hover or tap tells, a click opens, arrow keys walk.
"use strict";

(() => {
  const LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 34, REACH = 22;
  const box = document.querySelector("[data-scatter]");
  if (!box) return;
  // On a phone the grid comes first: the plot opens when asked for.
  if (matchMedia("(max-width: 820px)").matches) box.open = false;
  const canvas = box.querySelector("canvas");
  const tip = box.querySelector(".tip");
  const pen = canvas.getContext("2d");
  let points = [];
  let now = -1;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const decades = (low, high) => {
    const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
    return [from, to > from ? to : from + 1];
  };
  const power = (at) => (at >= -3 && at <= 3 ? String(Number((10 ** at).toPrecision(1))) : `1e${at}`);

  const place = () => {
    const wide = canvas.parentElement.clientWidth;
    const high = Math.round(Math.min(340, Math.max(220, wide * 0.72)));
    const ratio = devicePixelRatio || 1;
    canvas.width = wide * ratio;
    canvas.height = high * ratio;
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${high}px`;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [x0, x1] = decades(Math.min(...points.map((p) => p.density)), Math.max(...points.map((p) => p.density)));
    const [y0, y1] = decades(Math.min(...points.map((p) => p.scale)), Math.max(...points.map((p) => p.scale)));
    for (const p of points) {
      p.x = LEFT + (Math.log10(p.density) - x0) / (x1 - x0) * (wide - LEFT - RIGHT);
      p.y = high - BOTTOM - (Math.log10(p.scale) - y0) / (y1 - y0) * (high - TOP - BOTTOM);
    }
    return { wide, high, x0, x1, y0, y1 };
  };

  const draw = () => {
    if (!points.length || !canvas.parentElement.clientWidth) return;
    const { wide, high, x0, x1, y0, y1 } = place();
    pen.clearRect(0, 0, wide, high);
    pen.font = "11px Inter, system-ui, sans-serif";
    pen.strokeStyle = colour("--line");
    pen.fillStyle = colour("--quiet");
    pen.lineWidth = 1;
    pen.textAlign = "center";
    for (let at = x0; at <= x1; at += 1) {
      const x = Math.round(LEFT + (at - x0) / (x1 - x0) * (wide - LEFT - RIGHT)) + 0.5;
      pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, high - BOTTOM); pen.stroke();
      pen.fillText(power(at), x, high - BOTTOM + 14);
    }
    pen.fillText("density", LEFT + (wide - LEFT - RIGHT) / 2, high - 4);
    pen.textAlign = "right";
    for (let at = y0; at <= y1; at += 1) {
      const y = Math.round(high - BOTTOM - (at - y0) / (y1 - y0) * (high - TOP - BOTTOM)) + 0.5;
      pen.beginPath(); pen.moveTo(LEFT, y); pen.lineTo(wide - RIGHT, y); pen.stroke();
      pen.fillText(power(at), LEFT - 6, y + 4);
    }
    pen.save();
    pen.translate(10, TOP + (high - TOP - BOTTOM) / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("activation, p99", 0, 0);
    pen.restore();
    const size = points.length > 1500 ? 1.6 : points.length > 300 ? 2.4 : 3.2;
    const colours = new Map();
    // What nobody has tried lies beneath.
    for (const p of [...points].sort((a, b) => (a.verdict !== null) - (b.verdict !== null))) {
      const name = p.verdict ?? "none";
      if (!colours.has(name)) colours.set(name, p.verdict ? colour(`--v-${p.verdict}`) : colour("--edge"));
      pen.fillStyle = colours.get(name);
      pen.globalAlpha = p.verdict ? 0.9 : 0.4;
      pen.beginPath(); pen.arc(p.x, p.y, size, 0, 7); pen.fill();
    }
    pen.globalAlpha = 1;
    if (points[now]) {
      pen.strokeStyle = colour("--ink");
      pen.lineWidth = 1.6;
      pen.beginPath(); pen.arc(points[now].x, points[now].y, size + 3, 0, 7); pen.stroke();
    }
  };

  const nearest = (event) => {
    const at = canvas.getBoundingClientRect();
    const x = event.clientX - at.left, y = event.clientY - at.top;
    let best = -1, least = REACH * REACH;
    points.forEach((p, index) => {
      const far = (p.x - x) ** 2 + (p.y - y) ** 2;
      if (far < least) { least = far; best = index; }
    });
    return best;
  };

  const briefs = new Map();
  let asked = null;
  const show = (index, aloud) => {
    if (index === now) return;
    now = index;
    draw();
    const p = points[index];
    tip.hidden = !p;
    clearTimeout(asked);
    if (!p) return;
    const plain = `#${p.index}: density ${p.density.toPrecision(2)}, activation ${p.scale.toPrecision(3)}`;
    tip.replaceChildren(briefs.get(p.index)?.cloneNode(true) ?? document.createTextNode(plain));
    tip.style.left = `${Math.min(Math.max(0, p.x - 110), canvas.clientWidth - 220)}px`;
    tip.style.top = `${p.y > 120 ? p.y - 14 : p.y + 14}px`;
    tip.classList.toggle("over", p.y > 120);
    if (aloud) window.namesae.say(`${plain}, ${p.verdict ?? "not tried"}`);
    if (!briefs.has(p.index)) asked = setTimeout(() => brief(p.index), 90);
  };
  const brief = async (index) => {
    try {
      const answer = await fetch(`${box.dataset.feature}${index}/brief`, { headers: { "HX-Request": "true" } });
      if (!answer.ok) return;
      const made = document.createElement("div");
      made.innerHTML = await answer.text();
      briefs.set(index, made);
      if (points[now]?.index === index) tip.replaceChildren(made.cloneNode(true));
    } catch { /* the plain words stay */ }
  };
  const open = () => { if (points[now]) location.href = box.dataset.feature + points[now].index; };

  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const found = nearest(event);
    canvas.classList.toggle("on", found >= 0);
    show(found);
  });
  canvas.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") show(-1); });
  let touched = false;
  canvas.addEventListener("pointerdown", (event) => { touched = event.pointerType === "touch"; });
  canvas.addEventListener("click", (event) => {
    const found = nearest(event);
    // The first tap tells, the second opens.
    if (touched && found !== now) show(found);
    else if (found >= 0) { show(found); open(); }
    else show(-1);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (by) { event.preventDefault(); show(Math.min(points.length - 1, Math.max(0, now + by)), true); }
    if (event.key === "Enter") open();
    if (event.key === "Escape") show(-1);
  });
  canvas.addEventListener("blur", () => show(-1));

  (async () => {
    const answer = await fetch(box.dataset.scatter, { credentials: "same-origin" });
    if (!answer.ok) return;
    const found = await answer.json();
    points = found.points.map(([index, density, scale, verdict]) => ({ index, density, scale, verdict }))
      .filter((p) => p.density > 0 && p.scale > 0)
      .sort((a, b) => a.density - b.density || a.scale - b.scale);
    if (!points.length) {
      box.querySelector(".plot").textContent = "No density is known yet: it is measured when the first feature is named.";
      return;
    }
    canvas.hidden = false;
    draw();
    new ResizeObserver(draw).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    document.documentElement.addEventListener("theme", draw);
  })();
})();
