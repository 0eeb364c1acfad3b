"use strict";
// Buttons that save a plot: as SVG or PNG in the colors of the page, and its numbers as CSV.
(() => {
  const numbers = JSON.parse(document.getElementById("data").textContent).numbers;
  const PROPERTIES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity",
    "font-family", "font-size", "font-weight", "text-anchor", "paint-order"];
  const SCALE = 3;
  const color = (element, name) => getComputedStyle(element)[name];
  function save(name, blob) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  // A copy that needs no style sheet.
  function alone(figure) {
    const svg = figure.querySelector("svg"), copy = svg.cloneNode(true), box = svg.viewBox.baseVal;
    const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((element, at) => PROPERTIES.forEach((name) => to[at].setAttribute(name, getComputedStyle(element)[name])));
    const ground = document.createElementNS(svg.namespaceURI, "rect");
    for (const [name, value] of Object.entries({ width: box.width, height: box.height, fill: color(figure, "backgroundColor") })) ground.setAttribute(name, value);
    copy.prepend(ground);
    for (const [name, value] of Object.entries({ xmlns: svg.namespaceURI, width: box.width, height: box.height })) copy.setAttribute(name, value);
    return new XMLSerializer().serializeToString(copy);
  }
  const cell = (value) => /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
  const csv = (rows) => rows.map((row) => row.map(cell).join(",") + "\n").join("");
  function png(figure, name) {
    const box = figure.querySelector("svg").viewBox.baseVal, image = new Image();
    image.addEventListener("load", () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: SCALE * box.width, height: SCALE * box.height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, blob));
    });
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(alone(figure))}`;
  }
  document.querySelectorAll("figure.plot[data-numbers]").forEach((figure) => {
    const title = figure.querySelector("h3").textContent, stem = title.toLowerCase().replace(/[^\p{L}\d]+/gu, "-");
    const kinds = {
      SVG: () => save(`${stem}.svg`, new Blob([alone(figure)], { type: "image/svg+xml" })),
      PNG: () => png(figure, `${stem}.png`),
      CSV: () => save(`${stem}.csv`, new Blob([csv(numbers[figure.dataset.numbers])], { type: "text/csv" })),
    };
    const row = document.createElement("div");
    row.className = "save";
    for (const [kind, act] of Object.entries(kinds)) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: kind });
      button.setAttribute("aria-label", `Save ${title} as ${kind}`);
      button.addEventListener("click", act);
      row.append(button);
    }
    figure.append(row);
  });
})();
