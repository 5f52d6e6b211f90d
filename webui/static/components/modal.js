// A dialog over the page: as long as it is drawn it is open, and the focus goes back to where it was.

import { html, useLayoutEffect, useRef } from "../lib/html.js";

export function Modal({ title, onClose, children }) {
  const dialog = useRef(null);
  useLayoutEffect(() => {
    const element = dialog.current;
    element.showModal();
    return () => element.close();
  }, []);

  function cancelled(event) {
    event.preventDefault(); // it closes by no longer being drawn
    onClose();
  }

  return html`<dialog ref=${dialog} class="help modal" aria-labelledby="modal-title" onCancel=${cancelled}>
    <h2 id="modal-title">${title}</h2>
    ${children}
  </dialog>`;
}
