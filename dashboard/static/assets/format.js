// Numbers, sizes and times as people read them; and the few ways in which this page writes into itself.
"use strict";

const Format = (() => {
  const grouped = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
  const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

  const count = (value) => grouped.format(value);

  function precise(value) {
    return value >= 999.5 ? count(value) : String(Number(value.toPrecision(3)));
  }

  function bytes(value) {
    let unit = 0;
    while (value >= 1023.5 && unit < SIZES.length - 1) {
      value /= 1024;
      unit += 1;
    }
    return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1).replace(/\.0$/, "")} ${SIZES[unit]}`;
  }

  function seconds(value) {
    if (value === 0) return "0 s";
    if (value < 0.000_999_5) return `${precise(value * 1e6)} µs`;
    if (value < 0.999_5) return `${precise(value * 1e3)} ms`;
    if (value < 119.5) return `${precise(value)} s`;
    if (value < 7170) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
    return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
  }

  const two = (value) => String(value).padStart(2, "0");

  // Local time of day, as finely as `step` (milliseconds between ticks) asks for.
  function clock(time, step) {
    const date = new Date(time);
    const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (step >= 60_000) return minutes;
    const whole = `${minutes}:${two(date.getSeconds())}`;
    return step >= 1000 ? whole : `${whole}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  }

  return {count, precise, bytes, seconds, clock};
})();

const Dom = (() => {
  // Names of tasks and workers come from users: they only ever become text.
  function text(element, value) {
    if (element.textContent !== value) element.textContent = value;
  }

  function make(name, className = "", ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children);
    return element;
  }

  function width(element, share) {
    const value = `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(2)}%`;
    if (element.style.width !== value) element.style.width = value;
  }

  // Make the children of `parent` match `rows` without rebuilding: rows keep their element by key.
  function sync(parent, rows, key, create, update) {
    const known = parent.elementsByKey ?? (parent.elementsByKey = new Map());
    const wanted = new Set();
    let place = parent.firstElementChild;
    for (const row of rows) {
      const id = key(row);
      wanted.add(id);
      let element = known.get(id);
      if (element === undefined) known.set(id, element = create(row));
      update(element, row);
      if (element === place) place = place.nextElementSibling;
      else parent.insertBefore(element, place);
    }
    for (const [id, element] of known) {
      if (wanted.has(id)) continue;
      element.remove();
      known.delete(id);
    }
  }

  // A name of a kind of task in a query: anything unusual is written as JSON, as for keys.
  function queryName(name) {
    return name === "" || /^~|[\x00-\x1f\x7f]|^\s|\s$|\p{Surrogate}/u.test(name) ? `~${JSON.stringify(name)}` : name;
  }

  return {text, make, width, sync, queryName};
})();
