// Live progress: follows the events of runs under way and fetches the finished part of the page when one is over.
"use strict";
(() => {
  const LOG_LINES = 6;
  const followed = new WeakSet();

  function words(seconds) {
    if (seconds < 1) return "under 1 s";
    if (seconds < 60) return Math.round(seconds) + " s";
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
  }

  function count(n, noun) {
    return n + " " + noun + (n === 1 ? "" : "s");
  }

  // Fetches the nearest part of the page that the server can render again. The line may be dead, or the server starting, at just
  // this moment: as long as the old part stands, it is asked for again, after one second at first and thirty at most.
  function refresh(element, pause = 1000) {
    const panel = element.closest("[data-panel]");
    const page = element.closest("[data-page]");
    const later = () => setTimeout(() => { if (element.isConnected) refresh(element, Math.min(2 * pause, 30000)); }, pause);
    if (panel) htmx.ajax("GET", panel.dataset.panel, { target: panel, swap: "outerHTML" }).then(later, later);
    else if (page) htmx.ajax("GET", location.pathname, { target: page.dataset.page, select: page.dataset.page, swap: "outerHTML" }).then(later, later);
  }

  function follow(element) {
    if (followed.has(element)) return;
    followed.add(element);
    const bar = element.querySelector("progress");
    const told = element.querySelector("[data-told]");
    const page = element.closest("[data-page]");
    const log = page && page.querySelector("[data-log]");
    const events = new EventSource(element.dataset.live);
    const on = (kind, act) => events.addEventListener(kind, (event) => {
      if (element.isConnected) act(JSON.parse(event.data));
      else events.close();
    });
    const over = () => { events.close(); refresh(element); };

    on("queue", (d) => { told.textContent = "in line" + (d.ahead ? ", " + count(d.ahead, "run") + " ahead" : ""); });
    on("progress", (d) => {
      bar.value = Math.min(1, Math.max(0, d.share || 0));
      if (d.words) told.textContent = d.words;
      else if (d.total) told.textContent = d.done + " of " + count(d.total, "trial") + (d.seconds_left == null ? "" : " · " + words(d.seconds_left) + " left");
    });
    on("trial", (d) => {
      if (d.total) bar.value = Math.max(bar.value, d.done / d.total);
      if (!log) return;
      const line = document.createElement("li");
      line.className = d.state;
      line.textContent = (d.arm === "*" ? "all arms" : d.arm) + ", seed " + d.seed + ", " + d.point + ": " + d.state + (d.error ? " (" + d.error + ")" : "");
      log.append(line);
      while (log.children.length > LOG_LINES) log.firstElementChild.remove();
    });
    on("warning", (d) => { told.textContent = d.words; });
    on("state", over);
    on("done", over);
  }

  function scan(root) {
    if (root.matches && root.matches("[data-live]")) follow(root);
    root.querySelectorAll("[data-live]").forEach(follow);
  }

  // What is wider than its place scrolls by itself, and is reached by keyboard only then: elsewhere it would be a stop for nothing.
  function reachable() {
    for (const element of document.querySelectorAll(".wide")) {
      if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
      else element.removeAttribute("tabindex");
    }
  }

  document.addEventListener("DOMContentLoaded", () => { scan(document); reachable(); });
  document.addEventListener("htmx:load", (event) => { scan(event.detail.elt); reachable(); });
  document.addEventListener("toggle", reachable, true);
  addEventListener("load", reachable, true);
  addEventListener("resize", reachable);
  // An error answers nobody's click then: what stands stays.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.isError && !event.detail.requestConfig.triggeringEvent) event.detail.shouldSwap = false;
  });
  // A notice about something that did not work goes as soon as something else is asked for.
  document.addEventListener("htmx:beforeRequest", () => { document.getElementById("notice").textContent = ""; });
})();
