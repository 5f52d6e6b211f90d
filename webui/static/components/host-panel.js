// The machine around the cards.

import { bytes, bytesPerSecond, duration, number, part, percent } from "../lib/format.js";
import { html, memo } from "../lib/html.js";
import { Readings } from "./readings.js";

export const HostPanel = memo(function HostPanel({ host }) {
  if (host === null) return html`<p class="quiet">No host readings.</p>`;
  return html`<${Readings}
    entries=${[
      ["CPU", percent(host.cpu_percent)],
      ["Load, 1 min", number(host.load_1m, 1)],
      ["Memory", part(host.memory_used_bytes, host.memory_total_bytes)],
      ["Swap used", bytes(host.swap_used_bytes)],
      ["Disk", part(host.disk_used_bytes, host.disk_total_bytes)],
      ["Network received", bytesPerSecond(host.network_rx_bytes_per_s)],
      ["Network sent", bytesPerSecond(host.network_tx_bytes_per_s)],
      ["Up for", duration(host.uptime_s)],
    ]}
  />`;
});
