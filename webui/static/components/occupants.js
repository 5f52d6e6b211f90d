// Who is on which cards of a worker, and which are free: told in the row, without a click.

import { whoIsOn } from "../lib/fleet.js";
import { html } from "../lib/html.js";
import { NONE } from "../lib/format.js";

export function Users({ row }) {
  const { users } = whoIsOn(row);
  if (users.length === 0) return html`<span class="quiet">${NONE}</span>`;
  const told = users.map(({ user, cards }) => `${user} on GPU ${cards}`).join("\n");
  return html`<span class="occupants" title=${told}>
    ${users.map(({ user, cards }) => html`<span key=${user} class="occupant"><span class="occupant-name">${user}</span> <span class="quiet">${cards}</span></span>`)}
  </span>`;
}

export function FreeCards({ row }) {
  const { free, freeCount } = whoIsOn(row);
  if (freeCount === 0) return html`<span class="quiet">${NONE}</span>`;
  return html`<span class="free-cards" title=${`GPU ${free} free`}><strong>${freeCount}</strong> <span class="quiet free-list">${free}</span></span>`;
}
