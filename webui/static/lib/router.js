// Which view an address shows; links within the page change the view without loading it again.

import { update } from "./store.js";

const ALERT_TABS = ["past", "rules", "silences", "channels"];

function parseAlerts(second) {
  if (!second) return { view: "alerts", tab: "firing" };
  return ALERT_TABS.includes(second) ? { view: "alerts", tab: second } : { view: "alert", id: second };
}

function parse(path) {
  const [, first, second] = path.split("/").map(decodeURIComponent);
  if (first === "workers" && second) return { view: "worker", id: second };
  if (first === "commands" && second) return { view: "command", id: second };
  if (first === "commands") return { view: "commands" };
  if (first === "alerts") return parseAlerts(second);
  if (["usage", "account", "users", "audit"].includes(first) && !second) return { view: first };
  return { view: "fleet" };
}

function show() {
  let route = { view: "fleet" };
  try {
    route = parse(location.pathname);
  } catch {
    // An address that cannot be decoded shows the fleet.
  }
  update({ route });
}

export function go(path) {
  history.pushState(null, "", path);
  show();
  window.scrollTo(0, 0);
  document.querySelector("h1")?.focus({ preventScroll: true });
}

function clicked(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[href]");
  if (link === null || link === undefined || link.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (link.pathname.startsWith("/api/") || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

export function startRouter() {
  window.addEventListener("popstate", show);
  document.addEventListener("click", clicked);
  show();
}

export const workerPath = (id) => `/workers/${encodeURIComponent(id)}`;
export const alertPath = (id) => `/alerts/${encodeURIComponent(id)}`;
export const commandPath = (id) => `/commands/${encodeURIComponent(id)}`;
