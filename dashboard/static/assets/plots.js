// The Bokeh figures of the page: connects them to the server, labels their axes, and moves the window of time.
"use strict";

const Plots = (() => {
  const CHART_MS_MIN = 60_000;
  const CHART_MS_MAX = 300_000;
  const HINT = document.getElementById("stream-hint").textContent;
  const models = {};
  let seconds = 30;
  let live = true;
  let placed = null;
  let numbers = null;

  // Resolves to the data source with the numbers, once the document has arrived.
  async function connect(data) {
    const byName = JSON.parse(data.roots);
    const elements = {};
    for (const [name, id] of Object.entries(byName)) elements[id] = `plot-${name}`;
    const item = {token: data.token, roots: elements, root_ids: Object.keys(elements), use_for_title: false};
    await Bokeh.embed.embed_items({}, [item], location.pathname.replace(/\/+$/, ""));
    const page = Bokeh.documents[0];
    if (page === undefined) throw new Error("the dashboard did not answer");
    for (const root of page.roots()) models[root.name] = root;
    numbers = models.stream.tags[0];
    label();
    describe();
    adapt();
    return numbers;
  }

  function label() {
    const step = (ticks) => ticks.length > 1 ? ticks[1] - ticks[0] : 1000;
    const times = (ticks) => ticks.map((tick) => Format.clock(tick, step(ticks)));
    for (const model of Object.values(models)) model.below[0].formatter.doFormat = times;
    models.rate.left[0].formatter.doFormat = (ticks) => ticks.map((tick) => Format.precise(tick));
    models.cpu.left[0].formatter.doFormat = (ticks) => ticks.map((tick) => `${Format.precise(tick)} %`);
    models.memory.left[0].formatter.doFormat = (ticks) => ticks.map(Format.bytes);
  }

  // With a finger, dragging scrolls the page.
  function adapt() {
    const pan = models.stream.toolbar.tools.find((tool) => tool.name === "pan");
    if (matchMedia("(pointer: coarse)").matches) pan.setv({active: false}, {sync: false});
  }

  // Tooltips are made as elements with text in them, never as HTML. Bokeh shows them in a shadow tree, out of reach of the
  // page's style sheet, so they carry their own.
  function tooltip(title, colour, rows) {
    const box = Dom.make("div");
    box.style.cssText = "font: 12.5px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; color: #1d2733;" +
      "max-width: 300px; padding: 2px 2px 1px";
    const head = Dom.make("div", "", title);
    head.style.cssText = "font-weight: 600; overflow-wrap: anywhere; padding-left: 9px";
    head.style.borderLeft = `3px solid ${colour}`;
    box.append(head);
    for (const [name, value] of rows) {
      const label = Dom.make("span", "", name);
      label.style.cssText = "color: #67748a; display: inline-block; min-width: 62px";
      const line = Dom.make("div", "", label, value);
      line.style.cssText = "padding-left: 12px; overflow-wrap: anywhere";
      box.append(line);
    }
    return box;
  }

  function describe() {
    explain("stream", (data, i) => {
      const many = data.count[i] > 1;
      const rows = [
        ["took", many ? `${Format.seconds(data.mean[i])} each` : Format.seconds(data.mean[i])],
        ["ended", Format.clock(data.right[i], 1)],
        ["on", data.worker[i]],
      ];
      if (many) rows.unshift(["runs", Format.count(data.count[i])]);
      if (data.failed[i]) rows.push(["failed", many ? Format.count(data.failed[i]) : "yes"]);
      return tooltip(many ? data.kind[i] : data.name[i], data.colour[i], rows);
    });
    const at = (data, i) => Format.clock(data.time[i], 1000);
    explain("rate", (data, i) => tooltip(`${Format.precise(data.rate[i])} tasks/s`, "#4c78c8", [["at", at(data, i)]]));
    explain("cpu", (data, i) => tooltip(`${Format.precise(data.cpu[i])} %`, "#2f9e8f", [
      ["busiest", `${Format.precise(data.cpu_busiest[i])} %`], ["at", at(data, i)],
    ]));
    explain("memory", (data, i) => tooltip(Format.bytes(data.memory[i]), "#8d6cc9", [
      ["results", Format.bytes(data.managed[i])], ["at", at(data, i)],
    ]));
  }

  function explain(name, describeRow) {
    const hover = models[name].toolbar.tools.find((tool) => tool.name === "hover");
    hover.setv({tooltips: (source, vars) => describeRow(source.data, vars.index)}, {sync: false});
  }

  // Tell of the block that somebody clicks: its kind, and what names its task if it is one run.
  function onChoose(chosen) {
    const source = models.stream.renderers[0].data_source;
    source.selected.properties.indices.change.connect(() => {
      const [i] = source.selected.indices;
      if (i === undefined) return;
      const {kind, name, count, link} = source.data;
      source.selected.setv({indices: []}, {sync: false});
      if (count[i] > 1) chosen(kind[i].replace(/ and others$/, ""), "");
      else chosen(kind[i], link[i] === "=" ? name[i] : link[i]);
    });
  }

  // Ranges belong to this browser alone: they are moved without telling the server.
  function place(range, start, end) {
    range.setv({start, end}, {sync: false});
  }

  function follow(view) {
    const range = models.stream.x_range;
    if (placed !== null && (range.start !== placed[0] || range.end !== placed[1])) setLive(false);
    const now = (view.time * 1000) || Date.now();
    if (live) {
      let first = Infinity;
      for (const left of models.stream.renderers[0].data_source.data.left) if (left < first) first = left;
      placed = span(first, view.stream.latest * 1000 || now, seconds * 1000);
      place(range, ...placed);
    }
    const times = models.rate.renderers[0].data_source.data.time;
    const charts = span(times[0], now, Math.min(Math.max(now - times[0], CHART_MS_MIN), CHART_MS_MAX));
    for (const name of ["rate", "cpu", "memory"]) place(models[name].x_range, ...charts);
  }

  // Time that is `length` long (0: all there is) and ends where the data does. While there is less data than that, it
  // grows from the left, so that nothing moves.
  function span(first, last, length) {
    if (!(first < last)) first = last;
    if (length === 0) length = Math.max(last - first, 1000);
    const margin = length * 0.01;
    const start = Math.max(last - length, first);
    return [start - margin, start + length + margin];
  }

  function setLive(value) {
    live = value;
    Dom.text(document.getElementById("stream-hint"), live ? HINT : "Standing still. Choose a span of time to follow again.");
    for (const button of document.querySelectorAll("#window button")) {
      button.setAttribute("aria-pressed", String(live && Number(button.dataset.seconds) === seconds));
    }
  }

  function choose(value) {
    seconds = value;
    placed = null;
    setLive(true);
  }

  // Tell the server which update this browser has shown, so that it waits for slow ones.
  function acknowledge() {
    numbers.tags = [numbers.data.sent[0]];
  }

  return {connect, follow, choose, onChoose, acknowledge};
})();
