// Text whose tokens are coloured: a few items at a time, for the row that is chosen.
explorers.tokens = (root, data) => {
  const shown = 4, values = unpack(data.values), reliability = scaled(data.reliability), width = data.width;
  let row = 0, page = 0, sorting = "order";
  const value = (at) => (values[row * width + at] / 32767) * data.reach[row];

  function order() {
    const all = data.items.map((_, i) => i);
    if (sorting === "strongest") {
      const size = data.items.map((item) => Math.max(...item.at.filter((a) => a >= 0).map((a) => Math.abs(value(a))), 0));
      all.sort((a, b) => size[b] - size[a]);
    }
    return all;
  }

  const texts = element("div", { class: "texts" }), where = element("span", {}), said = element("p", { class: "status", role: "status", text: "\u00a0" });
  const tip = element("div", { class: "tip", hidden: true }), stage = element("div", { class: "stage" }, texts, tip);
  const face = element("span", {});
  let current = null;

  function tell(token) {
    if (current) current.classList.remove("current");
    current = token;
    token.classList.add("current");
    const at = Number(token.dataset.at);
    said.textContent = `“${token.dataset.text}”: ${at < 0 ? "no loss" : signed(value(at)) + data.unit}`;
    root.dataset.said = said.textContent;
  }

  function show() {
    const all = order(), pages = Math.ceil(all.length / shown), poor = data.judged && !(reliability(row) >= 0.5);
    page = Math.min(Math.max(page, 0), pages - 1);
    current = null;
    texts.replaceChildren(...all.slice(page * shown, (page + 1) * shown).map((i) => {
      const item = data.items[i];
      const text = element("div", { class: "coloured", tabindex: "0", role: "group", "aria-label": `${item.name}, move along its tokens with the arrow keys` });
      item.tokens.forEach((token, k) => {
        const at = item.at[k], made = element("span", { "data-at": String(at), "data-text": token.trim() || (token.includes("\n") ? "new line" : "space") });
        made.textContent = token.replace(/\n/g, "↵\n");
        if (at >= 0) {
          const [r, g, b, a] = diverging(value(at) / data.span[row]);
          made.style.backgroundColor = `rgb(${r} ${g} ${b} / ${(0.68 * a).toFixed(3)})`;
        } else made.className = "silent";
        text.append(made);
      });
      return element("div", { class: "item" }, element("p", { class: "count", text: item.name }), text);
    }));
    texts.classList.toggle("unreliable", poor);
    face.className = poor ? "poor" : "count";
    face.textContent = !data.judged ? "" : poor ? `this row does not reproduce (reliability ${fixed(reliability(row))})` : `reliability ${reliability(row).toFixed(2)}`;
    where.textContent = `items ${page * shown + 1}–${Math.min(all.length, (page + 1) * shown)} of ${all.length.toLocaleString("en")}` +
      (all.length < data.total ? ` (those that respond most, of ${data.total.toLocaleString("en")})` : "");
    back.disabled = page === 0; on.disabled = page === pages - 1;
    const s = number(data.span[row], 2);
    ends[0].textContent = `−${s}${data.unit} ${data.low}`; ends[1].textContent = `${data.high} +${s}${data.unit}`;
    root.dataset.shown = String(texts.children.length);
  }

  texts.addEventListener("pointermove", (e) => {
    const token = e.target.closest("[data-at]");
    if (!token) { tip.hidden = true; return; }
    tell(token);
    const box = stage.getBoundingClientRect();
    showTip(tip, stage, e.clientX - box.left, e.clientY - box.top, element("p", { text: said.textContent }));
  });
  texts.addEventListener("pointerleave", () => { tip.hidden = true; });
  texts.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -1e9, End: 1e9 }[e.key], text = e.target.closest(".coloured");
    if (!step || !text) return;
    e.preventDefault();
    const tokens = [...text.children], from = tokens.indexOf(current);
    tell(tokens[Math.min(Math.max((from < 0 ? -1 : from) + step, 0), tokens.length - 1)]);
  });

  const back = element("button", { type: "button", text: "previous", onclick: () => { page--; show(); } });
  const on = element("button", { type: "button", text: "next", onclick: () => { page++; show(); } });
  const chosen = element("select", { "aria-label": "Row", onchange: (e) => { row = Number(e.target.value); if (sorting !== "order") page = 0; show(); } },
    ...data.rows.map((name, i) => element("option", { value: String(i), text: name })));
  const sorted = element("select", { onchange: (e) => { sorting = e.target.value; page = 0; show(); } },
    element("option", { value: "order", text: "as given" }), element("option", { value: "strongest", text: "strongest token" }));
  const ends = [element("span", {}), element("span", {})], strip = element("span", { class: "ramp", "aria-hidden": "true" });
  strip.style.background = "linear-gradient(to right, rgb(20 110 200 / .68), transparent, rgb(222 105 0 / .68))";
  root.append(
    element("div", { class: "toolbar" }, element("label", {}, "of ", chosen), face, element("label", {}, "order ", sorted), back, on, where),
    element("div", { class: "legend" }, ends[0], strip, ends[1]), stage, said);
  show();
};
