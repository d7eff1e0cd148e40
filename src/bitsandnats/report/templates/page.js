"use strict";
(async () => {
  const root = document.documentElement;
  const options = {
    renderer: "svg",
    actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
    scaleFactor: 2,
    logLevel: 1,
  };
  for (const place of document.querySelectorAll(".chart")) {
    try {
      const spec = JSON.parse(document.getElementById("spec-" + place.dataset.name).textContent);
      await vegaEmbed(place, spec, { ...options, downloadFileName: place.dataset.name });
      const svg = place.querySelector("svg.marks");
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", place.dataset.label);
    } catch (error) {
      window.__errors.push(String(error));
      const note = document.createElement("p");
      note.className = "error";
      note.textContent = "This figure could not be drawn: " + error;
      place.replaceChildren(note);
    }
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details.more").forEach((d) => (d.open = true)));
  await new Promise((done) => setTimeout(done, 0));
  root.dataset.errors = String(window.__errors.length);
  root.dataset.rendered = "true";
})();
