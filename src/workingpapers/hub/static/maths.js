// Typesets formulas: <code class="math">source</code>. What KaTeX cannot read stays source.
"use strict";
(() => {
  const OPTIONS = { trust: false, strict: "ignore", throwOnError: false, maxExpand: 500, maxSize: 20, errorColor: "inherit" };

  // The site's policy lets no style attribute in, and KaTeX writes a few: set them one property at a time, which it allows.
  function withoutStyleAttributes(node) {
    if (node.attributes && node.attributes.style) {
      const text = node.attributes.style;
      delete node.attributes.style;
      const make = node.toNode.bind(node);
      node.toNode = () => {
        const made = make();
        for (const part of text.split(";")) {
          const [name, value] = part.split(":");
          if (value) made.style.setProperty(name.trim(), value.trim());
        }
        return made;
      };
    }
    (node.children || []).forEach(withoutStyleAttributes);
  }

  function typeset(element) {
    element.dataset.typeset = "";
    const displayMode = element.classList.contains("display");
    const tree = katex.__renderToDomTree(element.textContent, { ...OPTIONS, displayMode });
    if (tree.classes.includes("katex-error")) return;
    withoutStyleAttributes(tree);
    if (displayMode) element.tabIndex = 0;  // a wide one scrolls by itself, and by keyboard too
    element.replaceChildren(tree.toNode());
  }

  // Each formula shortly before it is seen: a long page pays for those that are looked at, and fetches only their fonts.
  const near = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (!one.isIntersecting) continue;
      near.unobserve(one.target);
      typeset(one.target);
    }
  }, { rootMargin: "400px 0px" });

  function scan(root) {
    root.querySelectorAll("code.math:not([data-typeset])").forEach((formula) => near.observe(formula));
  }

  scan(document);
  document.addEventListener("htmx:load", (event) => scan(event.detail.elt.parentElement || document));
  addEventListener("beforeprint", () => document.querySelectorAll("code.math:not([data-typeset])").forEach(typeset));
})();
