// All workers: their sums, the map of their cards, and the table.

import { cardsOf, grouped, sorted, sortedCards, totals } from "../lib/fleet.js";
import { watchFleet } from "../lib/fleet_live.js";
import { plural } from "../lib/format.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib/html.js";
import { parseSearch } from "../lib/search.js";
import { useStore } from "../lib/store.js";
import { Dock } from "./dock.js";
import { EmptyFleet } from "./empty-fleet.js";
import { FleetMap } from "./fleet-map.js";
import { FleetTable } from "./fleet-table.js";
import { FleetToolbar } from "./fleet-toolbar.js";
import { JoinLine } from "./join-line.js";
import { SelectionBar } from "./selection-bar.js";
import { Totals } from "./totals.js";

const SORTED_AGAIN_AFTER_MS = 3_000;

/** Return the keys of what to show, in order. Under the pointer the order holds, so that nobody clicks on another row. */
function useOrder(rows, asked, held, arrange) {
  const last = useRef({ keys: [], at: 0 });
  const before = last.current;
  const isAsked = before.size !== rows.size || asked.some((value, at) => value !== before.asked[at]);
  const isDue = Date.now() - before.at > SORTED_AGAIN_AFTER_MS && !held.current;
  if (before.asked === undefined || isAsked || isDue) {
    const keys = arrange();
    const isSame = !isAsked && keys.length === before.keys.length && keys.every((key, at) => key === before.keys[at]);
    last.current = { keys: isSame ? before.keys : keys, at: Date.now(), asked, size: rows.size };
  }
  return last.current.keys;
}

/** Return the workers that search and states leave, in order. */
function useShownRows(rows, query, held) {
  const sort = useStore((state) => state.sort);
  const states = useStore((state) => state.states);
  const list = useStore((state) => state.list);
  const isFound = list === "cards" ? query.hasCard : query.worker;
  const passes = (row) => isFound(row) && (states.size === 0 || states.has(row.state));
  const ids = useOrder(rows, [query, sort, states, list], held, () => sorted([...rows.values()].filter(passes), sort).map((row) => row.id));
  return useMemo(() => ids.map((id) => rows.get(id)).filter(Boolean), [ids, rows]);
}

/** Return what the table shows: heads of groups, workers or cards. */
function useItems(shown, query, held) {
  const list = useStore((state) => state.list);
  const group = useStore((state) => state.group);
  const folded = useStore((state) => state.folded);
  const sort = useStore((state) => state.sort);
  const cards = useMemo(
    () => (list === "cards" ? shown.flatMap(cardsOf).filter(({ row, gpu }) => query.card(gpu, row)) : []),
    [list, shown, query],
  );
  const byKey = useMemo(() => new Map(cards.map((card) => [card.key, card])), [cards]);
  const keys = useOrder(byKey, [query, sort, list], held, () => sortedCards(cards, sort).map((card) => card.key));
  return useMemo(() => {
    const ofRows = (rows) => {
      if (list === "workers") return rows.map((row) => ({ kind: "worker", key: row.id, row }));
      const ids = new Set(rows.map((row) => row.id));
      const found = keys.map((key) => byKey.get(key)).filter((card) => card && ids.has(card.row.id));
      return found.map((card) => ({ kind: "card", ...card }));
    };
    if (group === null) return ofRows(shown);
    return grouped(shown, group).flatMap(({ value, rows }) => {
      const isFolded = folded.has(value);
      const head = { kind: "group", key: `group ${value}`, label: group, value, rows, isFolded };
      return isFolded ? [head] : [head, ...ofRows(rows)];
    });
  }, [shown, keys, byKey, list, group, folded]);
}

function told(loaded, shown, rows) {
  if (!loaded) return "Loading…";
  return shown.length < rows.size ? `${plural(shown.length, "worker")} of ${rows.size}` : plural(rows.size, "worker");
}

export function FleetPage() {
  useEffect(watchFleet, []);
  const { loaded, rows } = useStore((state) => state.fleet);
  const search = useStore((state) => state.search);
  const mayRun = useStore((state) => state.session.may_run);
  const query = useMemo(() => parseSearch(search), [search]);
  const held = useRef(false);
  const [hold] = useState(() => (isHeld) => {
    held.current = isHeld;
  });
  const shown = useShownRows(rows, query, held);
  const items = useItems(shown, query, held);
  const ids = useMemo(() => shown.map((row) => row.id), [shown]);
  const sum = useMemo(() => totals([...rows.values()]), [rows]);

  return html`<main class="page">
    <h1 class="visually-hidden" tabindex="-1">Fleet</h1>
    <${Totals} sum=${sum} />
    <${JoinLine} />
    ${loaded && rows.size === 0
      ? html`<${EmptyFleet} />`
      : html`<${FleetMap} rows=${shown} query=${query} />
          <${FleetToolbar} rows=${[...rows.values()]} counts=${sum.states} told=${told(loaded, shown, rows)} mayRun=${mayRun} />
          <${FleetTable} items=${items} rows=${shown} mayRun=${mayRun} hold=${hold} />
          ${loaded && shown.length === 0 && html`<p class="nothing">No worker matches${search ? html` “${search}”` : " these states"}.</p>`}`}
    <${Dock}>${mayRun && rows.size > 0 && html`<${SelectionBar} shown=${ids} rows=${rows} />`}<//>
  </main>`;
}
