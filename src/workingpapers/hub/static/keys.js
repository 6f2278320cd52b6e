// Keys: / search, j and k next and previous paper, o open, u vote, b save, r run, ? help. Never while typing; all can be switched off.
// Besides, fetches what typesets formulas once one comes near.
"use strict";
(() => {
  const page = document.documentElement;
  const KEYS = [["/", "search"], ["j  k", "next, previous paper"], ["o", "open it"], ["u", "vote"], ["b", "save"], ["r", "run its claim"], ["?", "this list"]];
  let current = null;

  const items = () => [...document.querySelectorAll("main article")];

  function isTyping(element) {
    return element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName) || element.closest("dialog") !== null;
  }

  function move(step) {
    const all = items();
    if (!all.length) return;
    let at = all.indexOf(current && current.isConnected ? current : document.activeElement.closest("main article"));
    if (at < 0) at = step > 0 ? all.findIndex((a) => a.getBoundingClientRect().bottom > 80) - 1 : all.length;
    current = all[Math.min(all.length - 1, Math.max(0, at + step))];
    if (!current.hasAttribute("tabindex")) current.tabIndex = -1;
    current.focus({ preventScroll: true });
    current.scrollIntoView({ block: "nearest" });
  }

  function within(selector) {
    const here = document.activeElement.closest("main article") || (current && current.isConnected ? current : null);
    return (here && here.querySelector(selector)) || (items().length < 2 ? document.querySelector("main " + selector) : null);
  }

  function press(selector) {
    const found = within(selector);
    if (found) found.click();
  }

  function search() {
    const field = document.querySelector("main input[type=search], header input[type=search]");
    if (field) field.select(), field.focus();
    else location.assign("/search");
  }

  function help() {
    let box = document.getElementById("keys");
    if (!box) {
      box = document.createElement("dialog");
      box.id = "keys";
      box.setAttribute("aria-labelledby", "keys-title");
      const title = document.createElement("h2");
      title.id = "keys-title";
      title.textContent = "Keys";
      const list = document.createElement("dl");
      for (const [key, words] of KEYS) {
        const name = document.createElement("dt");
        for (const one of key.split("  ")) {
          const cap = document.createElement("kbd");
          cap.textContent = one;
          name.append(cap, " ");
        }
        const does = document.createElement("dd");
        does.textContent = words;
        list.append(name, does);
      }
      const close = document.createElement("form");
      close.method = "dialog";
      const button = document.createElement("button");
      button.textContent = "Close";
      close.append(button);
      const note = document.createElement("p");
      note.className = "soft";
      note.textContent = "They can be switched off at the foot of every page.";
      box.append(title, list, note, close);
      document.body.append(box);
    }
    box.showModal();
  }

  const acts = {
    "/": search, "?": help, j: () => move(1), k: () => move(-1), o: () => press("h1 a, h2 a, h3 a"), u: () => press("[data-act=vote]"),
    b: () => press("[data-act=save]"), r: () => press("[data-act=run], form[action='/runs'] button, a[href$='#claims']"),
  };

  document.addEventListener("keydown", (event) => {
    if (page.dataset.keys === "off" || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key !== "j" && event.key !== "k") return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const act = Object.hasOwn(acts, event.key) ? acts[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });

  // What typesets formulas is fetched when the first one comes near, unless the head of the page asked for it already.
  const parts = (document.currentScript.dataset.maths || "").split(" ").filter(Boolean);
  const near = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    near.disconnect();
    for (const address of parts.splice(0)) {
      const isSheet = address.includes(".css");
      const part = document.createElement(isSheet ? "link" : "script");
      if (isSheet) part.rel = "stylesheet", part.href = address;
      else part.src = address, part.async = false;
      document.head.append(part);
    }
  }, { rootMargin: "400px 0px" });

  function watch(root) {
    if (parts.length && !document.querySelector("script[src*='/maths.js']")) root.querySelectorAll("code.math").forEach((formula) => near.observe(formula));
  }

  watch(document);
  document.addEventListener("htmx:load", (event) => watch(event.detail.elt.parentElement || document));
})();
