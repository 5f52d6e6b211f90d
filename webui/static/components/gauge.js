// A reading now, large, and over the chosen range below it.

import { html } from "../lib/html.js";
import { Plot } from "./plot.js";

export function Gauge({ name, value, of, isHot, metric, history, top, tone, sync, format }) {
  return html`<div class="gauge">
    <span class="gauge-name">${name}</span>
    <span class="gauge-value ${isHot ? "is-hot" : ""}">${value}${of && html`<small> / ${of}</small>`}</span>
    <${Plot}
      line=${history.line(metric)}
      from=${history.from}
      until=${history.until}
      top=${top}
      tone=${tone}
      sync=${sync}
      format=${format}
      label=${`${name} over time`}
    />
  </div>`;
}
