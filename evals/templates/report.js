"use strict";
// Sorting, choosing and filtering the tables that are on the page already. Texts go in as textContent alone.
document.documentElement.classList.add("js");

const byId = (id) => document.getElementById(id);
const make = (tag, css, text) => {
  const made = document.createElement(tag);
  if (css) made.className = css;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
};

function sortKey(row, at) {
  const cell = row.children[at];
  if (!cell) return null;
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  if (cell.classList.contains("n")) return null;
  return cell.textContent.trim().toLowerCase();
}

function sortRows(table, at, down) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("part") && !row.classList.contains("detail"));
    const keyed = rows.map((row, place) => ({ row, place, key: sortKey(row, at) }));
    keyed.sort((one, two) => {
      // What has no figure stays at the end, whichever way the rest runs.
      if (one.key === null || two.key === null) return (one.key === null) - (two.key === null) || one.place - two.place;
      const order = typeof one.key === "number" ? one.key - two.key : one.key.localeCompare(two.key, undefined, { numeric: true });
      return (down ? -order : order) || one.place - two.place;
    });
    const details = new Map([...body.querySelectorAll("tr.detail")].map((row) => [row.previousElementSibling, row]));
    for (const { row } of keyed) {
      body.append(row);
      if (details.has(row)) body.append(details.get(row));
    }
  }
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => {
    const button = make("button", "", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const now = head.getAttribute("aria-sort");
      const down = now ? now === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortRows(table, at, down);
    });
  });
}
document.querySelectorAll("table.sortable").forEach(makeSortable);

const group = byId("group");
function showGroup() {
  for (const body of byId("leaderboard").tBodies) body.hidden = body.dataset.group !== group.value;
}
if (group) {
  group.addEventListener("change", showGroup);
  showGroup();
  byId("minor").addEventListener("change", (event) => byId("leaderboard").classList.toggle("all-columns", event.target.checked));
}

// The table as it stands: the rows and columns in sight, figures as written.
function shownText(cell) {
  const clone = cell.cloneNode(true);
  clone.querySelectorAll("svg").forEach((each) => each.remove());
  return clone.textContent.replace(/\s+/g, " ").replaceAll("\u2212", "-").trim();
}
function csvField(cell) {
  let text = shownText(cell);
  const figure = cell.classList.contains("n");
  if (!figure && /^[=+\-@]/.test(text)) text = "'" + text;
  return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}
function tableCsv(table) {
  const inSight = (element) => element.getClientRects().length > 0;
  const rows = [...table.rows].filter((row) => !row.matches(".detail, .part, .detail *") && inSight(row));
  return rows.map((row) => [...row.cells].filter(inSight).map(csvField).join(",")).join("\n") + "\n";
}
document.querySelectorAll("button[data-csv]").forEach((button) => button.addEventListener("click", () => {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([tableCsv(byId(button.dataset.csv))], { type: "text/csv" }));
  link.download = button.dataset.csv + ".csv";
  link.click();
  URL.revokeObjectURL(link.href);
}));

const find = byId("find"), kind = byId("kind"), flag = byId("flag");
const featureRows = [...document.querySelectorAll("#features tr[data-at]")];
const haystacks = featureRows.map((row) => row.textContent.toLowerCase());
function filterRows() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  featureRows.forEach((row, at) => {
    const kept = (!wanted || haystacks[at].includes(wanted))
      && (!kind.value || row.dataset.kind === kind.value)
      && (!flag.value || row.dataset.flags.split(" ").includes(flag.value));
    row.hidden = !kept;
    const next = row.nextElementSibling;
    if (next && next.classList.contains("detail")) next.hidden = !kept || !row.classList.contains("opened");
    shown += kept;
  });
  byId("count").textContent = shown + (shown === 1 ? " feature" : " features");
}
if (find) {
  find.addEventListener("input", filterRows);
  kind.addEventListener("change", filterRows);
  flag.addEventListener("change", filterRows);
}
