// What a worker is made of.

import { bytes, duration, NONE, number } from "../lib/format.js";
import { html } from "../lib/html.js";
import { Readings } from "./readings.js";

const COMMANDS = { any: "any", listed: "those on its list", none: "none" };

export function Inventory({ info }) {
  if (info === null) return html`<p class="quiet">No inventory has arrived.</p>`;
  return html`<${Readings}
    entries=${[
      ["Hostname", info.hostname],
      ["System", info.os ?? NONE],
      ["Kernel", info.kernel ?? NONE],
      ["CPU", info.cpu ?? NONE],
      ["CPU threads", number(info.cpu_count)],
      ["Memory", bytes(info.memory_total_bytes)],
      ["Driver", info.driver_version ?? NONE],
      ["CUDA", info.cuda_version ?? NONE],
      ["Readings from", info.source],
      ["Interval", duration(info.interval_s)],
      ["Agent", info.agent_version],
      ["Takes commands", COMMANDS[info.commands] ?? info.commands],
    ]}
  />`;
}
