// A line to copy, with the button that does it; works without a secure context too, where the clipboard interface does not.

import { html, useRef, useState } from "../lib/html.js";

export function CopyLine({ text, label }) {
  const line = useRef(null);
  const [copied, setCopied] = useState(false);

  function copy() {
    const range = document.createRange();
    range.selectNodeContents(line.current);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    setCopied(document.execCommand("copy"));
    setTimeout(() => setCopied(false), 2000);
  }

  return html`<div class="copy-line">
    ${label && html`<span class="copy-label">${label}</span>`}
    <code ref=${line}>${text}</code>
    <button class="button button-quiet" onClick=${copy} aria-label=${`Copy ${text}`}>${copied ? "Copied" : "Copy"}</button>
  </div>`;
}
