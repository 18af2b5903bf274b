// Keys of the review desk: a and b choose a name, t says that neither is better, s skips.
"use strict";

(() => {
  const form = document.querySelector("form[data-choose]");
  if (!form) return;
  let sent = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || sent) return;
    if (window.namesae?.isTyping(event.target)) return;
    const button = form.querySelector(`button[aria-keyshortcuts="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!button) return;
    event.preventDefault();
    sent = true;
    form.requestSubmit(button);
  });
})();
