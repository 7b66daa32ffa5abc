// After a mistake: put the reader on the list of problems, and show each question whole when its
// link is followed. Without this script the links work as plain anchors.
(() => {
  const summary = document.getElementById("intake-summary");
  if (!summary) return;
  summary.focus();
  summary.addEventListener("click", event => {
    const link = event.target.closest("a[href^='#']");
    const control = link && document.getElementById(link.hash.slice(1));
    if (!control) return;
    event.preventDefault();
    const group = control.closest("fieldset");
    (group?.querySelector("legend") ?? control.labels?.[0] ?? control).scrollIntoView();
    control.focus({ preventScroll: true });
  });
})();
