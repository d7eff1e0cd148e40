// The table of influence: a few queries at a time, each with the samples that help and harm it most; then the suspects.
explorers.influence = (root, data) => {
  const shown = 5, n = data.count, k = data.listed, judged = { raw: scaled(data.reliability_raw), normalised: scaled(data.reliability_normalised) };
  const open = (part) => ({ sheet: picture(part.sheet), texts: part.texts, marks: part.marks, labels: part.labels,
    label: part.label && unpack(part.label), item: unpack(part.item), token: part.token && unpack(part.token) });
  const queries = open(data.queries), train = open(data.train), lists = {};
  for (const way of ["raw", "normalised"]) for (const side of ["helpful", "harmful"]) {
    const part = data[`${way}_${side}`];
    lists[`${way}_${side}`] = { index: unpack(part.index), raw: unpack(part.raw), se: unpack(part.se), normalised: scaled(part.normalised) };
  }
  let way = "raw", sorting = "order", page = 0;
  const reliability = (row) => judged[way](row);

  function words(source, i, what) {
    const label = labelOf(source, i), said = [`${what} ${source.item[i]}${source.token ? ":" + source.token[i] : ""}`];
    if (label !== null) said.unshift(`label ${label}`);
    return said.join(" · ");
  }

  function order() {
    const all = Array.from({ length: n }, (_, i) => i), first = lists[`${way}_helpful`];
    if (sorting === "reliability") all.sort((a, b) => (reliability(b) || -1) - (reliability(a) || -1));
    if (sorting === "strongest") all.sort((a, b) => (way === "raw" ? first.raw[a * k] - first.raw[b * k] : first.normalised(a * k) - first.normalised(b * k)));
    return all;
  }

  function listed(row, side) {
    const part = lists[`${way}_${side}`], list = element("ol", { class: "samples" });
    const unit = Math.max(...["helpful", "harmful"].map((s) => Math.abs(way === "raw" ? lists[`${way}_${s}`].raw[row * k] : lists[`${way}_${s}`].normalised(row * k)))) || 1;
    for (let c = 0; c < k; c++) {
      const at = row * k + c, value = way === "raw" ? part.raw[at] : part.normalised(at);
      if (side === "helpful" ? value >= 0 : value <= 0) continue;
      const own = labelOf(train, part.index[at]), asked = labelOf(queries, row);
      const bar = element("span", { class: `bar ${side}` });
      bar.style.width = (100 * Math.abs(value)) / unit + "%";
      list.append(element("li", { title: `influence ${signed(part.raw[at])} (${number(part.se[at], 2)}) nats², normalised ${fixed(part.normalised(at))}` },
        sample(train, part.index[at], 40),
        element("span", { class: "about" },
          element("span", { class: own !== null && own !== asked ? "what other" : "what", text: words(train, part.index[at], "sample") }),
          element("span", { class: "value", text: way === "raw" ? `${signed(value, 2)} (${number(part.se[at], 1)})` : fixed(value) }),
          element("span", { class: "track" }, bar))));
    }
    if (!list.children.length) list.append(element("li", { class: "count", text: side === "helpful" ? "none helps" : "none harms" }));
    return list;
  }

  const cards = element("div", { class: "cards" }), where = element("span", { "aria-live": "polite" });
  function show() {
    const all = order(), pages = Math.ceil(n / shown);
    page = Math.min(Math.max(page, 0), pages - 1);
    cards.replaceChildren(...all.slice(page * shown, (page + 1) * shown).map((row) => {
      const value = reliability(row), poor = !(value >= 0.5);
      return element("div", { class: poor ? "card unreliable" : "card", "data-row": String(row) },
        element("div", { class: "asked" }, sample(queries, row, 84), element("p", {}, element("strong", { text: words(queries, row, "query") }), element("br"),
          element("span", { class: poor ? "poor" : "count", text: poor ? `does not reproduce (reliability ${fixed(value)})` : `reliability ${value.toFixed(2)}` }))),
        element("div", {}, element("h4", { text: "helped by" }), listed(row, "helpful")),
        element("div", {}, element("h4", { text: "harmed by" }), listed(row, "harmful")));
    }));
    where.textContent = `queries ${page * shown + 1}–${Math.min(n, (page + 1) * shown)} of ${n.toLocaleString("en")}`;
    back.disabled = page === 0; on.disabled = page === pages - 1;
    root.dataset.shown = String(cards.children.length);
  }

  const choice = (options, change) => element("select", { onchange: (e) => { change(e.target.value); page = 0; show(); } },
    ...Object.entries(options).map(([value, text]) => element("option", { value, text })));
  const back = element("button", { type: "button", text: "previous", onclick: () => { page--; show(); } });
  const on = element("button", { type: "button", text: "next", onclick: () => { page++; show(); } });
  const wanted = element("input", { type: "search", placeholder: queries.texts || queries.marks ? "number or words" : "number", "aria-label": "Find a query", onchange: (e) => {
    const text = e.target.value.trim().toLowerCase(), all = order(), said = (i) => (queries.texts ? queries.texts[i] : queries.marks ? queries.marks[i].join("") : "").toLowerCase();
    if (!text) return;
    const place = all.findIndex((i) => (/^\d+$/.test(text) ? queries.item[i] === Number(text) : said(i).includes(text)));
    e.target.setAttribute("aria-invalid", String(place < 0));
    if (place >= 0) { page = Math.floor(place / shown); show(); }
  } });

  const suspects = unpack(data.suspects), own = unpack(data.self), strip = element("ol", { class: "suspects" });
  suspects.forEach((i, c) => strip.append(element("li", {}, sample(train, i, 44),
    element("span", { class: "about" }, element("span", { class: "what", text: words(train, i, "sample") }),
      element("span", { class: "value", text: `${number(own[c])} nats², ${number(own[c] / data.self_median, 2)} × the median` })))));
  root.append(
    element("div", { class: "toolbar" },
      element("label", {}, "rank by ", choice({ raw: "influence", normalised: "normalised influence" }, (v) => { way = v; })),
      element("label", {}, "order ", choice({ order: "as given", reliability: "reliability", strongest: "strongest help" }, (v) => { sorting = v; })),
      element("label", {}, "find ", wanted), back, on, where),
    cards,
    element("details", { class: "more", open: true }, element("summary", { text: `Suspects: the ${suspects.length} samples of largest self-influence` }), strip));
  show();
};
