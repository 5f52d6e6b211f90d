// Readings as people read them. What is not supported (null) is an en dash; a true 0 is 0.

export const NONE = "–";

/** Tell whether there is a reading at all. */
export function given(value) {
  return value !== null && value !== undefined;
}

export function number(value, digits = 0) {
  return given(value) ? value.toLocaleString("en-GB", { maximumFractionDigits: digits, minimumFractionDigits: digits }) : NONE;
}

function withUnit(unit, digits = 0) {
  return (value) => (given(value) ? `${number(value, digits)}\u00a0${unit}` : NONE);
}

export const percent = withUnit("%");
export const finePercent = withUnit("%", 1);
export const celsius = withUnit("°C");
export const megahertz = withUnit("MHz");

export function watts(value) {
  if (!given(value)) return NONE;
  if (value >= 1e6) return `${number(value / 1e6, 2)}\u00a0MW`;
  return value >= 10000 ? `${number(value / 1000, 1)}\u00a0kW` : `${number(value)}\u00a0W`;
}

export function joules(value) {
  if (!given(value)) return NONE;
  return `${number(value / 3.6e6, 2)}\u00a0kWh`;
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value) {
  if (!given(value)) return NONE;
  let scaled = value;
  let unit = 0;
  while (scaled >= 1024 && unit < BINARY.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${number(scaled, unit > 0 && scaled < 100 ? 1 : 0)}\u00a0${BINARY[unit]}`;
}

export function bytesPerSecond(value) {
  return given(value) ? `${bytes(value)}/s` : NONE;
}

export function part(used, total) {
  if (!given(used) && !given(total)) return NONE;
  return `${bytes(used)} / ${bytes(total)}`;
}

/** Return used / total in percent, null where one is missing. */
export function share(used, total) {
  return given(used) && given(total) && total > 0 ? (100 * used) / total : null;
}

export function duration(seconds) {
  if (!given(seconds)) return NONE;
  if (seconds < 10) return `${number(seconds, 1)}\u00a0s`;
  if (seconds < 120) return `${Math.round(seconds)}\u00a0s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}\u00a0min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}\u00a0h`;
  return `${Math.floor(seconds / 86400)}\u00a0d`;
}

export function age(seconds) {
  if (!given(seconds)) return "never";
  if (seconds < 2) return "now";
  return seconds < 10 ? `${Math.floor(seconds)}\u00a0s ago` : `${duration(seconds)} ago`;
}

export function clockTime(seconds) {
  if (!given(seconds)) return NONE;
  const date = new Date(seconds * 1000);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString("en-CA")} `;
  return day + date.toLocaleTimeString("en-GB");
}

const REASONS = {
  gpu_idle: "idle",
  applications_clocks_setting: "held at the clocks that applications asked for",
  sw_power_cap: "held by the power limit",
  hw_slowdown: "slowed by the hardware",
  sync_boost: "waiting for other cards of its sync boost group",
  sw_thermal_slowdown: "slowed by the driver because of its temperature",
  hw_thermal_slowdown: "slowed by the hardware because of its temperature",
  hw_power_brake_slowdown: "slowed by the power supply's brake signal",
  display_clock_setting: "held at the display's clocks",
};

export function throttleReasons(reasons) {
  if (!given(reasons)) return NONE;
  if (reasons.length === 0) return "none";
  return reasons.map((reason) => REASONS[reason] ?? reason.replaceAll("_", " ")).join(", ");
}

export function plural(count, one, many = `${one}s`) {
  return `${number(count)}\u00a0${count === 1 ? one : many}`;
}
