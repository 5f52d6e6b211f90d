// One worker in the fleet's table. `hasRun`: the table has columns for running commands; `mayRun`: they may be run on this
// worker.

import { toggle } from "../lib/actions.js";
import { html } from "../lib/html.js";
import { workerPath } from "../lib/router.js";
import { AlertMark } from "./alert-mark.js";
import { GpuStrip } from "./gpu-strip.js";
import { Labels } from "./labels.js";
import { FreeCards, Users } from "./occupants.js";
import { ReadingCells } from "./reading-cells.js";
import { RunField } from "./run-field.js";
import { StateBadge } from "./state-badge.js";

export function WorkerRow({ row, index, selected, hasRun, mayRun, shown }) {
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
      <${AlertMark} worker=${row.id} />
    </div>
    <div class="cell cell-worker" role="cell">
      <a class="worker-name" href=${workerPath(row.id)} title=${row.hostname ?? row.id}>${row.id}</a>
      <${Labels} labels=${row.labels} source=${row.source} />
    </div>
    <div class="cell cell-gpus" role="cell">
      <span class="gpu-count">${row.gpu_count}</span>
      <${GpuStrip} worker=${row.id} gpus=${row.gpus} />
    </div>
    ${shown.has("free") && html`<div class="cell cell-free" role="cell"><${FreeCards} row=${row} /></div>`}
    ${shown.has("users") && html`<div class="cell cell-users" role="cell"><${Users} row=${row} /></div>`}
    <${ReadingCells}
      shown=${shown}
      utilization=${row.utilization_percent}
      memoryUsed=${row.memory_used_bytes}
      memoryTotal=${row.memory_total_bytes}
      temperature=${row.hottest_c}
      power=${row.power_w}
      seen=${row.last_seen}
    />
    ${shown.has("run") && html`<div class="cell cell-run" role="cell">${mayRun && html`<${RunField} workerId=${row.id} />`}</div>`}
  </div>`;
}
