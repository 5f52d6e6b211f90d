// The processes that hold memory on any of a worker's cards.

import { bytes, NONE, percent } from "../lib/format.js";
import { html } from "../lib/html.js";

export function ProcessTable({ gpus }) {
  const processes = gpus.flatMap((gpu) => (gpu.processes ?? []).map((process) => ({ gpu, process })));
  if (processes.length === 0) return html`<p class="quiet">No process holds memory on a card.</p>`;
  processes.sort((a, b) => (b.process.memory_bytes ?? 0) - (a.process.memory_bytes ?? 0));
  return html`<div class="scrolls" tabindex="0" role="region" aria-label="Processes">
    <table class="small-table processes">
      <thead>
        <tr>
          <th scope="col">GPU</th>
          <th scope="col" class="numeric">PID</th>
          <th scope="col">User</th>
          <th scope="col">Process</th>
          <th scope="col" class="numeric">Memory</th>
          <th scope="col" class="numeric">SM</th>
          <th scope="col">Type</th>
          <th scope="col">Container</th>
          <th scope="col">Command</th>
        </tr>
      </thead>
      <tbody>
        ${processes.map(
          ({ gpu, process }) => html`<tr key=${`${gpu.uuid} ${process.pid} ${process.mig_uuid}`}>
            <td title=${process.mig_uuid ?? gpu.uuid}>${gpu.index ?? NONE}${process.mig_uuid ? " MIG" : ""}</td>
            <td class="numeric">${process.pid}</td>
            <td>${process.user ?? NONE}</td>
            <td>${process.name ?? NONE}</td>
            <td class="numeric">${bytes(process.memory_bytes)}</td>
            <td class="numeric">${percent(process.sm_percent)}</td>
            <td>${process.type}</td>
            <td>${process.container ?? NONE}</td>
            <td class="process-command"><code title=${process.command}>${process.command ?? NONE}</code></td>
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
