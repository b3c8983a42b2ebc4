// One worker: its numbers and their recent past, its part of the task stream, what it does and what it holds.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const make = Dom.make;
  const id = decodeURIComponent(location.pathname.split("/").at(-1));
  let name = "";

  // ---- pieces -------------------------------------------------------------------------------------------------------

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  // A chart of one or two series over the last minute; `format` writes the value at the top of the axis.
  function chart(title, series, format, note = []) {
    const paths = series.flatMap(({colour, filled}) => filled
      ? [svg("path", {fill: colour, "fill-opacity": 0.13}), svg("path", {stroke: colour, class: "series"})]
      : [svg("path", {stroke: colour, class: "series"})]);
    const picture = svg("svg", {viewBox: "0 0 119 100", preserveAspectRatio: "none", class: "chart", role: "img", "aria-label": title},
      svg("path", {d: "M0,50 H119 M0,100 H119", class: "grid"}), ...paths);
    const top = make("span", "top-label");
    const element = Page.card(title, "", make("div", "chart-box", top, picture));
    if (note.length) element.heading.append(make("small", "", ...note));
    element.show = (rows, top_value) => {
      const highest = top_value || Math.max(...rows.flat(), 1) * 1.15;
      const parts = [];
      rows.forEach((values, which) => {
        const left = 120 - values.length;
        const line = values.map((value, i) => `${left + i},${(100 - 100 * Math.min(value / highest, 1)).toFixed(1)}`).join(" L");
        if (series[which].filled) parts.push(values.length > 1 ? `M${line} L119,100 L${left},100 Z` : "");
        parts.push(values.length > 1 ? `M${line}` : "");
      });
      parts.forEach((d, i) => paths[i].setAttribute("d", d));
      Dom.text(top, format(highest));
    };
    return element;
  }

  function tile(title, bar = null) {
    const value = make("p", "", "–");
    const small = bar ?? make("small");
    const element = make("div", "stat", make("h2", "", title), value, small);
    return {element, value, small};
  }

  // ---- the page -----------------------------------------------------------------------------------------------------

  const title = make("h2", "title");
  const state = make("span", "state");
  const about = make("p", "why");
  const facts = make("dl", "facts");
  const head = make("section", "card wide", make("div", "title-line", title, state), about, facts);
  const cpuBar = make("div", "bar", make("i", "cpu"));
  const memoryBar = make("div", "bar", make("i", "managed"), make("i", "memory"));
  const tiles = {
    running: tile("Running"),
    assigned: tile("Assigned"),
    results: tile("Results"),
    cpu: tile("CPU", cpuBar),
    memory: tile("Memory", memoryBar),
    network: tile("Network in"),
  };
  const stats = make("section", "stats", ...Object.values(tiles).map(({element}) => element));
  const lanes = svg("svg", {class: "lanes", preserveAspectRatio: "none", role: "img", "aria-label": "Task stream of this worker"});
  const lanesEmpty = make("div", "empty", make("span", "", "Nothing has ended here in the last minute, or nobody was looking."));
  const from = make("span");
  const until = make("span");
  const stream = Page.card("Task stream", "wide", make("div", "lanes-box", lanes, lanesEmpty), make("div", "axis", from, until));
  stream.heading.append(make("small", "", "one row per thread, the last minute"));
  const cpu = chart("CPU", [{colour: "#2f9e8f", filled: true}], (value) => `${Math.round(value)} %`);
  const memory = chart("Memory", [{colour: "#8d6cc9", filled: true}], Format.bytes);
  const network = chart("Network", [{colour: "#4c78c8", filled: true}, {colour: "#d98661", filled: false}],
    (value) => `${Format.bytes(value)}/s`, [make("i", "line blue"), "in", make("i", "line apricot"), "out"]);
  const charts = make("section", "charts", cpu, memory, network);
  const here = Page.taskList();
  const queued = Page.taskList();
  const results = Page.taskList(false);
  const hereCard = Page.card("At the worker", "", here);
  const queuedCard = Page.card("Next", "", queued);
  const resultsCard = Page.card("Results", "", results);
  const lists = make("section", "lists", hereCard, queuedCard, resultsCard);
  const live = [stats, stream, charts, lists];
  Page.find("page").append(head, ...live);
  for (const element of live) element.hidden = true;

  function show({worker, past}) {
    for (const element of live) element.hidden = worker === null;
    facts.hidden = worker === null;
    if (worker === null) {
      showGone();
      return;
    }
    name = worker.name;
    const quiet = worker.last_seen_s > 5;
    Dom.text(title, worker.label);
    Page.trail(worker.label);
    setHealth(quiet ? "quiet" : worker.status, quiet || worker.status !== "running");
    Dom.text(about, quiet ? `Last heard of ${Format.seconds(worker.last_seen_s)} ago.` : "");
    about.hidden = !quiet;
    Page.facts(facts, [
      ["Address", worker.address],
      ["Host", worker.host],
      ["Process", String(worker.pid)],
      ["Threads", Format.count(worker.threads)],
      ["Memory limit", worker.memory_limit_bytes ? Format.bytes(worker.memory_limit_bytes) : "none"],
      ["Versions", Object.entries(worker.versions).map(([what, version]) => `${what} ${version}`).join(", ")],
      ["Resources", Object.entries(worker.resources)
        .map(([what, {total, free}]) => `${what}: ${Format.precise(free)} of ${Format.precise(total)} free`).join(", ")],
      ["Incarnation", worker.id],
    ]);
    showTiles(worker);
    showLists(worker);
    if (past !== null) showPast(worker, past);
  }

  function setHealth(text, warn) {
    state.className = `state ${warn ? "queued" : "memory"}`;
    if (state.dataset.text === text) return;
    state.dataset.text = text;
    state.replaceChildren(make("i"), text);
  }

  function showGone() {
    Dom.text(title, name || id);
    Page.trail(name || id);
    setHealth("gone", true);
    about.hidden = false;
    if (about.dataset.gone) return;
    about.dataset.gone = "yes";
    about.replaceChildren("This worker is not connected. Its tasks run elsewhere, and results that only it held are computed again.");
    if (name && name !== id) about.append(" It may have come back: ", Page.link(Page.workerUrl(name), `look for ${name}`), ".");
  }

  function showTiles(worker) {
    const {running, assigned, results: stored, cpu: busy, memory: used, network: flow} = tiles;
    const limit = worker.memory_limit_bytes || worker.memory_bytes || 1;
    Dom.text(running.value, Format.count(worker.executing));
    Dom.text(running.small, `of ${Format.count(worker.threads)} thread${worker.threads === 1 ? "" : "s"}`);
    Dom.text(assigned.value, Format.count(worker.at_worker_total));
    Dom.text(assigned.small, worker.queued_total ? `${Format.count(worker.queued_total)} more to come here` : "started or not");
    Dom.text(stored.value, Format.count(worker.results_total));
    Dom.text(stored.small, Format.bytes(worker.results_bytes));
    Dom.text(busy.value, `${Math.round(worker.cpu_percent)} %`);
    Dom.width(cpuBar.firstChild, worker.cpu_percent / 100);
    Dom.text(used.value, Format.bytes(worker.memory_bytes));
    Dom.width(memoryBar.firstChild, worker.managed_bytes / limit);
    Dom.width(memoryBar.lastChild, (worker.memory_bytes - worker.managed_bytes) / limit);
    Dom.text(flow.value, `${Format.bytes(worker.received_bytes_per_s)}/s`);
    Dom.text(flow.small, `out ${Format.bytes(worker.sent_bytes_per_s)}/s`);
  }

  function showLists(worker) {
    here.show(worker.at_worker, worker.at_worker_total, "Nothing to do.");
    queued.show(worker.queued, worker.queued_total, "No task waits for this worker in particular.");
    results.show(worker.results, worker.results_total, "It holds no results.");
    Dom.text(hereCard.output, worker.at_worker_total ? Format.count(worker.at_worker_total) : "");
    Dom.text(queuedCard.output, worker.queued_total ? Format.count(worker.queued_total) : "");
    Dom.text(resultsCard.output, worker.results_total ? Format.count(worker.results_total) : "");
  }

  function showPast(worker, past) {
    cpu.show([past.cpu], 100);
    Dom.text(cpu.output, `${Math.round(worker.cpu_percent)} %`);
    memory.show([past.memory], 0);
    Dom.text(memory.output, Format.bytes(worker.memory_bytes));
    network.show([past.received, past.sent], 0);
    Dom.text(network.output, `${Format.bytes(worker.received_bytes_per_s)}/s`);
    showLanes(past.stream);
  }

  function showLanes({end, seconds, threads, runs}) {
    lanesEmpty.hidden = runs.length > 0;
    lanes.setAttribute("viewBox", `0 0 ${seconds} ${Math.max(threads.length, 1)}`);
    lanes.style.height = `${Math.min(Math.max(threads.length * 26, 96), 420)}px`;
    const start = end - seconds;
    lanes.replaceChildren(...runs.map(([lane, from_s, until_s, label, link, count, failed, busy, colour]) => {
      const left = Math.max(from_s - start, 0);
      const block = svg("rect", {
        x: left.toFixed(4), width: Math.max(until_s - start - left, 0.03).toFixed(4), y: lane + 0.08, height: 0.84,
        fill: failed ? "#d64550" : colour, "fill-opacity": count > 1 ? 0.72 : 1,
      }, svg("title", {}, count > 1
        ? `${label}: ${Format.count(count)} runs, ${Format.seconds(busy / count)} each${failed ? `, ${Format.count(failed)} failed` : ""}`
        : `${label}: ${Format.seconds(busy)}${failed ? ", failed" : ""}`));
      return svg("a", {href: link ? Page.taskUrl(link) : Page.tasksUrl({name: Dom.queryName(label)})}, block);
    }));
    Dom.text(from, end ? Format.clock(start * 1000, 1000) : "");
    Dom.text(until, end ? Format.clock(end * 1000, 1000) : "");
  }

  Page.follow(`view/worker?id=${encodeURIComponent(id)}`, show);
})();
