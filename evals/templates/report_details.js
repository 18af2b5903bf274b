
// What a feature opens into, built when it is first opened. Names come from anywhere: textContent only.
const page = JSON.parse(byId("page").textContent);
let pictures = null;

function tiles(pairs) {
  const list = make("ul", "tiles");
  pictures ??= JSON.parse(byId("thumbnails").textContent);
  for (const [place, activation] of pairs) {
    const item = make("li");
    if (place >= 0) {
      const picture = make("img");
      picture.src = "data:image/webp;base64," + pictures[place];
      picture.alt = "";
      item.append(picture);
    } else {
      item.append(make("span", "gone"));
    }
    item.append(activation === null ? "–" : String(activation));
    list.append(item);
  }
  return list;
}

function resultWords(cell) {
  return page.signs[cell.r] + " " + cell.r + (cell.w ? ", not put forward" : "");
}

function side(data, cell) {
  const told = (at) => (at === null ? "" : data.x[at]);
  const part = make("div");
  part.append(make("p", "name", cell.n === null ? "no name" : told(cell.n)));
  part.append(make("p", cell.r.split(" ")[0], resultWords(cell) + (cell.e === null ? "" : ": " + told(cell.e))));
  if (cell.run) part.append(make("p", "quiet", "namesae trace " + cell.run));
  if (cell.s.length) part.append(make("p", "quiet", "Sealed images and activations"), tiles(cell.s));
  if (!cell.of) {
    part.append(make("p", "quiet", "It tried nothing on the way."));
    return part;
  }
  part.append(make("p", "quiet", cell.t.length < cell.of ? `Steps: ${cell.t.length} of ${cell.of}, the best and the last; scores to the right` : `Steps: ${cell.of}; scores to the right`));
  const steps = make("ol", "steps");
  for (const [at, text, score, note, best, charged, pairs] of cell.t) {
    const step = make("li");
    step.append(make("span", "at", at));
    const middle = make("span", "", told(text));
    const said = [told(note), best === null ? "" : "best so far: " + told(best), charged ? charged + " images" : ""];
    middle.append(make("small", "", said.filter(Boolean).join(" · ")));
    if (pairs.length) middle.append(tiles(pairs));
    step.append(middle, make("span", "score", score === null ? "–" : score));
    steps.append(step);
  }
  part.append(steps);
  return part;
}

function chooser(data, first, label) {
  const part = make("div"), holder = make("label", "", label), choice = make("select");
  data.c.forEach((cell, at) => {
    const option = make("option", "", page.conditions[cell.c][1]);
    option.value = at;
    choice.append(option);
  });
  holder.append(choice);
  part.append(holder, make("div"));
  const show = () => part.lastChild.replaceWith(side(data, data.c[Number(choice.value)]));
  choice.value = first;
  choice.addEventListener("change", show);
  show();
  return { part, choose: (at) => { choice.value = at; show(); } };
}

function figuresTable(data, choose) {
  const box = make("div", "scroll"), table = make("table"), head = make("tr"), body = make("tbody");
  box.tabIndex = 0;
  ["Condition", "Name", "Result", ...page.figures].forEach((label, at) => {
    const cell = make("th", at < 4 ? "" : "n", label);
    cell.scope = "col";
    head.append(cell);
  });
  data.c.forEach((cell, at) => {
    const [, title, role] = page.conditions[cell.c];
    const row = make("tr", role), first = make("th"), button = make("button", "", title);
    first.scope = "row";
    button.type = "button";
    button.title = "Show its steps on the right";
    button.addEventListener("click", () => choose(at));
    first.append(button);
    row.append(first, make("td", "t", cell.n === null ? "–" : data.x[cell.n]), make("td", cell.r.split(" ")[0], resultWords(cell)));
    cell.f.forEach((text, place) => row.append(make("td", place ? "n" : "t", data.x[text])));
    body.append(row);
  });
  const top = make("thead");
  top.append(head);
  table.append(make("caption", "", "Figures of every name"), top, body);
  box.append(table);
  return box;
}

function detailOf(row) {
  const data = JSON.parse(byId("f" + row.dataset.at).textContent);
  const made = make("tr", "detail"), cell = make("td"), inner = make("div"), sides = make("div", "sides");
  made.id = "d" + row.dataset.at;
  cell.colSpan = row.cells.length;
  const place = (role) => data.c.findIndex((each) => page.conditions[each.c][2] === role);
  const ours = Math.max(0, place("ours"));
  const rival = place("rival") >= 0 ? place("rival") : Math.min(data.c.length - 1, ours + 1);
  const left = chooser(data, ours, "Trace of"), right = chooser(data, rival, "beside");
  sides.append(left.part, right.part);
  inner.append(make("h3", "", row.cells[0].textContent + ": " + row.cells[3].textContent), sides, figuresTable(data, right.choose));
  cell.append(inner);
  made.append(cell);
  return made;
}

featureRows.forEach((row) => {
  const head = row.cells[0], button = make("button", "", head.textContent);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    let detail = byId("d" + row.dataset.at);
    if (!detail) {
      detail = detailOf(row);
      detail.hidden = true;
      row.after(detail);
      button.setAttribute("aria-controls", detail.id);
    }
    detail.hidden = !detail.hidden;
    row.classList.toggle("opened", !detail.hidden);
    button.setAttribute("aria-expanded", String(!detail.hidden));
  });
});
