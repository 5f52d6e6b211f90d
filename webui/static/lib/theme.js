// Light, dark, or as the system has it.

export const THEMES = { system: "as the system", light: "light", dark: "dark" };
const KEPT_AS = "gpumon.theme";

export function theme() {
  return document.documentElement.dataset.theme ?? "system";
}

export function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    if (name === "system") localStorage.removeItem(KEPT_AS);
    else localStorage.setItem(KEPT_AS, name);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}
