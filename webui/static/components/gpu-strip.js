// A cell per card: its number, coloured by how busy it is; what it is and whose, in its title.

import { markOf } from "../lib/alerts.js";
import { html } from "../lib/html.js";
import { bytes, celsius, percent } from "../lib/format.js";
import { useStore } from "../lib/store.js";

const LEVELS = [5, 30, 60, 90];

function level(utilization) {
  return LEVELS.filter((bound) => utilization >= bound).length;
}

function titleOf(gpu) {
  if (gpu.state === "lost") return `${gpu.name ?? gpu.uuid}: lost, it no longer answers`;
  if (gpu.state !== "ok") return `GPU ${gpu.index ?? "?"} · ${gpu.name ?? gpu.uuid} · ${gpu.state}`;
  const users = gpu.users.length > 0 ? gpu.users.join(", ") : "nobody";
  const memory = `${bytes(gpu.memory_used_bytes)} of ${bytes(gpu.memory_total_bytes)}`;
  return `GPU ${gpu.index} · ${gpu.name ?? gpu.uuid} · ${users} · ${percent(gpu.utilization_percent)} · ${memory} · ${celsius(gpu.temperature_c)}`;
}

function classOf(gpu) {
  if (gpu.state !== "ok") return `cell-${gpu.state}`;
  if (gpu.utilization_percent === null) return gpu.processes > 0 ? "cell-held" : "level-none";
  const shown = level(gpu.utilization_percent);
  return shown === 0 && gpu.processes > 0 ? "level-0 cell-held" : `level-${shown}`;
}

function GpuCell({ worker, gpu }) {
  const alert = useStore((state) => markOf(state.alerts.marks, worker, gpu.uuid));
  const title = alert === undefined ? titleOf(gpu) : `${titleOf(gpu)} · alert: ${alert}`;
  return html`<span class="gpu-cell ${classOf(gpu)} ${alert === undefined ? "" : `has-alert has-${alert}`}" title=${title} role="img" aria-label=${title}>
    ${gpu.state === "lost" ? "×" : (gpu.index ?? "–")}
  </span>`;
}

export function GpuStrip({ worker, gpus }) {
  const size = gpus.length > 16 ? "small" : "usual";
  return html`<span class="gpu-strip gpu-strip-${size}">
    ${gpus.map((gpu) => html`<${GpuCell} key=${gpu.uuid} worker=${worker} gpu=${gpu} />`)}
  </span>`;
}
