// Keeps what the fleet view shows: what a link should show in the address, what is a matter of taste in the browser.

import { STATES } from "./fleet.js";
import { state, update, watchStore } from "./store.js";

const KEPT_AS = "gpumon.fleet";
const TASTE = ["metric", "isMapLarge", "hidden", "list"];
export const METRICS = ["utilization", "memory", "temperature", "power"];

function kept() {
  try {
    const values = JSON.parse(localStorage.getItem(KEPT_AS) ?? "{}");
    return {
      metric: METRICS.includes(values.metric) ? values.metric : "utilization",
      isMapLarge: values.isMapLarge === true,
      hidden: new Set(Array.isArray(values.hidden) ? values.hidden : []),
      list: values.list === "cards" ? "cards" : "workers",
    };
  } catch {
    return {}; // a browser that keeps nothing, or something else's value
  }
}

function keep() {
  const values = Object.fromEntries(TASTE.map((name) => [name, state[name] instanceof Set ? [...state[name]] : state[name]]));
  try {
    localStorage.setItem(KEPT_AS, JSON.stringify(values));
  } catch {
    // A browser that keeps nothing shows the usual view next time.
  }
}

function fromAddress() {
  const asked = new URLSearchParams(location.search);
  const [key, direction] = (asked.get("sort") ?? "id").split("-");
  return {
    search: asked.get("q") ?? "",
    states: new Set((asked.get("state") ?? "").split(",").filter((name) => STATES.includes(name))),
    group: asked.get("group"),
    sort: { key, descending: direction === "down" },
    ...(asked.has("list") ? { list: asked.get("list") === "cards" ? "cards" : "workers" } : {}),
  };
}

function toAddress() {
  if (state.route.view !== "fleet") return;
  const query = new URLSearchParams();
  if (state.search) query.set("q", state.search);
  if (state.states.size > 0) query.set("state", [...state.states].join(","));
  if (state.group !== null) query.set("group", state.group);
  if (state.list === "cards") query.set("list", "cards");
  if (state.sort.key !== "id" || state.sort.descending) query.set("sort", `${state.sort.key}${state.sort.descending ? "-down" : ""}`);
  const text = query.toString();
  const address = text ? `/?${text}` : "/";
  if (address !== location.pathname + location.search) history.replaceState(history.state, "", address);
}

const SHOWN_BY_ADDRESS = ["search", "states", "group", "list", "sort", "route"];

/** Take over what the address and the browser say, and keep both up to date from now on. */
export function startFleetView() {
  const isFleet = location.pathname === "/";
  update({ ...kept(), ...(isFleet ? fromAddress() : {}) });
  window.addEventListener("popstate", () => {
    if (location.pathname === "/") update(fromAddress());
  });
  let waiting = 0;
  watchStore((changes) => {
    if (TASTE.some((name) => name in changes)) keep();
    if (!SHOWN_BY_ADDRESS.some((name) => name in changes)) return;
    clearTimeout(waiting); // browsers refuse an address that changes with every key
    waiting = setTimeout(toAddress, 250);
  });
}
