// The largest groups over days or hours, as stacked bars; arrow keys and the pointer tell of one of them.

import { number } from "../lib/format.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { METRICS, NOBODY, formatOf, nameOf, valuesOf } from "../lib/usage.js";

const HEIGHT = 220;
const LEFT = 52;
const BOTTOM = 22;
const TOP = 8;
const LABEL_WIDTH = 64;

/** Return the layers of the plot, the largest first: name, tone, and a value for each bar. */
function layersOf(view, series) {
  const layers = series.groups.map((group, at) => ({
    name: group.is_rest ? `${group.of} others` : group.name === NOBODY ? "nobody (free)" : nameOf(view.by, group.name),
    tone: group.is_rest ? "rest" : group.name === NOBODY ? "free" : at,
    values: valuesOf(view.metric, group).map((value) => value ?? 0),
  }));
  const last = (layer) => (layer.tone === "free" ? 2 : layer.tone === "rest" ? 1 : 0);
  return layers.filter(({ values }) => values.some((value) => value > 0)).sort((a, b) => last(a) - last(b));
}

/** Return a step for the scale: 1, 2 or 5 times a power of ten, so that there are about four lines. */
function stepFor(most) {
  const rough = Math.max(most, 1e-9) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((times) => times * power >= rough) * power;
}

function timeText(seconds, step, isLong = false) {
  const date = new Date(seconds * 1000);
  if (step === "hour") {
    const clock = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    return isLong ? `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${clock}` : clock;
  }
  return date.toLocaleDateString("en-GB", isLong ? { weekday: "short", day: "numeric", month: "short", year: "numeric" } : { day: "numeric", month: "short" });
}

function useWidth() {
  const box = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}

function Grid({ most, step, scale, width, format }) {
  const lines = [];
  for (let value = 0; value <= most * 1.0001; value += step) lines.push(value);
  return lines.map(
    (value) => html`<g key=${value}>
      <line class="usage-grid" x1=${LEFT} x2=${width} y1=${scale(value)} y2=${scale(value)} />
      <text class="usage-tick" x=${LEFT - 6} y=${scale(value) + 4} text-anchor="end">${format(value)}</text>
    </g>`,
  );
}

function Bars({ layers, time, scale, at, chosen }) {
  return time.map((moment, place) => {
    let sum = 0;
    return html`<g key=${moment} class=${place === chosen ? "usage-bar is-chosen" : "usage-bar"}>
      ${layers.map(({ name, tone, values }) => {
        const [low, high] = [scale(sum), scale(sum + values[place])];
        sum += values[place];
        if (values[place] <= 0) return null;
        return html`<rect key=${name} class=${`series-${tone}`} x=${at(place).x} width=${at(place).width} y=${high} height=${Math.max(low - high, 0.5)} />`;
      })}
    </g>`;
  });
}

function Told({ layers, time, chosen, view, step }) {
  const format = formatOf(view.metric);
  if (chosen === null || time[chosen] === undefined) {
    return html`<p class="usage-told quiet">Point at a bar, or use the arrow keys, to read it.</p>`;
  }
  const parts = layers.filter(({ values }) => values[chosen] > 0).sort((a, b) => b.values[chosen] - a.values[chosen]);
  const sum = parts.reduce((total, { values }) => total + values[chosen], 0);
  return html`<p class="usage-told" aria-live="polite">
    <strong>${timeText(time[chosen], step, true)}: ${format(sum)}</strong>
    ${parts.map(({ name, tone, values }) => html`<span key=${name} class="usage-told-part"><span class=${`swatch swatch-${tone}`}></span>${name} ${format(values[chosen])}</span>`)}
  </p>`;
}

function MetricSwitch({ view, change }) {
  return html`<div class="switch" role="group" aria-label="What the plot shows">
    ${Object.entries(METRICS).map(
      ([metric, text]) =>
        html`<button key=${metric} class="switch-part" aria-pressed=${view.metric === metric} onClick=${() => change({ metric })}>${text}</button>`,
    )}
  </div>`;
}

export function UsagePlot({ view, change, series }) {
  const [box, width] = useWidth();
  const [chosen, setChosen] = useState(null);
  const { time, step } = series;
  const layers = layersOf(view, series);
  const sums = time.map((_, place) => layers.reduce((sum, { values }) => sum + values[place], 0));
  const tick = stepFor(Math.max(...sums, 0));
  const most = Math.max(Math.ceil(Math.max(...sums, 0) / tick) * tick, tick);
  const scale = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - BOTTOM - TOP);
  const space = Math.max(width - LEFT, 10) / time.length;
  const gap = space > 6 ? Math.min(space * 0.2, 8) : 0;
  const at = (place) => ({ x: LEFT + place * space + gap / 2, width: Math.max(space - gap, 0.5) });
  const each = Math.max(Math.ceil(LABEL_WIDTH / space), 1);
  const unit = view.metric === "energy" ? "kWh" : "h";
  const format = (value) => `${number(value, tick < 0.1 ? 2 : tick < 1 ? 1 : 0)}`;

  function pointed(event) {
    const { left } = event.currentTarget.getBoundingClientRect();
    const place = Math.floor((event.clientX - left - LEFT) / space);
    setChosen(place >= 0 && place < time.length ? place : null);
  }

  function pressed(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const from = chosen ?? (event.key === "ArrowLeft" ? time.length : -1);
    setChosen(Math.min(Math.max(from + steps[event.key], 0), time.length - 1));
  }

  return html`<section class="card" aria-labelledby="usage-plot-title">
    <div class="section-head usage-plot-head">
      <h2 id="usage-plot-title">By ${step}, <span class="quiet">in ${unit}</span></h2>
      <${MetricSwitch} view=${view} change=${change} />
    </div>
    <div ref=${box} class="usage-plot" tabindex="0" role="group" aria-label=${`${METRICS[view.metric]} by ${step}: use the arrow keys to read the bars`} onKeyDown=${pressed} onPointerMove=${pointed} onPointerDown=${pointed}>
      ${width > 0 &&
      html`<svg width=${width} height=${HEIGHT} aria-hidden="true">
        <defs>
          <pattern id="usage-free" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="6" height="6" class="usage-free-ground" /><rect width="2" height="6" class="usage-free-line" />
          </pattern>
        </defs>
        <${Grid} most=${most} step=${tick} scale=${scale} width=${width} format=${format} />
        <${Bars} layers=${layers} time=${time} scale=${scale} at=${at} chosen=${chosen} />
        ${time.map(
          (moment, place) =>
            place % each === 0 &&
            at(place).x + at(place).width / 2 + LABEL_WIDTH / 3 <= width &&
            html`<text key=${moment} class="usage-tick" x=${at(place).x + at(place).width / 2} y=${HEIGHT - 6} text-anchor="middle">${timeText(moment, step)}</text>`,
        )}
      </svg>`}
      ${layers.length === 0 && html`<p class="usage-none quiet">None in this time.</p>`}
    </div>
    <ul class="usage-legend" aria-label="Legend">
      ${layers.map(({ name, tone }) => html`<li key=${name}><span class=${`swatch swatch-${tone}`} aria-hidden="true"></span>${name}</li>`)}
    </ul>
    <${Told} layers=${layers} time=${time} chosen=${chosen} view=${view} step=${step} />
  </section>`;
}
