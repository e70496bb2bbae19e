"use strict";
// Keys for the buttons of a page (data-key), and the refresh of a page that waits. Pages work without this file.
(function () {
  var NAME = "keys";

  function isOn() {
    try { return window.localStorage.getItem(NAME) !== "off"; } catch (error) { return true; }
  }

  function turn(on) {
    try { window.localStorage.setItem(NAME, on ? "on" : "off"); } catch (error) { /* not kept */ }
  }

  function isTyping(target) {
    return /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName);
  }

  function mark() { document.documentElement.classList.toggle("with-keys", isOn()); }

  mark();
  document.addEventListener("keydown", function (event) {
    if (!isOn() || event.ctrlKey || event.altKey || event.metaKey || event.repeat || isTyping(event.target)) { return; }
    document.querySelectorAll("[data-key]").forEach(function (button) {
      if (button.getAttribute("data-key") === event.key.toLowerCase()) { event.preventDefault(); button.click(); }
    });
  });

  var keys = document.getElementById("keys");
  if (keys) {
    var button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    var say = function () { button.textContent = isOn() ? "Turn the keys off" : "Turn the keys on"; };
    button.addEventListener("click", function () { turn(!isOn()); mark(); say(); });
    say();
    keys.appendChild(button);
    keys.hidden = false;
  }

  var print = document.getElementById("print");
  if (print) {
    print.hidden = false;
    print.addEventListener("click", function () { window.print(); });
  }

  // A form is sent once, also by a double click.
  document.addEventListener("submit", function (event) {
    if (event.target.getAttribute("data-sent")) { event.preventDefault(); return; }
    event.target.setAttribute("data-sent", "yes");
  });
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form").forEach(function (form) { form.removeAttribute("data-sent"); });
  });

  var waiting = document.getElementById("waiting");
  if (waiting) { window.setTimeout(function () { window.location.reload(); }, 1000); }
})();
