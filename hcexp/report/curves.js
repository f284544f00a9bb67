"use strict";
(() => {
  const data = JSON.parse(document.getElementById("figure").textContent);
  const figure = document.getElementById("curves");
  const svg = figure.querySelector(".plot svg");
  const list = figure.querySelector(".legend ul");
  const caption = figure.querySelector(".cursor");
  const left = 58, right = 12, top = 10, bottom = 40;
  let view = "loss", cursor = null, lit = null, frame = null;
  figure.hidden = false;

  // Colour and dash both tell the rows apart; the baseline is neutral and solid.
  let order = 0;
  const rows = data.rows.map((row) => {
    const index = row.baseline ? null : order++;
    const dash = index === null ? "" : ["", "7 3", "2 2.5"][Math.floor(index / 4) % 3];
    return { ...row, shown: true, dash, colour: index === null ? "var(--baseline)" : `var(--s${index % 8})` };
  });

  function make(parent, name, attributes, text) {
    const node = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  const curve = (row) => (view === "loss" ? row.mean : row.difference);
  const shown = () => rows.filter((row) => row.shown && curve(row).length);

  function short(x) {
    for (const [unit, name] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(x) >= unit) return `${+(x / unit).toPrecision(3)}${name}`;
    return `${x}`;
  }

  function written(y, digits) {
    const text = Math.abs(y).toFixed(digits);
    if (+text === 0) return text;
    return (y < 0 ? "−" : view === "loss" ? "" : "+") + text;
  }

  function ticks(low, high, count) {
    const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
    return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  function nearest(points, x) {
    let low = 0, high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
  }

  function range(points, fallback) {
    let low = Infinity, high = -Infinity;
    for (const value of points) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low > high) [low, high] = fallback;
    if (low === high) { low -= 0.5; high += 0.5; }
    return [low, high];
  }

  function frameOf(width, height) {
    const drawn = shown();
    const [x0, x1] = range(rows.flatMap((row) => row.mean.map((p) => p[0])), [0, 1]);
    const start = x0 + 0.2 * (x1 - x0);
    const ys = drawn.flatMap((row) => [curve(row), ...(view === "loss" ? row.seeds : [])])
      .flatMap((points) => points.filter((p) => p[0] >= start).map((p) => p[1]));
    if (view === "difference") ys.push(0);
    const [low, high] = range(ys, [0, 1]);
    const pad = 0.05 * (high - low), y0 = low - pad, y1 = high + pad;
    return {
      x0, x1, y0, y1, width, height, drawn,
      x: (v) => left + ((v - x0) / (x1 - x0)) * (width - left - right),
      y: (v) => top + ((y1 - v) / (y1 - y0)) * (height - top - bottom),
      back: (px) => x0 + ((px - left) / (width - left - right)) * (x1 - x0),
    };
  }

  function draw() {
    const width = svg.parentNode.clientWidth;
    if (!width) return;
    const height = Math.round(Math.max(260, Math.min(460, width * 0.52)));
    const f = (frame = frameOf(width, height));
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    svg.replaceChildren();
    const clip = make(make(svg, "clipPath", { id: "clip" }), "rect", {
      x: left, y: top, width: width - left - right, height: height - top - bottom,
    });
    const vertical = ticks(f.y0, f.y1, 6);
    for (const value of vertical.found) {
      const y = f.y(value);
      make(svg, "line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y });
      make(svg, "text", { x: left - 8, y: y + 4, "text-anchor": "end" }, written(value, vertical.digits));
    }
    for (const value of ticks(f.x0, f.x1, width < 500 ? 4 : 8).found)
      make(svg, "text", { x: f.x(value), y: height - bottom + 18, "text-anchor": "middle" }, short(value));
    make(svg, "text", { x: width - right, y: height - 4, "text-anchor": "end" }, data.axis);
    make(svg, "line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom });
    if (view === "difference")
      make(svg, "line", { x1: left, x2: width - right, y1: f.y(0), y2: f.y(0), stroke: "var(--baseline)", "stroke-width": 1.8 });

    const lines = make(svg, "g", { "clip-path": "url(#clip)" });
    const path = (points, row, name) =>
      make(lines, "path", {
        class: `line ${name}${lit && lit !== row ? " aside" : ""}`,
        d: points.map((p, k) => `${k ? "L" : "M"}${f.x(p[0]).toFixed(1)} ${f.y(p[1]).toFixed(1)}`).join(""),
        stroke: row.colour,
        "stroke-dasharray": name ? "" : row.dash,
      });
    if (view === "loss") for (const row of f.drawn) for (const seed of row.seeds) path(seed, row, "seed");
    for (const row of f.drawn) if (row !== lit) path(curve(row), row, "");
    if (lit && f.drawn.includes(lit)) path(curve(lit), lit, "");
    make(svg, "g", { class: "pointer" });
    point();
  }

  // The legend doubles as the read-out: values at the cursor, or at the end.
  function point() {
    const f = frame, pointer = svg.querySelector(".pointer");
    pointer.replaceChildren();
    const at = cursor === null ? f.x1 : Math.min(f.x1, Math.max(f.x0, cursor));
    caption.textContent = cursor === null ? `at the end, ${short(f.x1)} ${data.axis}` : `at ${short(at)} ${data.axis}`;
    if (cursor !== null)
      make(pointer, "line", { class: "rule", x1: f.x(at), x2: f.x(at), y1: top, y2: f.height - bottom });
    for (const row of rows) {
      const points = curve(row);
      const found = points.length ? nearest(points, at) : null;
      row.read.textContent = found ? written(found[1], 3) : view === "loss" ? "–" : row.baseline ? "0.000" : "–";
      const y = found && f.y(found[1]);
      if (cursor !== null && found && row.shown && y >= top && y <= f.height - bottom)
        make(pointer, "circle", { cx: f.x(found[0]), cy: y, r: 3, fill: row.colour });
    }
  }

  for (const row of rows) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    const key = make(button, "svg", { viewBox: "0 0 30 10", "aria-hidden": "true" });
    make(key, "line", { x1: 0, x2: 30, y1: 5, y2: 5, stroke: row.colour, "stroke-width": 2.4, "stroke-dasharray": row.dash });
    const label = document.createElement("span");
    label.textContent = row.label;
    row.read = document.createElement("span");
    button.append(label, row.read);
    button.addEventListener("click", () => {
      row.shown = !row.shown;
      button.setAttribute("aria-pressed", String(row.shown));
      draw();
    });
    const light = (on) => () => { lit = on && row.shown ? row : null; draw(); };
    button.addEventListener("pointerenter", light(true));
    button.addEventListener("pointerleave", light(false));
    button.addEventListener("focus", light(true));
    button.addEventListener("blur", light(false));
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
  }

  const views = figure.querySelectorAll(".controls button");
  for (const button of views)
    button.addEventListener("click", () => {
      view = button.dataset.view;
      for (const each of views) each.setAttribute("aria-pressed", String(each === button));
      draw();
    });
  // Without a baseline curve there is no difference to draw.
  if (!rows.some((row) => row.difference.length)) figure.querySelector(".controls").hidden = true;

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    cursor = frame.back(((event.clientX - box.left) / box.width) * frame.width);
    point();
  });
  svg.addEventListener("pointerleave", () => { cursor = null; point(); });
  svg.addEventListener("keydown", (event) => {
    const span = frame.x1 - frame.x0, now = cursor === null ? frame.x1 : cursor;
    const to = { ArrowLeft: now - span / 50, ArrowRight: now + span / 50, Home: frame.x0, End: frame.x1 }[event.key];
    if (event.key === "Escape") cursor = null;
    else if (to === undefined) return;
    else cursor = Math.min(frame.x1, Math.max(frame.x0, to));
    event.preventDefault();
    point();
  });
  svg.addEventListener("blur", () => { cursor = null; point(); });
  new ResizeObserver(draw).observe(svg.parentNode);
  draw();
})();
