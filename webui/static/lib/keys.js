// Keys that work everywhere on the page, outside of fields.

import { go } from "./router.js";
import { state, update } from "./store.js";

export const KEYS = [
  ["/", "search"],
  ["j, k, ↓, ↑", "next, previous row"],
  ["x", "select the row"],
  ["Enter", "open what has the focus"],
  ["g f", "go to the fleet"],
  ["g c", "go to the commands"],
  ["g a", "go to the alerts"],
  ["g u", "go to the usage"],
  ["m", "make the map larger or smaller"],
  ["arrows", "on the map: from card to card"],
  ["Esc", "leave a field, close this"],
  ["?", "show these keys"],
];

let before = "";

function isField(element) {
  return element.closest("input, select, textarea, [contenteditable]") !== null;
}

function search() {
  if (document.getElementById("search") === null) go("/");
  requestAnimationFrame(() => document.getElementById("search")?.focus());
}

function step(by) {
  const links = [...document.querySelectorAll(".table-body .worker-name")];
  const at = links.findIndex((link) => link.closest(".row").contains(document.activeElement));
  const next = links[at < 0 ? 0 : at + by];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function selectRow() {
  document.activeElement.closest(".table-body .row")?.querySelector(".check input")?.click();
}

const ACTIONS = {
  "/": search,
  "?": () => update({ isHelpOpen: true }),
  j: () => step(1),
  k: () => step(-1),
  x: selectRow,
  m: () => update({ isMapLarge: !state.isMapLarge }),
  "g f": () => go("/"),
  "g u": () => go("/usage"),
  "g c": () => go("/commands"),
  "g a": () => go("/alerts"),
};

/** The arrows move between rows only from a row, since elsewhere they scroll. */
function arrow(key) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[key];
  return by !== undefined && document.activeElement.closest(".table-body .row") !== null ? () => step(by) : undefined;
}

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && isField(event.target)) event.target.blur();
  if (isField(event.target) || document.querySelector("dialog[open]")) return;
  const action = ACTIONS[`${before} ${event.key}`] ?? ACTIONS[event.key] ?? arrow(event.key);
  before = event.key;
  if (action === undefined) return;
  event.preventDefault();
  action();
}

export function startKeys() {
  document.addEventListener("keydown", pressed);
}
