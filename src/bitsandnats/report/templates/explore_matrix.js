// A matrix as a field of colours on a canvas; the chosen column beside it, row by row.
explorers.matrix = (root, data) => {
  const rows = data.rows.length, columns = data.width, value = scaled(data.values), reliability = scaled(data.reliability);
  const ro = unpack(data.row_order), co = unpack(data.column_order), known = data.columns;
  const source = { sheet: picture(known.sheet), texts: known.texts, marks: known.marks, labels: known.labels, label: known.label && unpack(known.label) };
  const item = unpack(known.item), token = known.token && unpack(known.token), group = known.group && unpack(known.group);
  const high = rows > 200 ? 3 : rows > 80 ? 6 : Math.max(13, Math.min(26, 240 / rows)), named = high >= 13;
  const left = named ? Math.min(220, 40 + 6.6 * Math.max(...data.rows.map((name) => name.length))) : 26, top = 4;
  let view = { from: 0, count: columns }, at = [-1, -1], width = 900;
  const get = (r, c) => value(ro[r] * columns + co[c]);  // by place in the picture
  const poor = (r) => !(reliability(ro[r]) >= 0.5);

  const bitmap = document.createElement("canvas");
  function paint() {
    bitmap.width = columns; bitmap.height = rows;
    const context = bitmap.getContext("2d"), pixels = context.createImageData(columns, rows);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      const [red, green, blue, alpha] = diverging(get(r, c) / data.span);
      pixels.data.set([red, green, blue, Math.round(255 * alpha)], 4 * (r * columns + c));
    }
    context.putImageData(pixels, 0, 0);
  }

  const canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": `Matrix of ${rows} rows and ${columns} columns. Arrow keys choose a cell, whose value and column are told beside it.` });
  const tip = element("div", { class: "tip", hidden: true }), stage = element("div", { class: "stage" }, canvas, tip);
  const status = element("p", { class: "unseen", role: "status" });
  const detail = element("div", { class: "detail" }, element("p", { class: "count", text: "No cell is chosen." }));
  const x = (c) => left + ((c - view.from) / view.count) * (width - left);

  function draw() {
    width = stage.clientWidth || 900;
    const context = sharp(canvas, width, rows * high + top + 4), ink = css("--ink"), soft = css("--soft"), bad = css("--bad");
    context.clearRect(0, 0, width, rows * high + top + 4);
    context.imageSmoothingEnabled = view.count > width - left;
    context.drawImage(bitmap, view.from, 0, view.count, rows, left, top, width - left, rows * high);
    context.font = "12px system-ui, sans-serif"; context.textBaseline = "middle"; context.textAlign = "right";
    for (let r = 0; r < rows; r++) {
      const y = top + r * high, worth = reliability(ro[r]);
      if (named) { context.fillStyle = poor(r) ? bad : ink; context.fillText(data.rows[ro[r]], left - 24, y + high / 2, left - 28); }
      context.strokeStyle = soft; context.lineWidth = 0.5; context.strokeRect(left - 20, y + 1, 15, Math.max(1, high - 2));
      context.fillStyle = poor(r) ? bad : soft;
      context.fillRect(left - 20, y + 1, 15 * Math.min(Math.max(worth || 0, 0), 1), Math.max(1, high - 2));
      if (poor(r)) {  // struck through: what it shows may be noise
        context.strokeStyle = ink; context.globalAlpha = 0.35; context.lineWidth = 1;
        context.beginPath(); context.moveTo(left, y + high / 2); context.lineTo(width, y + high / 2); context.stroke(); context.globalAlpha = 1;
      }
    }
    if (at[0] >= 0) {
      context.strokeStyle = ink; context.lineWidth = 2;
      context.strokeRect(x(at[1]) - 1, top + at[0] * high - 1, Math.max(3, (width - left) / view.count) + 2, high + 2);
    }
    root.dataset.drawn = `${rows}x${columns}`;
  }

  function words(c) {
    const k = co[c], said = [`${data.what} ${item[k]}${token ? ":" + token[k] : ""}`], label = labelOf(source, k);
    if (group) said.unshift(known.groups[group[k]]);
    if (label !== null) said.unshift(`label ${label}`);
    return said.join(" · ");
  }

  function choose(r, c) {
    at = [r, c];
    if (c < view.from || c >= view.from + view.count) view.from = Math.min(Math.max(0, c - Math.floor(view.count / 2)), columns - view.count);
    const list = element("ol", { class: "rows" });
    for (let k = 0; k < Math.min(rows, 40); k++) {
      const v = get(k, c), bar = element("span", { class: v < 0 ? "bar helpful" : "bar harmful" });
      bar.style.width = 50 * Math.min(Math.abs(v) / data.span, 1) + "%";
      bar.style[v < 0 ? "right" : "left"] = "50%";
      list.append(element("li", k === r ? { class: "current" } : {}, element("span", { class: poor(k) ? "what poor" : "what", text: data.rows[ro[k]] }),
        element("span", { class: "axis" }, bar), element("span", { class: "value", text: signed(v, 2) + data.unit })));
    }
    const worth = reliability(ro[r]);
    detail.replaceChildren(
      element("p", {}, element("strong", { text: `${data.rows[ro[r]]}: ${signed(get(r, c))}${data.unit}` }),
        element("span", { class: poor(r) ? "poor" : "count", text: poor(r) ? `  this row does not reproduce (reliability ${fixed(worth)})` : `  reliability of the row ${worth.toFixed(2)}` })),
      element("p", {}, sample(source, co[c], 72), element("span", { class: "count", text: "  " + words(c) })), list);
    status.textContent = `${data.rows[ro[r]]}, ${words(c)}: ${signed(get(r, c))}${data.unit}`;
    root.dataset.chosen = `${r},${c}`;
    draw();
  }

  function cell(event) {
    const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    const r = Math.floor((py - top) / high), c = Math.floor(view.from + ((px - left) / (width - left)) * view.count);
    return r >= 0 && r < rows && px >= left && c < columns ? [r, c, px, py] : null;
  }

  function stretch(factor) {
    const middle = at[1] >= 0 ? at[1] : view.from + view.count / 2;
    view.count = Math.min(columns, Math.max(8, Math.round(view.count / factor)));
    view.from = Math.min(Math.max(0, Math.round(middle - view.count / 2)), columns - view.count);
    draw();
  }

  function move(share) { view.from = Math.min(Math.max(0, view.from + Math.round(share * view.count)), columns - view.count); draw(); }

  canvas.addEventListener("pointermove", (e) => {
    const found = cell(e);
    if (!found) { tip.hidden = true; return; }
    const [r, c, px, py] = found;
    showTip(tip, stage, px, py, element("p", { text: `${data.rows[ro[r]]}: ${signed(get(r, c))}${data.unit}` }), sample(source, co[c], 64), element("p", { class: "count", text: words(c) }));
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (e) => { const found = cell(e); if (found) choose(found[0], found[1]); });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (step) {
      e.preventDefault();
      if (at[0] < 0) choose(0, view.from);
      else choose(Math.min(Math.max(at[0] + step[0], 0), rows - 1), Math.min(Math.max(at[1] + step[1], 0), columns - 1));
    } else if (e.key === "+" || e.key === "=") stretch(2);
    else if (e.key === "-") stretch(0.5);
  });

  const ends = element("div", { class: "legend" }), strip = element("span", { class: "ramp", "aria-hidden": "true" });
  strip.style.background = "linear-gradient(to right, rgb(20 110 200), transparent, rgb(222 105 0))";
  ends.append(element("span", { text: `−${number(data.span, 2)}${data.unit}` }), strip, element("span", { text: `+${number(data.span, 2)}${data.unit}` }),
    element("span", { class: "note", text: "bar at the left of a row: its reliability, from 0 to 1; struck through: a row that does not reproduce" }));
  const button = (text, label, act) => element("button", { type: "button", text, "aria-label": label, onclick: act });
  root.append(
    element("div", { class: "toolbar" }, button("+", "Stretch the columns", () => stretch(2)), button("−", "Show more columns", () => stretch(0.5)),
      button("←", "Columns further left", () => move(-0.5)), button("→", "Columns further right", () => move(0.5))),
    stage, ends, detail, status);
  if (data.responses) {
    const head = element("tr", {}, element("th", { scope: "col", text: "component" }), ...data.probes.map((p) => element("th", { class: "n", scope: "col", text: p })), element("th", { class: "n", scope: "col", text: "reliability" }));
    const body = data.responses.map((row, i) => element("tr", {}, element("th", { scope: "row", text: row.name }),
      ...row.values.map(([v, e]) => element("td", { class: "n", text: v === null ? "—" : `${signed(v, 3)} ± ${e === null ? "—" : number(e, 1)}` })),
      element("td", { class: reliability(i) >= 0.5 ? "n" : "n poor", text: fixed(reliability(i)) })));
    root.append(element("details", { class: "more", open: data.responses.length <= 16 }, element("summary", { text: "Responses to whole probes, nats²" }),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Responses to whole probes" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)))));
  }
  paint();
  onChange(draw);
  draw();
};
