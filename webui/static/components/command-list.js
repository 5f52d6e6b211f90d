// Commands in a list: what, who, when, and how it went.

import { clockTime } from "../lib/format.js";
import { html, memo } from "../lib/html.js";
import { commandPath } from "../lib/router.js";
import { StateBadge } from "./state-badge.js";

const FINISHED_WELL = ["finished"];
const UNFINISHED = ["sent", "running"];

function Outcome({ command }) {
  if (command.target) {
    const { state, exit_code: code } = command.target;
    const failed = state === "finished" && code !== 0;
    return html`<${StateBadge} state=${failed ? "failed" : state} word=${state === "finished" ? `exit ${code}` : state} />`;
  }
  const entries = Object.entries(command.counts);
  const order = (state) => (UNFINISHED.includes(state) ? 0 : FINISHED_WELL.includes(state) ? 1 : 2);
  return entries
    .sort(([a], [b]) => order(a) - order(b))
    .map(([state, count]) => html`<${StateBadge} key=${state} state=${state} word=${`${count} ${state}`} />`);
}

export const CommandList = memo(function CommandList({ commands }) {
  if (commands.length === 0) return html`<p class="quiet">No command has been run yet.</p>`;
  return html`<ul class="command-list">
    ${commands.map(
      (command) => html`<li key=${command.id}>
        <a class="command-line" href=${commandPath(command.id)}><code>${command.command}</code></a>
        <span class="command-outcome"><${Outcome} command=${command} /></span>
        <span class="quiet">${command.by ?? "unknown author"} · ${command.origin} · ${clockTime(command.created)}</span>
      </li>`,
    )}
  </ul>`;
});
