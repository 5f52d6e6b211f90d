// What is told of one card beside the pointer: which it is, whose, and its readings.

import { isHeldIdle, occupation } from "../lib/fleet.js";
import { celsius, part, percent, watts } from "../lib/format.js";
import { html } from "../lib/html.js";
import { SeverityBadge } from "./severity-badge.js";

const WIDTH = 270;

export function cardName(gpu) {
  return `GPU ${gpu.index ?? "–"} · ${gpu.name ?? gpu.uuid}`;
}

/** Return in words whether the card may be had. */
export function occupationText(row, gpu) {
  if (gpu.state === "lost") return "lost: it no longer answers";
  if (gpu.state === "error") return "cannot be read";
  if (row.state === "offline") return "its worker is offline";
  if (gpu.state === "asleep") return "asleep, free";
  if (occupation(row, gpu) === "free") return "free";
  const users = gpu.users.join(", ") || (gpu.processes > 0 ? "somebody" : "in use");
  return isHeldIdle(gpu) ? `${users}, idle` : users;
}

export function tipText({ row, gpu }, alert) {
  const told = alert === undefined ? "" : `, alert: ${alert}`;
  return `${row.id}, ${cardName(gpu)}, ${occupationText(row, gpu)}, ${percent(gpu.utilization_percent)}, ${celsius(gpu.temperature_c)}${told}`;
}

export function CardTip({ card, alert, cell, size, width }) {
  const { row, gpu } = card;
  const left = Math.max(0, Math.min(cell.x - 20, width - WIDTH));
  return html`<div class="card-tip" aria-hidden="true" style=${{ transform: `translate(${left}px, ${cell.y + size + 6}px)` }}>
    <strong>${row.id}</strong>
    <span>${cardName(gpu)}</span>
    <span class="card-tip-who">${occupationText(row, gpu)}</span>
    ${alert !== undefined && html`<span><${SeverityBadge} severity=${alert} /> alert</span>`}
    <span class="quiet">
      ${percent(gpu.utilization_percent)} · ${part(gpu.memory_used_bytes, gpu.memory_total_bytes)} · ${celsius(gpu.temperature_c)} · ${watts(gpu.power_w)}
    </span>
  </div>`;
}
