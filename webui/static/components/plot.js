// A reading over time: its mean as a line, the band between least and most, and what it was where the pointer is.

import { clockTime } from "../lib/format.js";
import { html, useEffect, useLayoutEffect, useRef } from "../lib/html.js";

const HEIGHT = 56;

function colours(element) {
  const style = getComputedStyle(element);
  const faint = (alpha) => style.color.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
  return { line: style.color, area: faint(0.1), band: faint(0.22) };
}

function optionsFor(element, top, syncKey, onCursor) {
  const { line, area, band } = colours(element);
  return {
    width: Math.max(element.clientWidth, 40),
    height: HEIGHT,
    padding: [3, 0, 3, 0],
    legend: { show: false },
    cursor: { sync: { key: syncKey }, y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: true }, y: { range: (_plot, _least, most) => [0, top ?? Math.max(most ?? 1, 1e-9) * 1.08] } },
    axes: [{ show: false }, { show: false }],
    bands: [{ series: [2, 3], fill: band }],
    series: [
      {},
      { stroke: line, width: 1.5, fill: area, points: { show: false } },
      { stroke: "transparent", points: { show: false } },
      { stroke: "transparent", points: { show: false } },
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx)] },
  };
}

/** `line` is `{time, mean, min, max}`; `top` the upper end of the scale, else the most; `sync` moves pointers together. */
export function Plot({ line, from, until, top, tone, sync, format, label }) {
  const box = useRef(null);
  const told = useRef(null);
  const plot = useRef(null);
  const shown = useRef(line);
  shown.current = line;
  const last = useRef({ from, until });
  last.current = { from, until };

  function tell(at) {
    const { time, mean, min, max } = shown.current;
    if (told.current === null) return;
    if (at === null || at === undefined || time[at] === undefined) {
      told.current.textContent = "";
      return;
    }
    const spread = min[at] !== max[at] ? ` (${format(min[at])} to ${format(max[at])})` : "";
    told.current.textContent = `${clockTime(time[at])}: ${format(mean[at])}${spread}`;
  }

  useEffect(() => {
    let isOver = false;
    let observer = null;
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    let make = null;
    import("../vendor/uplot.js").then(({ default: UPlot }) => {
      if (isOver) return;
      make = () => {
        plot.current?.destroy();
        const { time, mean, max, min } = shown.current;
        plot.current = new UPlot(optionsFor(box.current, top, sync, tell), [time, mean, max, min], box.current);
        plot.current.setScale("x", { min: last.current.from, max: last.current.until });
      };
      make();
      observer = new ResizeObserver(([entry]) => plot.current?.setSize({ width: Math.max(entry.contentRect.width, 40), height: HEIGHT }));
      observer.observe(box.current);
      dark.addEventListener("change", make);
    });
    return () => {
      isOver = true;
      observer?.disconnect();
      if (make !== null) dark.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [top, sync]);

  useLayoutEffect(() => {
    if (plot.current === null) return;
    plot.current.setData([line.time, line.mean, line.max, line.min], false);
    plot.current.setScale("x", { min: from, max: until });
  });

  return html`<div class="plot plot-${tone}">
    <div ref=${box} class="plot-box" role="img" aria-label=${label}></div>
    <span ref=${told} class="plot-told quiet" aria-hidden="true"></span>
  </div>`;
}
