// The machine around the cards.

import { bytes, bytesPerSecond, duration, number, part, percent } from "../lib/format.js";
import { useHistory } from "../lib/history.js";
import { html } from "../lib/html.js";
import { Gauge } from "./gauge.js";
import { Readings } from "./readings.js";

const PLOTTED = ["cpu_percent", "memory_used_bytes", "network_rx_bytes_per_s", "network_tx_bytes_per_s"];

export function HostPanel({ worker, host, range }) {
  const history = useHistory(worker, null, PLOTTED, range);
  if (host === null) return html`<p class="quiet">No host readings.</p>`;
  const shared = { history, sync: worker };
  return html`<div class="gauges">
      <${Gauge} ...${shared} name="CPU" value=${percent(host.cpu_percent)} metric="cpu_percent" top=${100} tone="load" format=${percent} />
      <${Gauge}
        ...${shared}
        name="Memory"
        value=${bytes(host.memory_used_bytes)}
        of=${bytes(host.memory_total_bytes)}
        metric="memory_used_bytes"
        top=${host.memory_total_bytes}
        tone="memory"
        format=${bytes}
      />
      <${Gauge}
        ...${shared}
        name="Network received"
        value=${bytesPerSecond(host.network_rx_bytes_per_s)}
        metric="network_rx_bytes_per_s"
        tone="temperature"
        format=${bytesPerSecond}
      />
      <${Gauge}
        ...${shared}
        name="Network sent"
        value=${bytesPerSecond(host.network_tx_bytes_per_s)}
        metric="network_tx_bytes_per_s"
        tone="temperature"
        format=${bytesPerSecond}
      />
    </div>
    <${Readings}
      entries=${[
        ["Load, 1 min", number(host.load_1m, 1)],
        ["Swap used", bytes(host.swap_used_bytes)],
        ["Disk", part(host.disk_used_bytes, host.disk_total_bytes)],
        ["Up for", duration(host.uptime_s)],
      ]}
    />`;
}
