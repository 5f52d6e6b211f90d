// The fleet in one line: workers, cards, load, memory, power, and the hottest card.

import { STATE_WORDS } from "../lib/fleet.js";
import { bytes, celsius, NONE, number, percent, share, watts } from "../lib/format.js";
import { html } from "../lib/html.js";
import { AlertTile } from "./alert-total.js";
import { Meter } from "./meter.js";
import { HOT_FROM_C } from "./reading-cells.js";

function Tile({ label, value, children, title }) {
  return html`<div class="tile" title=${title}>
    <dt>${label}</dt>
    <dd><span class="tile-value">${value}</span><span class="tile-more">${children}</span></dd>
  </div>`;
}

function others(states) {
  const told = Object.entries(STATE_WORDS).filter(([name]) => name !== "online" && states[name] > 0);
  return told.map(([name, word]) => `${states[name]} ${word}`).join(" · ") || "all online";
}

export function Totals({ sum }) {
  const memory = share(sum.memoryUsed, sum.memoryTotal);
  const absent = sum.gpus.absent ? ` · ${sum.gpus.absent} absent` : "";
  const held = sum.gpus.held ? ` · ${sum.gpus.held} held idle` : "";
  return html`<dl class="tiles" aria-label="Totals">
    <${AlertTile} />
    <${Tile} label="Workers online" value=${`${number(sum.workers.online)} / ${number(sum.workers.all)}`}>
      ${sum.workers.all > 0 ? others(sum.states) : NONE}
    <//>
    <${Tile}
      label="GPUs busy"
      title="busy: a process holds memory on the card, or it computes; held idle: in use, but it computes nothing; absent: it or its worker does not answer"
      value=${`${number(sum.gpus.busy)} / ${number(sum.gpus.all)}`}
    >
      ${`${number(sum.gpus.free)} free${held}${absent}`}
    <//>
    <${Tile} label="Mean utilization" value=${percent(sum.utilization)}>
      <${Meter} value=${sum.utilization} label=${`mean utilization ${percent(sum.utilization)}`} />
    <//>
    <${Tile} label="GPU memory" value=${html`${bytes(sum.memoryUsed)}<span class="quiet tile-of"> of ${bytes(sum.memoryTotal)}</span>`}>
      <${Meter} value=${memory} label=${`memory ${percent(memory)}`} tone="memory" />
    <//>
    <${Tile} label="Power" value=${watts(sum.power)}>${sum.power === null ? NONE : "all cards"}<//>
    <${Tile} label="Hottest card" value=${html`<span class=${sum.hottest?.celsius >= HOT_FROM_C ? "is-hot" : ""}>${celsius(sum.hottest?.celsius)}</span>`}>
      ${sum.hottest ? `${sum.hottest.worker} · GPU ${sum.hottest.index ?? NONE}` : NONE}
    <//>
  </dl>`;
}
