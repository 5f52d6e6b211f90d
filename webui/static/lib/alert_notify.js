// Notifications of the browser itself, for who asks for them here: one for each `page` alert that begins to fire.

const KEPT_AS = "gpumon.notify";
const seen = new Set();

/** Tell whether this browser can show notifications: it does on this machine or over HTTPS. */
export function canNotify() {
  return "Notification" in window && window.isSecureContext && Notification.permission !== "denied";
}

export function isNotifying() {
  try {
    return canNotify() && Notification.permission === "granted" && localStorage.getItem(KEPT_AS) === "on";
  } catch {
    return false; // a browser that keeps nothing
  }
}

/** Switch them on, for which the browser asks, or off; returns whether they are on now. */
export async function setNotifying(isOn) {
  const isAllowed = isOn && (await Notification.requestPermission()) === "granted";
  try {
    if (isAllowed) localStorage.setItem(KEPT_AS, "on");
    else localStorage.removeItem(KEPT_AS);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
  return isAllowed;
}

/** Take note of alerts that have arrived; what is new since the page was opened is shown, if it pages somebody. */
export function told(alerts, isNews) {
  for (const alert of alerts) {
    if (seen.has(alert.id)) continue;
    seen.add(alert.id);
    if (!isNews || alert.severity !== "page" || alert.silenced || !isNotifying()) continue;
    const notification = new Notification(`${alert.worker_id}: ${alert.rule}`, { body: alert.text, tag: alert.id });
    notification.onclick = () => {
      window.focus();
      location.assign(`/alerts/${encodeURIComponent(alert.id)}`);
    };
  }
}
