// Every card of the fleet as a coloured cell, drawn on a canvas: eight thousand cost as much as eight.

import { cellAt, cellTowards, layOut } from "../lib/heat_layout.js";
import { colourOf, heatOf, readColours } from "../lib/heat.js";
import { markOf } from "../lib/alerts.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../lib/html.js";
import { go, workerPath } from "../lib/router.js";
import { CardTip, tipText } from "./card-tip.js";

const SMALL_HEIGHT = 150;
const LARGE_LEAST = 14;
const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

function drawAbsent(context, cell, size, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.strokeRect(cell.x + 0.5, cell.y + 0.5, size - 1, size - 1);
}

function drawCross(context, { x, y }, size) {
  const inset = size >= 10 ? 4 : 1;
  context.beginPath();
  context.moveTo(x + inset, y + inset);
  context.lineTo(x + size - inset, y + size - inset);
  context.moveTo(x + size - inset, y + inset);
  context.lineTo(x + inset, y + size - inset);
  context.stroke();
}

function drawCell(context, cell, size, card, metric, colours, isFound) {
  const { row, gpu } = card;
  context.globalAlpha = isFound ? 1 : 0.18;
  if (gpu.state === "lost" || gpu.state === "error") {
    drawAbsent(context, cell, size, colours.bad);
    drawCross(context, cell, size);
    return;
  }
  const heat = row.state === "offline" ? null : heatOf(gpu, metric);
  if (heat === null) {
    drawAbsent(context, cell, size, colours.quiet);
    return;
  }
  context.fillStyle = colourOf(colours, heat);
  context.fillRect(cell.x, cell.y, size, size);
}

/** Mark a cell on which an alert fires: a corner, the larger the graver. */
function drawAlert(context, { x, y }, size, severity, colours) {
  const side = size * { page: 0.75, warning: 0.6, note: 0.4 }[severity];
  const corner = (length) => {
    context.beginPath();
    context.moveTo(x + size, y);
    context.lineTo(x + size, y + length);
    context.lineTo(x + size - length, y);
    context.fill();
  };
  context.fillStyle = colours.ground; // a rim that stands out from any colour of the scale
  corner(side + (size >= 10 ? 3 : 1));
  context.fillStyle = colours.alerts[severity];
  corner(side);
}

function draw(canvas, layout, cards, width, { metric, query, colours, pointed, marks }) {
  const ratio = window.devicePixelRatio || 1;
  const context = canvas.getContext("2d");
  const size = [Math.round(width * ratio), Math.round(layout.height * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, layout.height);
  for (let at = 0; at < cards.length; at += 1) {
    const { row, gpu } = cards[at];
    drawCell(context, layout.cells[at], layout.size, cards[at], metric, colours, query.isEmpty || query.card(gpu, row));
    const alert = markOf(marks, row.id, gpu.uuid);
    if (alert !== undefined) drawAlert(context, layout.cells[at], layout.size, alert, colours);
  }
  context.globalAlpha = 1;
  if (pointed >= 0 && pointed < cards.length) {
    context.strokeStyle = colours.text;
    context.lineWidth = 2;
    context.strokeRect(layout.cells[pointed].x, layout.cells[pointed].y, layout.size, layout.size);
  }
}

/** Return an element's width, now and whenever it changes. */
function useWidth(element) {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** Return the style sheet's colours, read again when light becomes dark. */
function useColours() {
  const [colours, setColours] = useState(readColours);
  useEffect(() => {
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const read = () => setColours(readColours());
    dark.addEventListener("change", read);
    const observer = new MutationObserver(read);
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      dark.removeEventListener("change", read);
      observer.disconnect();
    };
  }, []);
  return colours;
}

export function HeatMap({ rows, cards, marks, metric, query, isLarge, label }) {
  const box = useRef(null);
  const canvas = useRef(null);
  const width = useWidth(box);
  const colours = useColours();
  const [pointed, setPointed] = useState(-1);
  const shape = rows.map((row) => row.gpus.length).join();
  const layout = useMemo(() => {
    const counts = rows.map((row) => row.gpus.length);
    return layOut(counts, Math.max(width, 100), isLarge ? window.innerHeight * 0.7 : SMALL_HEIGHT, isLarge ? LARGE_LEAST : 4);
  }, [shape, width, isLarge]);

  useLayoutEffect(() => {
    if (width > 0 && layout.cells.length === cards.length) {
      draw(canvas.current, layout, cards, width, { metric, query, colours, pointed, marks });
    }
  });

  function point(event) {
    const bounds = canvas.current.getBoundingClientRect();
    setPointed(cellAt(layout, event.clientX - bounds.left, event.clientY - bounds.top));
  }

  function open() {
    const card = cards[pointed];
    if (card) go(`${workerPath(card.row.id)}`);
  }

  function pressed(event) {
    if (MOVES.has(event.key) && cards.length > 0) {
      event.preventDefault();
      setPointed(pointed < 0 ? 0 : cellTowards(layout, pointed, event.key));
    } else if (event.key === "Enter") {
      open();
    } else if (event.key === "Escape") {
      setPointed(-1);
    }
  }

  const card = cards[pointed];
  const alert = card && markOf(marks, card.row.id, card.gpu.uuid);
  return html`<div class="heat-box" ref=${box} style=${{ height: `${layout.height}px` }}>
    <canvas
      ref=${canvas}
      class="heat ${card ? "heat-points" : ""}"
      style=${{ width: `${width}px`, height: `${layout.height}px` }}
      role="application"
      aria-roledescription="map of GPUs"
      aria-label=${label}
      tabindex="0"
      onPointerMove=${point}
      onPointerLeave=${() => setPointed(-1)}
      onPointerDown=${point}
      onBlur=${() => setPointed(-1)}
      onClick=${open}
      onKeyDown=${pressed}
    ></canvas>
    ${card && html`<${CardTip} card=${card} alert=${alert} cell=${layout.cells[pointed]} size=${layout.size} width=${width} />`}
    <span class="visually-hidden" role="status">${card ? tipText(card, alert) : ""}</span>
  </div>`;
}
