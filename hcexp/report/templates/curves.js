"use strict";
(() => {
  const data = JSON.parse(document.getElementById("figure").textContent);
  const figure = document.getElementById("curves");
  const svg = figure.querySelector(".plot svg");
  const list = figure.querySelector(".legend ul");
  const caption = figure.querySelector(".cursor");
  const left = 58, right = 12, top = 10, bottom = 40, few = 30;
  const controls = figure.querySelector(".controls");
  const views = controls.querySelectorAll("button");
  const choice = controls.querySelector("select");
  let metric = data.metrics[0], view = "value", cursor = null, lit = null, frame = null;
  figure.hidden = false;

  // Colour and dash both tell the rows apart; the baseline is neutral and solid.
  let order = 0;
  const rows = data.rows.map((row, at) => {
    const index = row.baseline ? null : order++;
    const dash = index === null ? "" : ["", "7 3", "2 2.5"][Math.floor(index / 4) % 3];
    return { ...row, at, shown: true, dash, colour: index === null ? "var(--baseline)" : `var(--s${index % 8})` };
  });

  function make(parent, name, attributes, text) {
    const node = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  }

  const curves = (row) => metric.rows[row.at];
  const curve = (row) => (view === "value" ? curves(row).mean : curves(row).difference);
  const shown = () => rows.filter((row) => row.shown && curve(row).length);

  function short(x) {
    for (const [unit, name] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(x) >= unit) return `${+(x / unit).toPrecision(3)}${name}`;
    return `${x}`;
  }

  function written(y, digits) {
    const text = Math.abs(y).toFixed(digits);
    if (+text === 0) return text;
    return (y < 0 ? "−" : view === "value" ? "" : "+") + text;
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
    const [x0, x1] = range(rows.flatMap((row) => curves(row).mean.map((p) => p[0])), [0, 1]);
    const start = x0 + metric.skip * (x1 - x0);
    const ys = drawn.flatMap((row) => [curve(row), ...(view === "value" ? curves(row).seeds : [])])
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
      x: left - 3, y: top, width: width - left - right + 6, height: height - top - bottom,
    });
    const vertical = ticks(f.y0, f.y1, 6);
    for (const value of vertical.found) {
      const y = f.y(value);
      make(svg, "line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y });
      make(svg, "text", { x: left - 8, y: y + 4, "text-anchor": "end" }, written(value, vertical.digits));
    }
    for (const value of ticks(f.x0, f.x1, width < 500 ? 4 : 8).found)
      make(svg, "text", { x: f.x(value), y: height - bottom + 18, "text-anchor": "middle" }, short(value));
    make(svg, "text", { x: width - right, y: height - 4, "text-anchor": "end" }, metric.axis);
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
    if (view === "value") for (const row of f.drawn) for (const seed of curves(row).seeds) path(seed, row, "seed");
    for (const row of f.drawn) if (row !== lit) path(curve(row), row, "");
    if (lit && f.drawn.includes(lit)) path(curve(lit), lit, "");
    // Where there are few points, the straight lines between them are no measurements.
    for (const row of f.drawn)
      if (curve(row).length <= few)
        for (const p of curve(row))
          make(lines, "circle", { class: lit && lit !== row ? "aside" : "", cx: f.x(p[0]), cy: f.y(p[1]), r: 2.4, fill: row.colour });
    make(svg, "g", { class: "pointer" });
    point();
  }

  // The legend doubles as the read-out: values at the cursor, or at the end.
  function point() {
    const f = frame, pointer = svg.querySelector(".pointer");
    pointer.replaceChildren();
    const at = cursor === null ? f.x1 : Math.min(f.x1, Math.max(f.x0, cursor));
    caption.textContent = cursor === null ? `at the end, ${short(f.x1)} ${metric.axis}` : `at ${short(at)} ${metric.axis}`;
    if (cursor !== null)
      make(pointer, "line", { class: "rule", x1: f.x(at), x2: f.x(at), y1: top, y2: f.height - bottom });
    for (const row of rows) {
      const points = curve(row);
      const found = points.length ? nearest(points, at) : null;
      row.read.textContent = found ? written(found[1], metric.digits)
        : view === "difference" && row.baseline && curves(row).mean.length ? written(0, metric.digits) : "–";
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

  function look(at) {
    view = at;
    for (const each of views) each.setAttribute("aria-pressed", String(each.dataset.view === view));
    draw();
  }

  function choose(index) {
    metric = data.metrics[index];
    figure.querySelector(".what").textContent = metric.caption;
    figure.querySelector(".against").textContent = metric.axis;
    figure.querySelector(".skip").hidden = !metric.skip;
    svg.setAttribute("aria-label", `${metric.caption}, of every row; arrow keys move the cursor, and the list beside it gives the values`);
    views[0].textContent = metric.unit;
    // Without a baseline curve there is no difference to draw.
    const compared = metric.rows.some((row) => row.difference.length);
    for (const each of views) each.hidden = !compared;
    look(compared ? view : "value");
  }

  for (const button of views) button.addEventListener("click", () => look(button.dataset.view));
  choice.addEventListener("change", () => choose(choice.value));

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
  choose(choice.value); // a browser may keep the choice when it reloads the page
})();
