"use strict";
// The page works without this script. It adds: choice of subset and metric, sorting, filters, tooltips, and the theme.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Show the panels for the chosen subset and metric.
  const subset = byId("choose-subset");
  const metric = byId("choose-metric");
  const choose = () => {
    for (const panel of all(".panel")) {
      const fits = (name, select) => !panel.dataset[name] || !select || panel.dataset[name] === select.value;
      panel.hidden = !(fits("subset", subset) && fits("metric", metric));
    }
  };
  for (const select of [subset, metric]) select?.addEventListener("change", choose);

  // Filter the rows of the table of all metrics.
  const filter = byId("filter-subset");
  const applyFilter = () => {
    for (const row of all("table.metrics tbody tr")) {
      row.hidden = filter.value !== "" && row.dataset.subset !== filter.value;
    }
  };
  filter?.addEventListener("change", applyFilter);
  if (filter) applyFilter();
  for (const controls of all(".controls")) controls.hidden = false;

  // Sort tables by a column. Cells without a number come last.
  const key = (row, column) => {
    const cell = row.cells[column];
    const figure = cell.querySelector("data");
    const number = Number.parseFloat(figure ? figure.value : cell.textContent);
    return Number.isNaN(number) ? cell.textContent.trim() : number;
  };
  const compare = (first, second) => {
    const kinds = [typeof first, typeof second];
    if (kinds[0] !== kinds[1]) return kinds[0] === "number" ? -1 : 1;
    return kinds[0] === "number" ? first - second : first.localeCompare(second);
  };
  const sort = (table, column) => {
    const heads = all("thead th", table);
    const descending = heads[column].getAttribute("aria-sort") === "ascending";
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([first], [second]) => {
      const mixed = typeof first !== typeof second;
      return descending && !mixed ? compare(second, first) : compare(first, second);
    });
    body.append(...rows.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    all("thead th", table).forEach((head, column) => {
      if (table.tBodies[0].rows[0]?.cells[column]?.classList.contains("drawing")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column));
      head.append(button);
    });
  }

  // Tooltips of the points, for the pointer and the keyboard.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const show = (mark) => {
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const target = (mark.querySelector("path, rect") ?? mark).getBoundingClientRect();
    const left = Math.min(Math.max(8, target.x - tip.offsetWidth / 2), document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = target.y - tip.offsetHeight - 12;
    tip.style.left = `${left + window.scrollX}px`;
    tip.style.top = `${(above > 0 ? above : target.bottom + 12) + window.scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const mark of all("[data-tip]")) {
    for (const name of ["pointerenter", "focus"]) mark.addEventListener(name, () => show(mark));
    for (const name of ["pointerleave", "blur"]) mark.addEventListener(name, hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Light or dark, instead of what the system prefers.
  const theme = document.createElement("button");
  theme.type = "button";
  theme.className = "theme";
  theme.textContent = "\u25d0";
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { theme.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme"); theme.title = theme.ariaLabel; };
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); });
  label();
  document.querySelector("main").prepend(theme);

  // Print the closed parts as well.
  let closed = [];
  addEventListener("beforeprint", () => { closed = all("details:not([open])"); for (const item of closed) item.open = true; });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });
})();
