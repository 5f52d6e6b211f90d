// One card with every reading.

import {
  bytes,
  bytesPerSecond,
  celsius,
  given,
  joules,
  megahertz,
  NONE,
  number,
  part,
  percent,
  share,
  throttleReasons,
  watts,
} from "../lib/format.js";
import { html, memo } from "../lib/html.js";
import { Meter } from "./meter.js";
import { Readings } from "./readings.js";
import { StateBadge } from "./state-badge.js";
import { HOT_FROM_C } from "./worker-row.js";

const STATE_WORDS = { ok: "ok", lost: "lost", asleep: "asleep", error: "error" };

function pcie(gpu) {
  if (!given(gpu.pcie_generation) && !given(gpu.pcie_width)) return NONE;
  return `gen ${gpu.pcie_generation ?? NONE} ×${gpu.pcie_width ?? NONE}`;
}

function details(gpu, inventory) {
  return [
    ["Memory temperature", celsius(gpu.memory_temperature_c)],
    ["Memory bandwidth in use", percent(gpu.memory_utilization_percent)],
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
  return html`<table class="small-table">
    <caption>MIG devices</caption>
    <thead>
      <tr><th scope="col">Instance</th><th scope="col">Profile</th><th scope="col">Memory</th><th scope="col">UUID</th></tr>
    </thead>
    <tbody>
      ${devices.map(
        (device) => html`<tr key=${device.uuid}>
          <td>${device.gpu_instance ?? NONE}/${device.compute_instance ?? NONE}</td>
          <td>${device.profile ?? NONE}</td>
          <td>${part(device.memory_used_bytes, device.memory_total_bytes)}</td>
          <td class="uuid" title=${device.uuid}>${device.uuid}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

export const GpuCard = memo(function GpuCard({ gpu, inventory }) {
  const memory = share(gpu.memory_used_bytes, gpu.memory_total_bytes);
  const power = share(gpu.power_w, gpu.power_limit_w);
  const migDevices = gpu.mig_devices ?? [];
  return html`<article class="card gpu-card gpu-${gpu.state}" aria-label=${`GPU ${gpu.index ?? gpu.uuid}`}>
    <header class="gpu-head">
      <h3><span class="gpu-index">${gpu.index ?? NONE}</span> ${gpu.name ?? inventory?.name ?? "GPU"}</h3>
      <${StateBadge} state=${gpu.state} word=${STATE_WORDS[gpu.state]} />
    </header>
    <p class="uuid quiet" title=${gpu.uuid}>${gpu.uuid}</p>
    <div class="gauges">
      <div class="gauge">
        <span class="gauge-name">Utilization</span><span class="gauge-value">${percent(gpu.utilization_percent)}</span>
        <${Meter} value=${gpu.utilization_percent} label="utilization" />
      </div>
      <div class="gauge">
        <span class="gauge-name">Memory</span>
        <span class="gauge-value" title=${part(gpu.memory_used_bytes, gpu.memory_total_bytes)}>
          ${bytes(gpu.memory_used_bytes)}<small> / ${bytes(gpu.memory_total_bytes)}</small>
        </span>
        <${Meter} value=${memory} label=${`memory ${percent(memory)}`} tone="memory" />
      </div>
      <div class="gauge">
        <span class="gauge-name">Power</span>
        <span class="gauge-value">${watts(gpu.power_w)}<small> / ${watts(gpu.power_limit_w)}</small></span>
        <${Meter} value=${power} label=${`power ${percent(power)} of its limit`} tone="power" />
      </div>
      <div class="gauge">
        <span class="gauge-name">Temperature</span>
        <span class="gauge-value ${gpu.temperature_c >= HOT_FROM_C ? "is-hot" : ""}">${celsius(gpu.temperature_c)}</span>
        <${Meter} value=${gpu.temperature_c} label="temperature" tone=${gpu.temperature_c >= HOT_FROM_C ? "hot" : "temperature"} />
      </div>
    </div>
    <${Readings} entries=${details(gpu, inventory)} />
    ${migDevices.length > 0 && html`<${MigDevices} devices=${migDevices} />`}
  </article>`;
});
