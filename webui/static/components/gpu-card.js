// One card with every reading.

import {
  bytes,
  bytesPerSecond,
  celsius,
  finePercent,
  given,
  joules,
  megahertz,
  NONE,
  number,
  part,
  percent,
  throttleReasons,
  watts,
} from "../lib/format.js";
import { useHistory } from "../lib/history.js";
import { html } from "../lib/html.js";
import { Gauge } from "./gauge.js";
import { Readings } from "./readings.js";
import { StateBadge } from "./state-badge.js";
import { HOT_FROM_C } from "./reading-cells.js";
import { AlertsAbout, PastAlerts } from "./worker-alerts.js";

const HOTTEST_C = 100;
const STATE_WORDS = { ok: "ok", lost: "lost", asleep: "asleep", error: "error" };

// How much of a card works, where it tells (Hopper and later); utilization says how long anything did.
const PARTS = {
  sm_percent: ["SMs", "streaming multiprocessors that had work, on average since the sample before"],
  tensor_percent: ["Tensor cores", "the share of the time in which they worked, since the sample before"],
  dram_percent: ["Memory bandwidth", "the share of what is possible, since the sample before"],
};

// A card is narrow: of a slice, the two that tell most.
const IN_A_SLICE = [
  ["sm_percent", "SMs"],
  ["tensor_percent", "Tensor"],
];

function Activity({ gpu }) {
  const told = Object.keys(PARTS).filter((field) => given(gpu[field]));
  if (told.length === 0) return null;
  return html`<p class="gpu-activity">
    ${told.map(
      (field) => html`<span key=${field} title=${PARTS[field][1]}><span class="quiet">${PARTS[field][0]}</span> ${finePercent(gpu[field])}</span>`,
    )}
  </p>`;
}

function pcie(gpu) {
  if (!given(gpu.pcie_generation) && !given(gpu.pcie_width)) return NONE;
  return `gen ${gpu.pcie_generation ?? NONE} ×${gpu.pcie_width ?? NONE}`;
}

function details(gpu, inventory) {
  return [
    ["Memory temperature", celsius(gpu.memory_temperature_c)],
    ["Memory read or written", percent(gpu.memory_utilization_percent), "the share of the time"],
    ...Object.entries(PARTS).map(([field, [name, title]]) => [name, finePercent(gpu[field]), title]),
    ["Fan", percent(gpu.fan_percent)],
    ["SM clock", megahertz(gpu.sm_clock_mhz)],
    ["Memory clock", megahertz(gpu.memory_clock_mhz)],
    ["Performance state", given(gpu.performance_state) ? `P${gpu.performance_state}` : NONE],
    ["Clocks held back", throttleReasons(gpu.throttle_reasons)],
    ["Encoder", percent(gpu.encoder_percent)],
    ["Decoder", percent(gpu.decoder_percent)],
    ["Energy", joules(gpu.energy_j), "since the driver was loaded"],
    ["PCIe link", pcie(gpu)],
    ["PCIe received", bytesPerSecond(gpu.pcie_rx_bytes_per_s)],
    ["PCIe sent", bytesPerSecond(gpu.pcie_tx_bytes_per_s)],
    ["NVLink received", bytesPerSecond(gpu.nvlink_rx_bytes_per_s)],
    ["NVLink sent", bytesPerSecond(gpu.nvlink_tx_bytes_per_s)],
    ["ECC corrected", number(gpu.ecc_corrected)],
    ["ECC uncorrected", number(gpu.ecc_uncorrected)],
    ["Last XID", given(gpu.last_xid) ? String(gpu.last_xid) : NONE],
    ["PCI bus", inventory?.pci_bus_id ?? NONE],
    ["Serial", inventory?.serial ?? NONE],
    ["VBIOS", inventory?.vbios ?? NONE],
    ["MIG mode", inventory?.mig === true ? "on" : inventory?.mig === false ? "off" : NONE],
  ];
}

