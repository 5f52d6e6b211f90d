// How far a command is on all its workers: done, failed, running.

import { plural } from "../lib/format.js";
import { html } from "../lib/html.js";

export function ProgressBar({ done, failed, running }) {
  const all = done + failed + running;
  const told = `${plural(done, "worker")} done, ${failed} failed, ${running} running`;
  const width = (count) => ({ width: `${all === 0 ? 0 : (100 * count) / all}%` });
  return html`<div class="progress" role="progressbar" aria-valuemin="0" aria-valuemax=${all} aria-valuenow=${done + failed} aria-valuetext=${told} aria-label="Progress" title=${told}>
    <span class="progress-done" style=${width(done)}></span><span class="progress-failed" style=${width(failed)}></span>
  </div>`;
}
