// What happened to a worker, newest first.

import { clockTime } from "../lib/format.js";
import { html } from "../lib/html.js";

const KINDS = {
  xid: "XID",
  gpu_lost: "GPU lost",
  gpu_found: "GPU found",
  ecc: "ECC",
  health: "health",
  command_refused: "command refused",
  joined: "joined",
};

export function EventList({ events, gpus }) {
  if (events.length === 0) return html`<p class="quiet">Nothing has happened.</p>`;
  const indexes = new Map(gpus.map((gpu) => [gpu.uuid, gpu.index]));
  const named = (uuid) => (indexes.get(uuid) === undefined || indexes.get(uuid) === null ? uuid : `GPU ${indexes.get(uuid)}`);
  return html`<ol class="events">
    ${[...events].reverse().map(
      ({ received, event }, at) => html`<li key=${`${received} ${at}`}>
        <time class="quiet">${clockTime(received)}</time>
        <span class="tag">${KINDS[event.kind] ?? event.kind}${event.value !== null && event.value !== undefined ? ` ${event.value}` : ""}</span>
        <span>${event.gpu && html`<span class="quiet">${named(event.gpu)}: </span>`}${event.text}</span>
      </li>`,
    )}
  </ol>`;
}
