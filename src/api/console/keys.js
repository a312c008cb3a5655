// Single-key shortcuts. They only move the focus or open things, never change a run, and can be switched off.

import { byId, focusOn } from "./dom.js";

const OFF = "rungate.shortcuts-off";

/** Starts listening. `openStart` makes the start panel visible where it is folded away. */
export function listenForKeys({ openStart }) {
  const help = byId("help");
  const enabled = byId("shortcuts-on");
  enabled.checked = !stored();
  enabled.addEventListener("change", () => store(!enabled.checked));
  byId("help-open").addEventListener("click", () => help.showModal());
  byId("help-close").addEventListener("click", () => help.close());
  help.addEventListener("click", (event) => event.target === help && help.close());

  const start = (id) => () => {
    openStart();
    byId(id).focus();
  };
  const region = (id) => () => visible(byId(id)) && focusOn(byId(id));
  const keys = {
    "?": () => help.showModal(),
    d: start("demo-start"),
    o: start("repo-input"),
    w: start("worker-select"),
    r: () => {
      openStart();
      byId("recent-list").querySelector("a")?.focus();
    },
    i: region("answer-input"),
    c: region("cancel"),
    g: region("graph-svg"),
    n: () => byId("node-list").querySelector("button")?.focus(),
    l: region("log-frame"),
  };
  document.addEventListener("keydown", (event) => {
    if (!enabled.checked || event.ctrlKey || event.metaKey || event.altKey || help.open || types(event.target)) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function types(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") !== null;
}

function visible(element) {
  return element.getClientRects().length > 0;
}

function stored() {
  try {
    return localStorage.getItem(OFF) !== null;
  } catch {
    return false;
  }
}

function store(off) {
  try {
    if (off) localStorage.setItem(OFF, "1");
    else localStorage.removeItem(OFF);
  } catch {
    // Without storage the choice holds until the page is left.
  }
}
