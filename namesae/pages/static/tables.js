// Tables: columns sort, lines open into both sides, choices submit their form.
"use strict";

(() => {
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("n");
        const up = head.getAttribute("aria-sort") !== "ascending" && !head.classList.contains("n");
        const falls = head.classList.contains("n") ? down : !up;
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", falls ? "descending" : "ascending");
        for (const body of table.tBodies) sort(body, at, falls, head.classList.contains("n"));
      });
    });
  }

  function sort(body, at, falls, numeric) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("part-row"));
    const value = (row) => (numeric ? Number.parseFloat(row.cells[at].dataset.v ?? "NaN") : row.cells[at].textContent.trim());
    rows.sort((one, other) => {
      const a = value(one), b = value(other);
      if (!numeric) return (falls ? -1 : 1) * a.localeCompare(b);
      // What has no figure stays last, whichever way.
      if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
      return (falls ? -1 : 1) * (a - b);
    });
    body.append(...rows);
  }

  for (const button of document.querySelectorAll("button.opens")) {
    button.hidden = false;
    button.parentElement.querySelector(".no-script")?.remove();
    button.addEventListener("click", () => {
      const detail = document.getElementById(button.getAttribute("aria-controls"));
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
    });
  }

  for (const choice of document.querySelectorAll("select[data-submits]")) {
    const button = choice.form.querySelector("button[type=submit]");
    if (button) button.hidden = true;
    choice.addEventListener("change", () => choice.form.requestSubmit());
  }
})();
