// The map's colours: one scale from little to much whose lightness rises steadily, so that it reads in grey as well.

import { given, share } from "./format.js";

const STOPS = 7;
const COLDEST_C = 25;
const HOTTEST_C = 95;

/** Return how much of a reading a card has, from 0 to 1; null where it is not known. */
export function heatOf(gpu, metric) {
  if (metric === "utilization") return given(gpu.utilization_percent) ? gpu.utilization_percent / 100 : null;
  if (metric === "memory") {
    const used = share(gpu.memory_used_bytes, gpu.memory_total_bytes);
    return used === null ? null : used / 100;
  }
  if (metric === "temperature") {
    return given(gpu.temperature_c) ? (gpu.temperature_c - COLDEST_C) / (HOTTEST_C - COLDEST_C) : null;
  }
  const used = share(gpu.power_w, gpu.power_limit_w);
  return used === null ? null : used / 100;
}

/** What the two ends of the scale stand for. */
export const ENDS = {
  utilization: ["0 %", "100 %"],
  memory: ["empty", "full"],
  temperature: [`${COLDEST_C} °C`, `${HOTTEST_C} °C`],
  power: ["0 W", "limit"],
};

/** Return the style sheet's colours as the map draws them: 101 steps from little to much, and those of the states. */
export function readColours() {
  const probe = document.createElement("span"); // `light-dark()` is resolved in an element's own properties alone
  document.body.append(probe);
  const named = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const stops = Array.from({ length: STOPS }, (_, at) => named(`heat-${at}`).match(/\d+/g).slice(0, 3).map(Number));
  const steps = Array.from({ length: 101 }, (_, at) => {
    const place = (at / 100) * (STOPS - 1);
    const below = Math.min(Math.floor(place), STOPS - 2);
    const mixed = stops[below].map((from, channel) => Math.round(from + (stops[below + 1][channel] - from) * (place - below)));
    return `rgb(${mixed.join(" ")})`;
  });
  const colours = {
    steps,
    bad: named("bad"),
    quiet: named("line-strong"),
    text: named("text"),
    ground: named("surface"),
    alerts: { page: named("bad"), warning: named("warn"), note: named("active") },
  };
  probe.remove();
  return colours;
}

/** Return the colour of a step of the scale for a value from 0 to 1. */
export function colourOf(colours, value) {
  return colours.steps[Math.round(100 * Math.min(Math.max(value, 0), 1))];
}
