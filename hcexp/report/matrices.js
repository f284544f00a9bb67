"use strict";
(() => {
  const data = JSON.parse(document.getElementById("matrix-data").textContent);
  const line = document.querySelector(".matrices .weight");
  const rest = "Point at a cell for its weight.";
  line.textContent = rest;

  for (const svg of document.querySelectorAll("svg.matrix")) {
    const { rows, columns, values } = data[svg.dataset.panel];
    const title = svg.closest("details")?.querySelector("summary").textContent.split(", stream by stream")[0];
    const label = [title, svg.parentNode.querySelector("h3").firstChild.textContent.trim()].filter(Boolean).join(", ");
    const mark = document.createElementNS(svg.namespaceURI, "rect");
    mark.setAttribute("class", "cell");
    for (const side of ["width", "height"]) mark.setAttribute(side, 1);
    let cell = null;

    function show(row, column) {
      cell = [row, column];
      mark.setAttribute("x", column);
      mark.setAttribute("y", row);
      svg.append(mark);
      const weight = values[row][column].toFixed(4).replace("-", "−");
      line.textContent = `${label}: ${weight} of ${columns[column]} in ${rows[row]}`;
    }

    function hide() {
      cell = null;
      mark.remove();
      line.textContent = rest;
    }

    svg.addEventListener("pointermove", (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const row = Math.floor(at.y), column = Math.floor(at.x);
      if (row in rows && column in columns) show(row, column);
      else hide();
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (event.key === "Escape") hide();
      else if (!by) return;
      else {
        const inside = (index, length) => Math.min(length - 1, Math.max(0, index));
        const [row, column] = cell ?? [0, 0];
        show(inside(cell ? row + by[0] : row, rows.length), inside(cell ? column + by[1] : column, columns.length));
      }
      event.preventDefault();
    });
  }
})();
