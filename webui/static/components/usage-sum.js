// All of it together: how much of the cards' time was used, held idle and free, and what it took.

import { percent, share } from "../lib/format.js";
import { html } from "../lib/html.js";
import { hours, kilowattHours, moneyIn } from "../lib/usage.js";
import { StateBadge } from "./state-badge.js";

function Sum({ label, value, more, mark }) {
  return html`<div class="usage-sum">
    <dt>${mark ?? label}</dt>
    <dd><span class="usage-figure">${value}</span>${more && html`<span class="quiet">${more}</span>`}</dd>
  </div>`;
}

export function UsageSum({ totals }) {
  const { total, prices } = totals;
  const all = total.held_hours + total.free_hours;
  const money = moneyIn(prices.currency);
  const ofAll = (value) => {
    const part = share(value, all);
    return part === null ? "" : `${percent(part)} of all`;
  };
  const energy = total.energy_kwh === null && total.free_energy_kwh === null ? null : (total.energy_kwh ?? 0) + (total.free_energy_kwh ?? 0);
  return html`<dl class="usage-sums" aria-label="Sum">
    <${Sum} label="GPU-hours held" value=${hours(total.held_hours)} more=${ofAll(total.held_hours)} />
    <${Sum} label="busy" value=${hours(total.busy_hours)} more=${ofAll(total.busy_hours)} mark=${html`<${StateBadge} state="busy" word="Busy" />`} />
    <${Sum}
      value=${hours(total.idle_hours)}
      more=${total.idle_cost === null ? ofAll(total.idle_hours) : `${money(total.idle_cost)}, ${ofAll(total.idle_hours)}`}
      mark=${html`<${StateBadge} state="held" word="Held idle" />`}
    />
    <${Sum}
      value=${hours(total.free_hours)}
      more=${total.free_cost === null ? ofAll(total.free_hours) : `${money(total.free_cost)}, ${ofAll(total.free_hours)}`}
      mark=${html`<${StateBadge} state="free" word="Held by nobody" />`}
    />
    <${Sum} label="Energy" value=${kilowattHours(energy)} more=${total.free_energy_kwh === null ? "" : `${kilowattHours(total.free_energy_kwh)} free`} />
    ${total.cost !== null && html`<${Sum} label="Cost of what was held" value=${money(total.cost)} />`}
  </dl>`;
}
