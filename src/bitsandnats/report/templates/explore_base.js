// What the pages to explore share: packed numbers, thumbnails, elements, colours. Nothing is fetched.
const explorers = {};

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "text") made.textContent = value;
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const kinds = { u8: Uint8Array, i8: Int8Array, u16: Uint16Array, i16: Int16Array, u32: Uint32Array, f32: Float32Array };

// {kind, data (base64, little-endian), scale} -> numbers; the lowest whole number stands for "none"
function unpack(packed) {
  const text = atob(packed.data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new kinds[packed.kind](bytes.buffer);
}

function scaled(packed) {
  const raw = unpack(packed), none = packed.kind === "i16" ? -32768 : packed.kind === "i8" ? -128 : null;
  return (i) => (raw[i] === none ? NaN : raw[i] * packed.scale);
}

function picture(sheet) {
  if (!sheet) return null;
  const image = new Image();
  image.src = sheet.url;
  return { ...sheet, image };
}

function place(sheet, i) {
  return [(i % sheet.columns) * sheet.width, Math.floor(i / sheet.columns) * sheet.height];
}

function thumbnail(sheet, i, size) {
  const factor = size / Math.max(sheet.width, sheet.height), [x, y] = place(sheet, i);
  const made = element("span", { class: "thumb", "aria-hidden": "true" });
  made.style.cssText =
    `width:${sheet.width * factor}px;height:${sheet.height * factor}px;background-image:url(${sheet.url});` +
    `background-size:${sheet.columns * sheet.width * factor}px auto;background-position:${-x * factor}px ${-y * factor}px`;
  return made;
}

// what a sample is, as far as the page knows: its image, its text, or a token among others
function sample(source, i, size) {
  if (source.marks) {
    const [before, token, after] = source.marks[i];
    return element("span", { class: "snippet" }, before, element("mark", { text: token }), after);
  }
  if (source.sheet) return thumbnail(source.sheet, i, size);
  if (source.texts && source.texts[i]) return element("span", { class: "snippet", text: source.texts[i] });
  return null;
}

function labelOf(source, i) {
  return source.labels && source.label ? source.labels[source.label[i]] : null;
}

function number(value, digits = 3) {
  if (!Number.isFinite(value)) return "—";
  const size = Math.abs(value);
  const text = value === 0 ? "0" : size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(digits))) : value.toExponential(digits - 1);
  return text.replace("-", "\u2212");
}

function signed(value, digits = 3) {
  return (value > 0 ? "+" : "") + number(value, digits);
}

function fixed(value) {
  return Number.isFinite(value) ? (value > 0 ? "+" : "") + value.toFixed(2).replace("-", "\u2212") : "—";
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const hues = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a800", "#8a5fbf"];
const shapes = ["circle", "square", "triangle", "diamond"];

function mark(context, shape, x, y, r) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - 0.87 * r, y - 0.87 * r, 1.74 * r, 1.74 * r);
  else if (shape === "triangle") {
    context.moveTo(x, y - 1.15 * r); context.lineTo(x + 1.1 * r, y + 0.8 * r); context.lineTo(x - 1.1 * r, y + 0.8 * r);
    context.closePath();
  } else {
    context.moveTo(x, y - 1.2 * r); context.lineTo(x + 1.2 * r, y); context.lineTo(x, y + 1.2 * r); context.lineTo(x - 1.2 * r, y);
    context.closePath();
  }
}

// dark blue to yellow, even in lightness: readable in grey and by colour-blind readers (viridis, five stops)
const stops = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

const scheme = matchMedia("(prefers-color-scheme: dark)");

function sequential(share) {
  const inside = Math.min(Math.max(share, 0), 1);
  const at = (scheme.matches ? 0.12 + 0.88 * inside : 0.88 * inside) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
  return `rgb(${stops[low].map((c, k) => Math.round(c + (at - low) * (stops[low + 1][k] - c))).join(",")})`;
}

// minus one: blue, zero: nothing, one: orange; as parts of red, green, blue, alpha
function diverging(share) {
  const size = Math.min(Math.abs(share), 1), colour = share < 0 ? [20, 110, 200] : [222, 105, 0];
  return [...colour, size];
}

function sharp(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = height + "px";
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

function onChange(draw) {
  addEventListener("resize", draw);
  scheme.addEventListener("change", draw);
}

function showTip(tip, stage, x, y, ...children) {
  tip.replaceChildren(...children.filter((child) => child !== null));
  tip.hidden = false;
  const left = x + 16 + tip.offsetWidth > stage.clientWidth ? Math.max(0, x - 16 - tip.offsetWidth) : x + 16;
  tip.style.left = left + "px";
  tip.style.top = Math.max(0, Math.min(y + 12, stage.clientHeight - tip.offsetHeight)) + "px";
}
