// The map of inputs: a canvas of points, and a list of the nearest inputs of the one that is chosen.
explorers.map = (root, data) => {
  const n = data.count, near = data.near_count;
  const px = unpack(data.x), py = unpack(data.y), neighbours = unpack(data.near), r = scaled(data.r);
  const reliability = scaled(data.reliability), variance = unpack(data.variance), item = unpack(data.item);
  const source = { sheet: picture(data.sheet), texts: data.texts, labels: data.labels, label: data.label && unpack(data.label) };
  const order = Float64Array.from(variance, (v) => (v > 0 ? Math.log(v) : -Infinity));
  const finite = order.filter(Number.isFinite).sort();
  const low = finite[Math.floor(0.02 * finite.length)], high = finite[Math.ceil(0.98 * finite.length) - 1];
  let colouring = source.label ? "label" : "variance", only = null, chosen = -1, hovered = -1;
  let view = { x: 0.5, y: 0.5, zoom: 1 }, width = 600, height = 560, context = null;

  const canvas = element("canvas", {
    tabindex: "0", role: "application",
    "aria-label": `Map of ${n} inputs by the loss kernel. Arrow keys choose the next input in a direction, plus and minus zoom, 0 shows all. The nearest inputs of the chosen one are listed beside the map.`,
  });
  const tip = element("div", { class: "tip", hidden: true }), stage = element("div", { class: "stage" }, canvas, tip);
  const panel = element("div", { class: "panel" }), status = element("p", { class: "unseen", role: "status" });
  const legend = element("div", { class: "legend" });

  const scale = () => (Math.min(width, height) - 44) * view.zoom;
  const sx = (i) => width / 2 + (px[i] / 65535 - view.x) * scale();
  const sy = (i) => height / 2 - (py[i] / 65535 - view.y) * scale();
  const radius = () => Math.min(7, (n > 5000 ? 2.1 : n > 1000 ? 3 : 4.4) * Math.sqrt(Math.min(view.zoom, 6)));
  const shape = (k) => (k < 32 ? shapes[(k + Math.floor(k / hues.length)) % shapes.length] : "circle");  // a pair of its own for each
  const held = (i) => only === null || source.label[i] === only;

  function colour(i, rest) {
    if (colouring === "label") return source.label[i] < 32 ? hues[source.label[i] % hues.length] : rest;
    if (colouring === "reliability") return sequential(reliability(i));
    return sequential((order[i] - low) / (high - low || 1));
  }

  function draw() {
    width = stage.clientWidth || 600;
    height = Math.min(620, Math.max(360, width * 0.8));
    context = sharp(canvas, width, height);
    context.clearRect(0, 0, width, height);
    const size = radius(), paper = css("--paper"), faint = css("--faint"), thumbs = source.sheet && source.sheet.image.complete && view.zoom >= data.thumbs_from;
    for (const faded of only === null ? [false] : [true, false]) {
      for (let i = 0; i < n; i++) {
        if (held(i) === faded) continue;
        const x = sx(i), y = sy(i);
        if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
        const c = colour(i, faint);
        context.globalAlpha = faded ? 0.12 : n > 3000 ? 0.75 : 0.9;
        if (thumbs && !faded) {
          const side = Math.max(source.sheet.width, source.sheet.height), big = 24 / side, [ix, iy] = place(source.sheet, i);
          const w = source.sheet.width * big, h = source.sheet.height * big;
          context.imageSmoothingEnabled = false;
          context.drawImage(source.sheet.image, ix, iy, source.sheet.width, source.sheet.height, x - w / 2, y - h / 2, w, h);
          context.strokeStyle = c; context.lineWidth = 2.5;
          context.strokeRect(x - w / 2 - 1, y - h / 2 - 1, w + 2, h + 2);
          continue;
        }
        mark(context, colouring === "label" ? shape(source.label[i]) : "circle", x, y, size);
        if (reliability(i) >= 0.5) { context.fillStyle = c; context.fill(); if (n <= 1000) { context.strokeStyle = paper; context.lineWidth = 0.7; context.stroke(); } }
        else { context.strokeStyle = c; context.lineWidth = 1.2; context.stroke(); }
      }
    }
    context.globalAlpha = 1;
    if (chosen >= 0) {
      context.strokeStyle = css("--ink"); context.lineWidth = 1; context.globalAlpha = 0.5;
      for (let k = 0; k < near; k++) {
        const j = neighbours[chosen * near + k];
        context.beginPath(); context.moveTo(sx(chosen), sy(chosen)); context.lineTo(sx(j), sy(j)); context.stroke();
        context.beginPath(); context.arc(sx(j), sy(j), size + 3, 0, 2 * Math.PI); context.stroke();
      }
      context.globalAlpha = 1; context.lineWidth = 2.5;
      context.beginPath(); context.arc(sx(chosen), sy(chosen), size + 5, 0, 2 * Math.PI); context.stroke();
    }
    root.dataset.drawn = String(n);
  }

  function words(i) {
    const label = labelOf(source, i), said = [`input ${item[i]}`];
    if (label !== null) said.unshift(`label ${label}`);
    return said.join(" · ");
  }

  function rowsReproduce(i) {
    const value = reliability(i);
    return Number.isFinite(value) ? `reliability ${value.toFixed(2)}` : "reliability unknown";
  }

  function choose(i, scroll) {
    chosen = i;
    const list = element("ol", { class: "near" });
    for (let k = 0; k < near; k++) {
      const j = neighbours[i * near + k], value = r(i * near + k);
      const bar = element("span", { class: "bar" });
      bar.style.width = Math.max(0, value) * 64 + "px";
      list.append(element("li", {}, element("button", { type: "button", onclick: () => choose(j, true) },
        sample(source, j, 34), element("span", { class: "what", text: words(j) }),
        element("span", { class: "value", text: "R " + fixed(value) }), bar)));
    }
    const poor = !(reliability(i) >= 0.5);
    panel.replaceChildren(
      element("div", { class: "chosen" }, sample(source, i, 96),
        element("p", {}, element("strong", { text: words(i) }), element("br"),
          element("span", { text: `variance of its loss ${number(variance[i])} nats²` }), element("br"),
          element("span", { class: poor ? "poor" : "", text: rowsReproduce(i) + (poor ? ": its neighbours are not to be relied on" : "") }))),
      element("h4", { text: "Nearest by R" }), list);
    status.textContent = `${words(i)}, ${rowsReproduce(i)}; nearest: ${words(neighbours[i * near])}, R ${fixed(r(i * near))}`;
    root.dataset.chosen = String(i);
    if (scroll) {
      const x = sx(i), y = sy(i);
      if (x < 20 || y < 20 || x > width - 20 || y > height - 20) { view.x = px[i] / 65535; view.y = py[i] / 65535; }
    }
    draw();
  }

  function at(event) {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = 14 ** 2;
    for (let i = 0; i < n; i++) {
      if (!held(i)) continue;
      const d = (sx(i) - x) ** 2 + (sy(i) - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return [best, x, y];
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const before = scale(), ux = view.x + (x - width / 2) / before, uy = view.y - (y - height / 2) / before;
    view.zoom = Math.min(200, Math.max(1, view.zoom * factor));
    const after = scale();
    if (view.zoom === 1) view = { x: 0.5, y: 0.5, zoom: 1 };
    else { view.x = ux - (x - width / 2) / after; view.y = uy + (y - height / 2) / after; }
    draw();
  }

  let dragged = null, moved = false;
  canvas.addEventListener("pointerdown", (e) => { dragged = [e.clientX, e.clientY]; moved = false; });
  addEventListener("pointerup", () => { dragged = null; });
  canvas.addEventListener("pointermove", (e) => {
    if (dragged) {
      const dx = e.clientX - dragged[0], dy = e.clientY - dragged[1];
      if (moved || Math.hypot(dx, dy) > 4) {
        moved = true;
        view.x -= dx / scale(); view.y += dy / scale(); dragged = [e.clientX, e.clientY]; tip.hidden = true; draw();
      }
      return;
    }
    const [i, x, y] = at(e);
    hovered = i;
    if (i < 0) { tip.hidden = true; return; }
    showTip(tip, stage, x, y, sample(source, i, 80), element("p", { text: words(i) }), element("p", { class: "count", text: rowsReproduce(i) }));
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (e) => { if (!moved) { const [i] = at(e); if (i >= 0) choose(i, false); } });
  canvas.addEventListener("dblclick", (e) => { const [, x, y] = at(e); zoom(2, x, y); });
  canvas.addEventListener("wheel", (e) => {
    if (document.activeElement !== canvas && !e.ctrlKey) return;  // the page scrolls until the map is asked for
    e.preventDefault();
    const box = canvas.getBoundingClientRect();
    zoom(Math.exp(-e.deltaY / 400), e.clientX - box.left, e.clientY - box.top);
  }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
    if (step) {
      e.preventDefault();
      if (chosen < 0) { choose(0, true); return; }
      let best = -1, least = Infinity;
      for (let i = 0; i < n; i++) {
        if (i === chosen || !held(i)) continue;
        const dx = px[i] - px[chosen], dy = py[i] - py[chosen];
        const along = dx * step[0] + dy * step[1], across = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
        if (along > 0 && along >= across && Math.hypot(dx, dy) < least) { least = Math.hypot(dx, dy); best = i; }
      }
      if (best >= 0) choose(best, true);
    } else if (e.key === "+" || e.key === "=") zoom(1.5);
    else if (e.key === "-") zoom(1 / 1.5);
    else if (e.key === "0") { view = { x: 0.5, y: 0.5, zoom: 1 }; draw(); }
  });

  function showLegend() {
    legend.replaceChildren();
    if (colouring === "label") {
      const count = new Map();
      for (let i = 0; i < n; i++) count.set(source.label[i], (count.get(source.label[i]) || 0) + 1);
      for (let k = 0; k < Math.min(source.labels.length, 32); k++) {
        const key = element("canvas", { "aria-hidden": "true" }), pressed = only === k;
        key.style.width = "14px";
        const c = sharp(key, 14, 14);
        c.fillStyle = hues[k % hues.length];
        mark(c, shape(k), 7, 7, 5); c.fill();
        legend.append(element("button", { type: "button", "aria-pressed": String(pressed), onclick: () => { only = pressed ? null : k; showLegend(); draw(); } },
          key, element("span", { text: `${source.labels[k]} (${count.get(k) || 0})` })));
      }
      if (source.labels.length > 32) legend.append(element("span", { class: "note", text: `and ${source.labels.length - 32} rarer labels, in grey` }));
    } else {
      const ends = colouring === "reliability" ? ["0", "1"] : [number(Math.exp(low), 2), number(Math.exp(high), 2) + " nats²"];
      const strip = element("span", { class: "ramp", "aria-hidden": "true" });
      strip.style.background = `linear-gradient(to right, ${[0, 0.25, 0.5, 0.75, 1].map(sequential).join(",")})`;
      legend.append(element("span", { text: ends[0] }), strip, element("span", { text: ends[1] }));
    }
    if (data.poor) legend.append(element("span", { class: "note", text: `hollow: ${data.poor.toLocaleString("en-US")} inputs whose row does not reproduce` }));
  }

  const ways = { label: "label", variance: "variance of the loss", reliability: "reliability of the row" };
  const by = element("select", { onchange: (e) => { colouring = e.target.value; only = null; showLegend(); draw(); } },
    ...Object.keys(ways).filter((k) => k !== "label" || source.label).map((k) => element("option", { value: k, text: ways[k] })));
  const wanted = element("input", { type: "search", placeholder: source.texts ? "number or words" : "number", "aria-label": "Find an input", onchange: (e) => {
    const text = e.target.value.trim().toLowerCase();
    if (!text) return;
    let i = /^\d+$/.test(text) ? item.indexOf(Number(text)) : -1;
    if (i < 0 && source.texts) i = source.texts.findIndex((t, k) => k > chosen && t.toLowerCase().includes(text));
    if (i < 0 && source.texts) i = source.texts.findIndex((t) => t.toLowerCase().includes(text));
    e.target.setAttribute("aria-invalid", String(i < 0));
    if (i >= 0) choose(i, true);
  } });
  root.append(
    element("div", { class: "toolbar" },
      element("label", {}, "colour ", by), element("label", {}, "find ", wanted),
      element("button", { type: "button", "aria-label": "Zoom in", text: "+", onclick: () => zoom(1.5) }),
      element("button", { type: "button", "aria-label": "Zoom out", text: "−", onclick: () => zoom(1 / 1.5) }),
      element("button", { type: "button", text: "all", onclick: () => { view = { x: 0.5, y: 0.5, zoom: 1 }; draw(); } })),
    element("div", { class: "split" }, stage, panel), legend, status);
  showLegend();
  if (source.sheet) source.sheet.image.addEventListener("load", draw);
  onChange(() => { showLegend(); draw(); });
  choose(0, false);
};
