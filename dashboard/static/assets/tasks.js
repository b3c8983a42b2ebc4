// Tasks of a kind and in a state, page by page, in the order in which they came.
"use strict";

(() => {
  const LIMIT = 50;
  const FILTERS = [["", "All"], ["waiting", "Waiting"], ["queued", "Ready"], ["assigned", "At workers"], ["memory", "In memory"],
    ["released", "Released"], ["retrying", "Retrying"], ["erred", "Failed"]];
  const make = Dom.make;
  const name = Page.query.get("name");
  const state = Page.query.get("status") ?? "";
  const offset = Math.max(parseInt(Page.query.get("offset") ?? "0", 10) || 0, 0);

  function address(changes) {
    const parameters = {};
    if (name !== null) parameters.name = name;
    if (state) parameters.status = state;
    if (offset) parameters.offset = String(offset);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === "") delete parameters[key];
      else parameters[key] = value;
    }
    return Page.tasksUrl(parameters);
  }

  const readable = name !== null && name.startsWith("~") ? JSON.parse(name.slice(1)) : name;
  const title = make("h2", "title");
  Dom.text(title, name === null ? "All tasks" : readable || "(no name)");
  const filters = make("nav", "choice");
  filters.setAttribute("aria-label", "Which tasks to show");
  for (const [value, label] of FILTERS) {
    const element = Page.link(address({status: value, offset: null}), label);
    if (value === state) element.setAttribute("aria-current", "true");
    filters.append(element);
  }
  const chip = make("i", "chip");
  chip.hidden = name === null;
  const head = make("div", "card-head", make("div", "title-line", chip, title), filters);
  const body = make("tbody");
  const heads = [["Task", ""], ["State", ""], ["Result", ""], ["Size", "num"], ["Worker", ""]];
  const table = make("table", "list",
    make("thead", "", make("tr", "", ...heads.map(([text, className]) => make("th", className, text)))), body);
  const empty = make("div", "empty inline", make("span"));
  const before = Page.link("#", "← Previous");
  const range = make("span", "range");
  const after = Page.link("#", "Next →");
  const pager = make("nav", "pager", before, range, after);
  pager.setAttribute("aria-label", "Pages");
  Page.find("page").append(make("section", "card wide", head, table, empty, pager));
  Page.trail(...(name === null ? ["Tasks"] : [Page.link(`${Page.root}tasks`, "Tasks"), readable || "(no name)"]));

  function makeRow() {
    const link = Page.link("#", "");
    const cell = (label, className, ...children) => {
      const element = make("td", className, ...children);
      element.dataset.label = label;
      return element;
    };
    return make("tr", "", cell("", "task", make("i", "chip"), link), cell("", "", make("span", "state")), cell("", "type"),
      cell("", "num size"), cell("", "where"));
  }

  function updateRow(element, row) {
    const get = (selector) => element.querySelector(selector);
    get(".chip").style.setProperty("--kind", row.colour);
    get(".chip").title = row.kind;
    get("a").href = Page.taskUrl(row.id);
    Dom.text(get("a"), row.label);
    Page.setStatus(get(".state"), row.status);
    Dom.text(get(".type"), row.type);
    Dom.text(get(".size"), row.type ? Format.bytes(row.size_bytes) : "");
    const where = JSON.stringify(row.workers);
    if (get(".where").dataset.shown !== where) {
      get(".where").dataset.shown = where;
      get(".where").replaceChildren(Page.workers(row.workers, row.workers_total) ?? "");
    }
  }

  function show({total, tasks}) {
    Dom.sync(body, tasks, (row) => row.id, makeRow, updateRow);
    table.hidden = tasks.length === 0;
    empty.hidden = tasks.length > 0;
    Dom.text(empty.firstChild, total ? "There are fewer tasks now: go back to an earlier page."
      : "No such tasks right now. Tasks that nobody needs any more are forgotten.");
    if (tasks.length) chip.style.setProperty("--kind", tasks[0].colour);
    Dom.text(range, tasks.length ? `${Format.count(offset + 1)} to ${Format.count(offset + tasks.length)} of ${Format.count(total)}` : "");
    before.href = address({offset: offset > LIMIT ? String(offset - LIMIT) : null});
    after.href = address({offset: String(offset + LIMIT)});
    before.hidden = offset === 0;
    after.hidden = offset + tasks.length >= total;
  }

  const question = new URLSearchParams({offset: String(offset), limit: String(LIMIT)});
  if (name !== null) question.set("name", name);
  if (state) question.set("status", state);
  Page.follow(`view/tasks?${question}`, show);
})();
