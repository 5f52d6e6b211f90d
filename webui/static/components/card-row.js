// One card in the fleet's table: which it is, whose, and its readings.

import { toggle } from "../lib/actions.js";
import { isHeldIdle, occupation } from "../lib/fleet.js";
import { NONE } from "../lib/format.js";
import { html } from "../lib/html.js";
import { workerPath } from "../lib/router.js";
import { AlertMark } from "./alert-mark.js";
import { ReadingCells } from "./reading-cells.js";
import { RunField } from "./run-field.js";
import { StateBadge } from "./state-badge.js";

/** Return the card's state as a badge names it. */
function stateOf(row, gpu) {
  if (row.state === "offline") return ["offline"];
  if (gpu.state !== "ok") return [gpu.state];
  if (occupation(row, gpu) === "free") return ["free"];
  return isHeldIdle(gpu) ? ["held", "held, idle"] : ["busy"];
}

export function CardRow({ row, gpu, index, selected, hasRun, mayRun, shown }) {
  const [state, word] = stateOf(row, gpu);
  const users = gpu.users.join(", ") || (gpu.processes > 0 ? "not known" : NONE);
  return html`<div class="row row-card row-${row.state} ${selected ? "row-selected" : ""}" role="row" aria-rowindex=${index + 2}>
    ${hasRun &&
    html`<div class="cell cell-check" role="cell">
      <label class="check">
        ${mayRun && html`<input type="checkbox" checked=${selected} onChange=${() => toggle(row.id)} aria-label=${`Select ${row.id}`} />`}
      </label>
    </div>`}
    <div class="cell cell-state" role="cell"><${StateBadge} state=${state} word=${word} /><${AlertMark} worker=${row.id} uuid=${gpu.uuid} /></div>
    <div class="cell cell-worker" role="cell"><a class="worker-name" href=${workerPath(row.id)}>${row.id}</a></div>
    <div class="cell cell-gpus" role="cell">
      <span class="card-name" title=${gpu.uuid}>GPU ${gpu.index ?? NONE} <span class="quiet">${gpu.name ?? gpu.uuid}</span></span>
    </div>
    ${shown.has("users") && html`<div class="cell cell-users" role="cell"><span class="occupants" title=${users}>${users}</span></div>`}
    <${ReadingCells}
      shown=${shown}
      utilization=${gpu.utilization_percent}
      memoryUsed=${gpu.memory_used_bytes}
      memoryTotal=${gpu.memory_total_bytes}
      temperature=${gpu.temperature_c}
      power=${gpu.power_w}
      seen=${row.last_seen}
    />
    ${shown.has("run") && html`<div class="cell cell-run" role="cell">${mayRun && html`<${RunField} workerId=${row.id} />`}</div>`}
  </div>`;
}
