// Writes the numbers into the page as they arrive, and notices when they no longer do.
"use strict";

(() => {
  const STALE_MS = 5000;
  const RETRY_MS = 2000;
  const find = (id) => document.getElementById(id);
  const make = Dom.make;
  let view = null;
  let heard = Date.now();
  let sorting = {by: "name", down: false};
  const tasksUrl = (name, more = "") => `tasks?name=${encodeURIComponent(Dom.queryName(name))}${more}`;

  // ---- header and totals --------------------------------------------------------------------------------------------

  function showTotals() {
    const {totals, cluster} = view;
    const {tasks} = totals;
    const plural = (n, word) => `${Format.count(n)} ${word}${n === 1 ? "" : "s"}`;
    const set = (id, value) => Dom.text(find(id), value);
    set("address", [cluster.address, plural(totals.clients, "client")].filter(Boolean).join("  ·  "));
    set("workers-count", Format.count(totals.workers));
    set("threads-count", plural(totals.threads, "thread"));
    set("running", Format.count(tasks.running));
    set("pending", tasks.pending > tasks.running ? `${Format.count(tasks.pending - tasks.running)} waiting` : "none waiting");
    set("done", Format.count(tasks.done));
    set("total", tasks.total ? `of ${Format.count(tasks.total)}` : "\u00a0");
    set("failed", Format.count(tasks.failed_runs));
    set("failed-note", tasks.failed_runs ? "runs raised an error" : "no errors");
    find("failed").classList.toggle("bad", tasks.failed_runs > 0);
    set("cpu", `${Math.round(totals.cpu_percent)} %`);
    Dom.width(find("cpu-bar"), totals.cpu_percent / 100);
    set("memory", Format.bytes(totals.memory_bytes));
    const limit = totals.memory_limit_bytes || totals.memory_bytes || 1;
    Dom.width(find("managed-bar"), totals.managed_bytes / limit);
    Dom.width(find("memory-bar"), (totals.memory_bytes - totals.managed_bytes) / limit);
    set("memory-limit", totals.memory_limit_bytes ? `of ${Format.bytes(totals.memory_limit_bytes)}` : "");
    set("rate-now", `${Format.precise(totals.tasks_per_s)}/s`);
    set("cpu-now", `${Math.round(totals.cpu_percent)} %`);
    set("memory-now", Format.bytes(totals.memory_bytes));
  }

  // ---- progress -----------------------------------------------------------------------------------------------------

  function makeKind(row) {
    const part = (name) => make("i", name);
    const bar = make("div", "bar thick", part("done"), part("released"), part("erred"), part("running"));
    const element = make("li", "kind",
      make("div", "kind-head", make("i", "chip"), make("a", "name plain"), make("span", "share")), bar,
      make("small", "", make("span"), make("span"), make("span"), make("a", "bad")));
    element.querySelector(".name").title = row.name;
    element.querySelector(".name").href = tasksUrl(row.name);
    element.querySelector("a.bad").href = tasksUrl(row.name, "&status=erred");
    return element;
  }

  function updateKind(element, row) {
    const done = row.memory + row.released;
    const total = row.total || 1;
    const waiting = row.queued + row.waiting + row.retrying;
    element.style.setProperty("--kind", row.colour);
    Dom.text(element.querySelector(".name"), row.name || "(no name)");
    Dom.text(element.querySelector(".share"), `${Format.count(done)} / ${Format.count(row.total)}`);
    Dom.width(element.querySelector(".done"), row.memory / total);
    Dom.width(element.querySelector(".released"), row.released / total);
    Dom.width(element.querySelector(".erred"), row.erred / total);
    Dom.width(element.querySelector(".running"), row.assigned / total);
    const [mean, assigned, rest, failed] = element.querySelector("small").children;
    Dom.text(mean, row.mean_s ? `${Format.seconds(row.mean_s)} each` : "");
    Dom.text(assigned, row.assigned ? `${Format.count(row.assigned)} at workers` : "");
    Dom.text(rest, waiting ? `${Format.count(waiting)} waiting` : "");
    Dom.text(failed, row.erred ? `${Format.count(row.erred)} failed` : "");
    element.classList.toggle("finished", done === row.total);
  }

  function showProgress() {
    Dom.sync(find("progress"), view.progress, (row) => row.name, makeKind, updateKind);
    find("progress-empty").hidden = view.progress.length > 0;
    find("progress-key").hidden = view.progress.length === 0;
    note("progress-note", view.progress_hidden, "more kinds of tasks");
  }

  function note(id, hidden, what) {
    find(id).hidden = !hidden;
    if (hidden) Dom.text(find(id), `and ${Format.count(hidden)} ${what}`);
  }

  // ---- workers ------------------------------------------------------------------------------------------------------

  function spark(className) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 59 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("class", `spark ${className}`);
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    return svg;
  }

  function drawSpark(svg, values) {
    const left = 60 - values.length;
    const line = values.map((value, i) => `${left + i},${100 - value}`).join(" L");
    svg.firstChild.setAttribute("d", values.length > 1 ? `M${line} L59,100 L${left},100 Z` : "");
  }

  function makeWorker() {
    const gauge = (name, parts) => make("div", "gauge", make("span", "value"), spark(name), make("div", "bar", ...parts));
    const cell = (label, className, ...children) => {
      const element = make("td", className, ...children);
      element.dataset.label = label;
      return element;
    };
    return make("tr", "",
      cell("", "worker", make("i", "dot"), make("div", "", make("strong", "", make("a", "plain")), make("small", ""))),
      cell("CPU", "cpu", gauge("cpu", [make("i", "cpu")])),
      cell("Memory", "memory", gauge("memory", [make("i", "managed"), make("i", "memory")])),
      cell("Running", "num running"), cell("Assigned", "num assigned"),
      cell("Results", "num results pair", make("span"), make("span")),
      cell("Network", "num network pair", make("span"), make("span")));
  }

  /** Where nothing is drawn: what to do, or why what was done is not there. */
  function showStreamIsEmpty() {
    find("stream-empty").hidden = view.stream.finished > 0;
    const missed = view.progress.length > 0;
    Dom.text(find("stream-empty").querySelector("strong"), missed ? "Nothing has ended since somebody looks" : "No tasks yet");
    Dom.text(
      find("stream-empty").querySelector("span"),
      missed
        ? "Runs are recorded while a page is open. What ran before is counted in Progress."
        : "Run some from Python, and they appear here as they finish:",
    );
    find("stream-empty").querySelector("code").hidden = missed;
  }

  function updateWorker(element, row) {
    const get = (selector) => element.querySelector(selector);
    const limit = row.memory_limit_bytes;
    const used = limit ? row.memory_bytes / limit : 0;
    const status = row.status || "unknown";
    const quiet = row.last_seen_s > 5 ? `, last heard of ${Format.seconds(row.last_seen_s)} ago` : "";
    Dom.text(get("strong a"), row.label);
    get("strong a").href = `worker/${encodeURIComponent(row.id)}`;
    Dom.text(get(".worker small"), `${row.address || row.host}${status === "running" ? "" : ` · ${status}`}${quiet}`);
    get(".worker").title = `${row.name}: ${status}, process ${row.pid} on ${row.host}, ${row.threads} threads`;
    get(".dot").className = `dot ${status === "running" && !quiet ? "good" : "warn"}`;
    Dom.text(get("td.cpu .value"), `${Math.round(row.cpu_percent)} %`);
    Dom.width(get("i.cpu"), row.cpu_percent / 100);
    Dom.text(get("td.memory .value"), Format.bytes(row.memory_bytes) + (limit ? ` of ${Format.bytes(limit)}` : ""));
    Dom.width(get("i.managed"), limit ? row.managed_bytes / limit : 0);
    Dom.width(get("i.memory"), limit ? (row.memory_bytes - row.managed_bytes) / limit : 0);
    get("td.memory .bar").className = `bar ${used > 0.95 ? "full" : used > 0.8 ? "high" : ""}`;
    drawSpark(get(".spark.cpu"), row.cpu_history);
    drawSpark(get(".spark.memory"), row.memory_history);
    Dom.text(get(".running"), `${Format.count(row.executing)} / ${Format.count(row.threads)}`);
    Dom.text(get(".assigned"), Format.count(row.assigned));
    const pair = (selector, first, second) => {
      const [one, two] = get(selector).children;
      Dom.text(one, first);
      Dom.text(two, second);
    };
    pair(".results", Format.count(row.stored_results), Format.bytes(row.managed_bytes));
    pair(".network", `${Format.bytes(row.received_bytes_per_s)}/s`, `${Format.bytes(row.sent_bytes_per_s)}/s`);
  }

  function showWorkers() {
    const {by, down} = sorting;
    // The server sends them in natural order of their names; sorting is stable.
    const rows = [...view.workers];
    if (by !== "name") rows.sort((a, b) => a[by] - b[by]);
    if (down) rows.reverse();
    Dom.sync(find("workers").tBodies[0], rows, (row) => row.id, makeWorker, updateWorker);
    find("workers").hidden = rows.length === 0;
    find("workers-empty").hidden = rows.length > 0;
    Dom.text(find("worker-command"), `myworker ${view.cluster.address || "ADDRESS"}`);
    note("workers-note", view.workers_hidden, "more workers");
  }

  function sortBy(header) {
    const by = header.dataset.sort;
    sorting = {by, down: sorting.by === by ? !sorting.down : by !== "name"};
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
    if (view !== null) showWorkers();
  }

  // ---- connection ---------------------------------------------------------------------------------------------------

  function showLink(state, name, banner = "", old = banner !== "") {
    find("link").className = `pill ${state}`;
    Dom.text(find("link").lastElementChild, name);
    find("banner").hidden = banner === "";
    Dom.text(find("banner"), banner);
    document.body.classList.toggle("stale", old);
  }

  function showConnection() {
    const {connection, connection_text: why, stalled} = view.cluster;
    if (connection === "connected" && stalled) showLink("waiting", "stalled", stalled, false);
    else if (connection === "connected") showLink("good", "live");
    else if (connection === "connecting") showLink("waiting", "connecting");
    else showLink("bad", "connection lost", `Lost the connection to the scheduler${why ? `: ${why}` : ""}. ` +
      "What you see are the last numbers it sent.");
  }

  // Updates come twice a second while all is well. If they stop, the dashboard has ended or cannot be reached; when it
  // answers again, a fresh page is the simplest way to be right.
  async function watch() {
    if (Date.now() - heard < STALE_MS) return;
    showLink("bad", "connection lost", "Lost the connection to the dashboard. The cluster may have been closed. " +
      "What you see are the last numbers it sent; this page goes on by itself when the dashboard is back.");
    try {
      const answer = await fetch("health", {cache: "no-store"});
      if (answer.ok) location.reload();
    } catch {
      // Still away: the banner says so, and the next round asks again.
    }
  }

  // ---- start --------------------------------------------------------------------------------------------------------

  function show(numbers) {
    heard = Date.now();
    view = JSON.parse(numbers.data.json[0]);
    showTotals();
    showConnection();
    showProgress();
    showWorkers();
    showStreamIsEmpty();
    note("stream-note", view.stream.hidden, "finished tasks that are not drawn: too many threads, or clocks that are wrong");
    Plots.follow(view);
    Plots.acknowledge();
  }

  async function start() {
    for (const button of document.querySelectorAll("#window button")) {
      button.addEventListener("click", () => {
        Plots.choose(Number(button.dataset.seconds));
        if (view !== null) Plots.follow(view);
      });
    }
    for (const header of document.querySelectorAll("th[data-sort]")) {
      header.addEventListener("click", () => sortBy(header));
    }
    setInterval(watch, RETRY_MS);
    const numbers = await Plots.connect(document.body.dataset);
    Plots.onChoose((name, link) => location.assign(link ? `task?key=${encodeURIComponent(link)}` : tasksUrl(name)));
    numbers.patching.connect(() => show(numbers));
    show(numbers);
    document.body.classList.add("ready");
  }

  start();
})();
