// A cell per card: its number, coloured by how busy it is; what it is and whose, in its title.

import { html } from "../lib/html.js";
import { bytes, celsius, percent } from "../lib/format.js";

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

function GpuCell({ gpu }) {
  const title = titleOf(gpu);
  return html`<span class="gpu-cell ${classOf(gpu)}" title=${title} role="img" aria-label=${title}>
    ${gpu.state === "lost" ? "×" : (gpu.index ?? "–")}
  </span>`;
}

export function GpuStrip({ gpus }) {
  const size = gpus.length > 16 ? "small" : "usual";
  return html`<span class="gpu-strip gpu-strip-${size}">
    ${gpus.map((gpu) => html`<${GpuCell} key=${gpu.uuid} gpu=${gpu} />`)}
  </span>`;
}
