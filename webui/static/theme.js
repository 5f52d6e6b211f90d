// Applies the light or dark that somebody chose by hand, before anything is drawn; lib/theme.js changes it.
try {
  const theme = localStorage.getItem("gpumon.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing follows its system.
}