function MigDevices({ devices }) {
  const told = IN_A_SLICE.filter(([field]) => devices.some((device) => given(device[field])));
  return html`<table class="small-table">
    <caption>MIG devices</caption>
    <thead>
      <tr>
        <th scope="col">Instance</th><th scope="col">Profile</th><th scope="col">Memory</th>
        ${told.map(([field, name]) => html`<th scope="col" key=${field} title=${PARTS[field][1]}>${name}</th>`)}
        <th scope="col">UUID</th>
      </tr>
    </thead>
    <tbody>
      ${devices.map(
        (device) => html`<tr key=${device.uuid}>
          <td>${device.gpu_instance ?? NONE}/${device.compute_instance ?? NONE}</td>
          <td>${device.profile ?? NONE}</td>
          <td>${part(device.memory_used_bytes, device.memory_total_bytes)}</td>
          ${told.map(([field]) => html`<td key=${field}>${percent(device[field])}</td>`)}
          <td class="uuid" title=${device.uuid}>${device.uuid}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

const PLOTTED = ["utilization_percent", "memory_used_bytes", "power_w", "temperature_c"];

function Gauges({ worker, gpu, range }) {
  const history = useHistory(worker, gpu.uuid, PLOTTED, range);
  const shared = { history, sync: worker };
  return html`<div class="gauges">
    <${Gauge} ...${shared} name="Utilization" value=${percent(gpu.utilization_percent)} metric="utilization_percent" top=${100} tone="load" format=${percent} />
    <${Gauge}
      ...${shared}
      name="Memory"
      value=${bytes(gpu.memory_used_bytes)}
      of=${bytes(gpu.memory_total_bytes)}
      metric="memory_used_bytes"
      top=${gpu.memory_total_bytes}
      tone="memory"
      format=${bytes}
    />
    <${Gauge}
      ...${shared}
      name="Power"
      value=${watts(gpu.power_w)}
      of=${watts(gpu.power_limit_w)}
      metric="power_w"
      top=${gpu.power_limit_w}
      tone="power"
      format=${watts}
    />
    <${Gauge}
      ...${shared}
      name="Temperature"
      value=${celsius(gpu.temperature_c)}
      isHot=${gpu.temperature_c >= HOT_FROM_C}
      metric="temperature_c"
      top=${HOTTEST_C}
      tone="temperature"
      format=${celsius}
    />
  </div>`;
}

export function GpuCard({ worker, gpu, inventory, alerts, range, isOpen, onToggle }) {
  const migDevices = gpu.mig_devices ?? [];
  const held = gpu.throttle_reasons?.filter((reason) => reason !== "gpu_idle") ?? [];
  const users = [...new Set((gpu.processes ?? []).map((process) => process.user ?? "not known"))];
  return html`<article class="card gpu-card gpu-${gpu.state}" aria-label=${`GPU ${gpu.index ?? gpu.uuid}`}>
    <header class="gpu-head">
      <h3><span class="gpu-index">${gpu.index ?? NONE}</span> ${gpu.name ?? inventory?.name ?? "GPU"}</h3>
      <${StateBadge} state=${gpu.state} word=${STATE_WORDS[gpu.state]} />
    </header>
    <${AlertsAbout} gpu=${gpu.uuid} firing=${alerts.firing} />
    <p class="gpu-who"><span class="quiet">${users.length > 0 ? "used by " : ""}</span>${users.join(", ") || html`<span class="quiet">nobody’s process</span>`}</p>
    <${Gauges} worker=${worker} gpu=${gpu} range=${range} />
    <${Activity} gpu=${gpu} />
    ${held.length > 0 && html`<p class="gpu-held"><strong>Clocks held back</strong> ${throttleReasons(held)}</p>`}
    ${migDevices.length > 0 && html`<${MigDevices} devices=${migDevices} />`}
    <details class="gpu-details" open=${isOpen} onToggle=${(event) => onToggle(event.currentTarget.open)}>
      <summary>All readings</summary>
      <p class="uuid quiet" title=${gpu.uuid}>${gpu.uuid}</p>
      <${Readings} entries=${details(gpu, inventory)} />
    </details>
    <${PastAlerts} worker=${worker} gpu=${gpu.uuid} past=${alerts.past} />
  </article>`;
}
