// One worker in the fleet's table. It is drawn again only when its own row, or its tick, is another. `hasRun`: the table
// has columns for running commands; `mayRun`: they may be run on this worker.

import { toggle } from "../lib/actions.js";
import { bytes, celsius, percent, share, watts } from "../lib/format.js";
import { html, memo } from "../lib/html.js";
import { workerPath } from "../lib/router.js";
import { Age } from "./age.js";
import { GpuStrip } from "./gpu-strip.js";
import { Labels } from "./labels.js";
import { Meter } from "./meter.js";
import { FreeCards, Users } from "./occupants.js";
import { RunField } from "./run-field.js";
import { StateBadge } from "./state-badge.js";

export const HOT_FROM_C = 85;

export const WorkerRow = memo(function WorkerRow({ row, index, selected, hasRun, mayRun, shown }) {
  const memory = share(row.memory_used_bytes, row.memory_total_bytes);
  const problem = row.problems.join("\n");
  return html`<div class="row row-${row.state} ${selected ? "row-selected" : ""}" role="row" aria-rowindex=${index + 2}>
    ${hasRun &&
    html`<div class="cell cell-check" role="cell">
      ${mayRun &&
      html`<label class="check">
        <input type="checkbox" checked=${selected} onChange=${() => toggle(row.id)} aria-label=${`Select ${row.id}`} />
      </label>`}
    </div>`}
    <div class="cell cell-state" role="cell">
      <${StateBadge} state=${row.state} />
      ${problem && html`<span class="problem-mark" title=${problem} role="img" aria-label=${problem}>!</span>`}
    </div>
    <div class="cell cell-worker" role="cell">
      <a class="worker-name" href=${workerPath(row.id)} title=${row.hostname ?? row.id}>${row.id}</a>
      <${Labels} labels=${row.labels} source=${row.source} />
    </div>
    <div class="cell cell-gpus" role="cell">
      <span class="gpu-count">${row.gpu_count}</span>
      <${GpuStrip} gpus=${row.gpus} />
    </div>
    ${shown.has("free") && html`<div class="cell cell-free" role="cell"><${FreeCards} row=${row} /></div>`}
    ${shown.has("users") && html`<div class="cell cell-users" role="cell"><${Users} row=${row} /></div>`}
    ${shown.has("utilization") &&
    html`<div class="cell cell-utilization reading" role="cell">
      <span>${percent(row.utilization_percent)}</span>
      <${Meter} value=${row.utilization_percent} label=${`utilization ${percent(row.utilization_percent)}`} />
    </div>`}
    ${shown.has("memory") &&
    html`<div class="cell cell-memory reading" role="cell">
      <span title=${`of ${bytes(row.memory_total_bytes)}`}>${bytes(row.memory_used_bytes)}</span>
      <${Meter} value=${memory} label=${`memory ${percent(memory)}`} tone="memory" />
    </div>`}
    ${shown.has("temperature") &&
    html`<div class="cell cell-temperature reading ${row.hottest_c >= HOT_FROM_C ? "is-hot" : ""}" role="cell">
      ${celsius(row.hottest_c)}
    </div>`}
    ${shown.has("power") && html`<div class="cell cell-power reading" role="cell">${watts(row.power_w)}</div>`}
    ${shown.has("seen") && html`<div class="cell cell-seen" role="cell"><${Age} at=${row.last_seen} /></div>`}
    ${shown.has("run") && html`<div class="cell cell-run" role="cell">${mayRun && html`<${RunField} workerId=${row.id} />`}</div>`}
  </div>`;
});
