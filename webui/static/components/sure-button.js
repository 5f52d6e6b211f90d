// A button for what cannot be undone: the first press asks, the second does it.

import { html, useEffect, useState } from "../lib/html.js";

const ASKS_MS = 4_000;

export function SureButton({ text, sure, label, onSure }) {
  const [asks, setAsks] = useState(false);
  useEffect(() => {
    if (!asks) return undefined;
    const timer = setTimeout(() => setAsks(false), ASKS_MS);
    return () => clearTimeout(timer);
  }, [asks]);

  function pressed() {
    setAsks(!asks);
    if (asks) onSure();
  }

  return html`<button type="button" class="button ${asks ? "button-danger" : "button-quiet"}" aria-label=${asks ? sure : label} onClick=${pressed}>
    ${asks ? sure : text}
  </button>`;
}
