// The one store: everything that is shown. Values are replaced, never changed in place, so that `is it another?` is cheap.

import { useLayoutEffect, useReducer, useRef } from "./html.js";

const listeners = new Set();

export const state = {
  session: null,
  route: { view: "fleet" },
  // phase: connecting | live | lost | refused; heard is when (ms) the server last said anything.
  connection: { phase: "connecting", message: null, heard: Date.now() },
  brokerProblem: null,
  historyProblem: null,
  mastersProblem: null,
  fleet: { loaded: false, rows: new Map() },
  // What of the fleet is shown, and how: lib/fleet_view.js keeps it in the address and the browser.
  search: "",
  sort: { key: "id", descending: false },
  states: new Set(),
  group: null,
  list: "workers",
  folded: new Set(),
  metric: "utilization",
  isMapLarge: false,
  hidden: new Set(),
  selected: new Set(),
  drafts: new Map(),
  worker: null,
  range: "15m",
  areDetailsOpen: false,
  commandList: null,
  commands: new Map(),
  docked: null,
  dockOpen: true,
  notice: null,
  joinLine: null,
  isHelpOpen: false,
  confirming: null,
  // What fires: lib/alerts.js keeps it. `marks` is by worker the gravest severity of each card, and under "" of all.
  alerts: { loaded: false, counts: {}, rules: [], byId: new Map(), marks: new Map() },
  alertRulesVersion: 0,
  // The alert whose actions are asked for, and what a silence is asked for; null: the dialog is closed.
  acting: null,
  silencing: null,
};

/** Put new values into the store and tell whoever shows something of it, once. */
export function update(changes) {
  Object.assign(state, changes);
  for (const listener of [...listeners]) listener(changes);
}

/** Call the listener with each change, as it was given to `update`. */
export function watchStore(listener) {
  listeners.add(listener);
}

/** Return what `select` takes from the store, and render again when that is another value. */
export function useStore(select) {
  const [, renderAgain] = useReducer((count) => count + 1, 0);
  const shown = useRef(null);
  const value = select(state);
  shown.current = { select, value };
  useLayoutEffect(() => {
    const listener = () => {
      const { select: now, value: before } = shown.current;
      if (!Object.is(now(state), before)) renderAgain();
    };
    listeners.add(listener);
    listener();
    return () => listeners.delete(listener);
  }, []);
  return value;
}
