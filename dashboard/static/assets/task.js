// One task: where it stands and why, what it needs and who needs it, and what went wrong.
"use strict";

(() => {
  const make = Dom.make;
  const id = Page.query.get("key") ?? "";
  const title = make("h2", "title");
  const state = make("span", "state");
  const why = make("p", "why");
  const facts = make("dl", "facts");
  const summary = make("section", "card wide", make("div", "title-line", title, state), why, facts);
  const errorText = make("p", "error-text");
  const culprit = make("p", "hint");
  const trace = make("pre", "trace");
  const error = Page.card("Error", "wide error", errorText, culprit, trace);
  const inputs = Page.taskList();
  const dependents = Page.taskList();
  const inputsCard = Page.card("Inputs", "", inputs);
  const dependentsCard = Page.card("Needed by", "", dependents);
  Page.find("page").append(summary, error, inputsCard, dependentsCard);
  for (const element of [error, inputsCard, dependentsCard]) element.hidden = true;

  function show({task, colour}) {
    Dom.text(title, task.label);
    Page.setStatus(state, task.status);
    Dom.text(why, task.why);
    const known = task.status !== "unknown";
    const kind = known ? kindLink(task.kind, colour) : null;
    Page.trail(Page.link(`${Page.root}tasks`, "Tasks"), ...(known ? [kindLink(task.kind)] : []), task.label);
    facts.hidden = !known;
    inputsCard.hidden = dependentsCard.hidden = !known;
    error.hidden = !(known && task.error);
    if (!known) return;
    const at = {assigned: "Sent to", queued: "Queued for"}[task.status] ?? "Held by";
    Page.facts(facts, [
      ["Kind", kind],
      [at, Page.workers(task.workers, task.workers_total)],
      ["Result", task.type ? `${task.type}, ${Format.bytes(task.size_bytes)}` : null],
      ["Attempt", task.attempt ? `no. ${task.attempt} of the cluster` : null],
      ["Retries left", task.retries_left ? Format.count(task.retries_left) : null],
      ["Workers that died of it", task.worker_deaths ? Format.count(task.worker_deaths) : null],
      ["Needs", task.requirement],
      ["Came from", task.scattered ? "a client (scattered data)" : null],
      ["Wanted by", `${Format.count(task.clients)} client${task.clients === 1 ? "" : "s"}`],
      ["Its kind takes", task.kind_mean_s ? Format.seconds(task.kind_mean_s) : null],
    ]);
    inputs.show(task.inputs, task.inputs_total, "It needs no other task.");
    dependents.show(task.dependents, task.dependents_total, "No other task needs it.");
    Dom.text(inputsCard.output, task.inputs_total ? Format.count(task.inputs_total) : "");
    Dom.text(dependentsCard.output, task.dependents_total ? Format.count(task.dependents_total) : "");
    if (task.error) showError(task);
  }

  function kindLink(kind, colour = "") {
    const element = Page.link(Page.tasksUrl({name: Dom.queryName(kind)}), kind || "(no name)", "kind-link");
    if (colour) {
      const chip = make("i", "chip");
      chip.style.setProperty("--kind", colour);
      element.prepend(chip);
    }
    return element;
  }

  function showError(task) {
    Dom.text(errorText, task.error.text);
    Dom.text(trace, task.error.traceback);
    trace.hidden = !task.error.traceback;
    const other = task.error.culprit.id !== task.id;
    culprit.hidden = !other;
    if (other && culprit.dataset.id !== task.error.culprit.id) {
      culprit.dataset.id = task.error.culprit.id;
      culprit.replaceChildren("The failure is that of ", Page.link(Page.taskUrl(task.error.culprit.id), task.error.culprit.label),
        ", which this task needs.");
    }
  }

  Page.follow(`view/task?key=${encodeURIComponent(id)}`, show);
})();
