// Which items of a long list are in sight: only those are drawn, so that a thousand rows cost as much as thirty.

import { useEffect, useMemo, useState } from "./html.js";

const BEYOND_SIGHT_PX = 340;

function firstFrom(offsets, y) {
  let low = 0;
  let high = offsets.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[middle + 1] > y) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Return `{first, last, offsets}` of what to draw of `items` in `element`; a kind's height is `--<kind>-height` there. */
export function useWindow(element, items) {
  const [view, setView] = useState({ top: 0, bottom: 2000, heights: "" });
  const heights = useMemo(() => (view.heights ? JSON.parse(view.heights) : { worker: 56, card: 40, group: 40 }), [view.heights]);
  const offsets = useMemo(() => {
    const found = [0];
    for (const { kind } of items) found.push(found.at(-1) + heights[kind]);
    return found;
  }, [items, heights]);

  useEffect(() => {
    let asked = 0;
    function measure() {
      asked = 0;
      if (element.current === null) return;
      const style = getComputedStyle(element.current);
      const measured = ["worker", "card", "group"].map((kind) => [kind, parseFloat(style.getPropertyValue(`--${kind}-height`))]);
      const given = JSON.stringify(Object.fromEntries(measured));
      const start = -element.current.getBoundingClientRect().top;
      // In steps, so that most scroll events change nothing.
      const top = Math.floor((start - BEYOND_SIGHT_PX) / 100) * 100;
      const bottom = Math.ceil((start + window.innerHeight + BEYOND_SIGHT_PX) / 100) * 100;
      setView((now) => (now.top === top && now.bottom === bottom && now.heights === given ? now : { top, bottom, heights: given }));
    }
    function ask() {
      if (asked === 0) asked = requestAnimationFrame(measure);
    }
    measure();
    const observer = new ResizeObserver(ask); // what stands above may grow and shrink
    observer.observe(document.body);
    window.addEventListener("scroll", ask, { passive: true });
    window.addEventListener("resize", ask);
    return () => {
      observer.disconnect();
      window.removeEventListener("scroll", ask);
      window.removeEventListener("resize", ask);
      cancelAnimationFrame(asked);
    };
  }, []);

  const first = items.length === 0 ? 0 : firstFrom(offsets, Math.max(view.top, 0));
  const last = items.length === 0 ? 0 : Math.min(firstFrom(offsets, Math.max(view.bottom, 0)) + 1, items.length);
  return { first, last, offsets };
}
