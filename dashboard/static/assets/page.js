// What the closer pages share: they ask for their numbers again and again, and write them into the page as text.
"use strict";

const Page = (() => {
  const INTERVAL_MS = 1000;
  const make = Dom.make;
  const find = (id) => document.getElementById(id);
  const root = document.body.dataset.root;
  const query = new URLSearchParams(location.search);
  const STATES = {
    waiting: "waiting for inputs",
    queued: "ready to run",
    assigned: "at a worker",
    memory: "in memory",
    released: "released",
    erred: "failed",
    retrying: "waiting to be tried again",
    unknown: "unknown",
  };

  // ---- addresses ----------------------------------------------------------------------------------------------------

  const taskUrl = (id) => `${root}task?key=${encodeURIComponent(id)}`;
  const tasksUrl = (parameters) => `${root}tasks?${new URLSearchParams(parameters)}`;
  const workerUrl = (id) => `${root}worker/${encodeURIComponent(id)}`;

  function link(href, text, className = "") {
    const element = make("a", className, text);
    element.href = href;
    return element;
  }

  // ---- pieces -------------------------------------------------------------------------------------------------------

  function card(title, className = "", ...children) {
    const head = make("h2");
    const output = make("output");
    const element = make("section", `card ${className}`, make("div", "card-head", head, output), ...children);
    Dom.text(head, title);
    element.heading = head;
    element.output = output;
    return element;
  }

  const status = (name) => make("span", `state ${name}`, make("i"), STATES[name] ?? name);

  function setStatus(element, name) {
    if (element.dataset.state === name) return;
    element.dataset.state = name;
    element.className = `state ${name}`;
    element.replaceChildren(make("i"), STATES[name] ?? name);
  }

  // A list of names and values: `rows` are [name, value or element or null]; null leaves it out.
  function facts(element, rows) {
    const shown = rows.filter(([, value]) => value !== null && value !== "");
    const text = JSON.stringify(shown.map(([name, value]) => [name, value instanceof Node ? value.outerHTML : value]));
    if (element.shown === text) return;  // leave alone what somebody may be selecting
    element.shown = text;
    element.replaceChildren(...shown.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));
  }

  // What to call a worker where it is not clear from the place that one is meant.
  const workerLabel = (worker) => /^\d+$/.test(worker.name) ? `worker ${worker.name}` : worker.name || worker.id;

  function workers(list, total) {
    if (!list.length) return null;
    const element = make("span", "names");
    list.slice(0, 20).forEach((worker) => element.append(link(workerUrl(worker.id), workerLabel(worker))));
    if (total > 20) element.append(`and ${Format.count(total - 20)} more`);
    return element;
  }

  // A list of tasks, one line each, kept by key.
  function taskList(withState = true) {
    const list = make("ul", "tasks");
    const rest = make("p", "foot");
    const element = make("div", "task-list", list, rest);
    element.show = (rows, total, empty) => {
      Dom.sync(list, rows, (row) => row.id || row.label, (row) => {
        const line = make("li", "", link(taskUrl(row.id), row.label), make("small", "note"), make("span", "state"));
        line.lastChild.hidden = !withState;
        return line;
      }, (line, row) => {
        Dom.text(line.querySelector(".note"), row.type ? `${row.type}, ${Format.bytes(row.size_bytes)}` : "");
        setStatus(line.querySelector(".state"), row.status);
      });
      rest.hidden = total > 0 && total <= rows.length;
      Dom.text(rest, total === 0 ? empty : `and ${Format.count(total - rows.length)} more`);
    };
    return element;
  }

  function trail(...steps) {
    const element = find("trail");
    element.replaceChildren(link(`${root}status`, "Status"));
    for (const step of steps) element.append(make("span", "sep", "›"), step);
    const last = steps.at(-1);
    document.title = `${last instanceof Node ? last.textContent : last} · ${document.body.dataset.cluster}`;
  }

  // ---- asking -------------------------------------------------------------------------------------------------------

  function say(state, name, banner = "") {
    find("link").className = `pill ${state}`;
    Dom.text(find("link").lastElementChild, name);
    find("banner").hidden = banner === "";
    Dom.text(find("banner"), banner);
    document.body.classList.toggle("stale", banner !== "");
  }

  async function ask(address) {
    let answer;
    try {
      answer = await fetch(`${root}${address}`, {cache: "no-store", signal: AbortSignal.timeout(30_000)});
    } catch {
      say("bad", "connection lost", "Lost the connection to the dashboard. The cluster may have been closed. " +
        "What you see are the last numbers it sent; this page goes on by itself when the dashboard is back.");
      return null;
    }
    const value = await answer.json().catch(() => ({error: `${answer.status} ${answer.statusText}`}));
    if (!answer.ok) {
      if (answer.status === 403) say("bad", "locked", "Open the printed link again: this browser is not known any more.");
      else say("bad", answer.status === 400 ? "not found" : "connection lost", value.error);
      return null;
    }
    const {connection, connection_text: why} = value.cluster;
    if (connection === "lost") say("bad", "connection lost", `Lost the connection to the scheduler${why ? `: ${why}` : ""}.`);
    else say("good", "live");
    return value;
  }

  // Ask, show, and again; not while nobody can see the page, and never twice at a time.
  async function follow(address, show) {
    for (;;) {
      if (!document.hidden) {
        const value = await ask(address);
        if (value !== null) {
          show(value);
          document.body.classList.add("ready");
        }
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, INTERVAL_MS);
        document.addEventListener("visibilitychange", () => { clearTimeout(timer); resolve(); }, {once: true});
      });
    }
  }

  return {root, query, find, taskUrl, tasksUrl, workerUrl, link, card, status, setStatus, facts, workers, taskList, trail,
    follow, STATES};
})();
