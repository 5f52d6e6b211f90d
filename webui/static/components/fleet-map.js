// The map of every card with its legend: by which reading it is coloured, and how large it is.

import { cardsOf, totals } from "../lib/fleet.js";
import { METRICS } from "../lib/fleet_view.js";
import { plural } from "../lib/format.js";
import { ENDS } from "../lib/heat.js";
import { html, useMemo } from "../lib/html.js";
import { update, useStore } from "../lib/store.js";
import { HeatMap } from "./heat-map.js";

function Legend({ metric, hasAbsent, hasAlerts }) {
  const [least, most] = ENDS[metric];
  return html`<span class="heat-legend quiet">
    <span>${least}</span><span class="heat-scale" aria-hidden="true"></span><span>${most}</span>
    ${hasAbsent && html`<span class="heat-mark heat-mark-lost" aria-hidden="true"></span><span>lost</span>`}
    ${hasAlerts && html`<span class="heat-mark heat-mark-alert" aria-hidden="true"></span><span>alert</span>`}
    <span class="heat-mark" aria-hidden="true"></span><span>no reading</span>
  </span>`;
}

export function FleetMap({ rows, query }) {
  const metric = useStore((state) => state.metric);
  const isLarge = useStore((state) => state.isMapLarge);
  const marks = useStore((state) => state.alerts.marks);
  const cards = useMemo(() => rows.flatMap(cardsOf), [rows]);
  const sum = totals(rows).gpus;
  const label = `${plural(sum.all, "GPU")} by ${metric}: ${sum.busy} busy, ${sum.free} free, ${sum.absent} absent. Arrow keys go from card to card, Enter opens its worker.`;
  return html`<section class="card fleet-map" aria-label="Map of all GPUs">
    <div class="fleet-map-head">
      <label class="inline-select">
        <span>Colour by</span>
        <select class="field" value=${metric} onChange=${(event) => update({ metric: event.currentTarget.value })}>
          ${METRICS.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
        </select>
      </label>
      <${Legend} metric=${metric} hasAbsent=${cards.some(({ gpu }) => gpu.state === "lost")} hasAlerts=${marks.size > 0} />
      <button class="button button-quiet" aria-pressed=${isLarge} onClick=${() => update({ isMapLarge: !isLarge })}>
        ${isLarge ? "Smaller" : "Larger"}
      </button>
    </div>
    <${HeatMap} rows=${rows} cards=${cards} marks=${marks} metric=${metric} query=${query} isLarge=${isLarge} label=${label} />
  </section>`;
}
