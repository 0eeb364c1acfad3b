"use strict";
// Buttons that save a plot: as SVG or PNG in the colors of the page, and its numbers as CSV.
(() => {
  const numbers = JSON.parse(document.getElementById("data").textContent).numbers;
  const PROPERTIES = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity",
    "font-family", "font-size", "font-weight", "text-anchor", "paint-order"];
  const SCALE = 3, LINE = 18, FROM = 12;  // of a line of words, and where it begins
  const { draw } = elements;
  const color = (element, name) => getComputedStyle(element)[name];
  function save(name, blob) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  // The title above and the legend below, which the page has beside the drawing.
  function words(figure, box) {
    const style = getComputedStyle(figure), ruler = document.createElement("canvas").getContext("2d");
    ruler.font = `12px ${style.fontFamily}`;
    const font = { "font-family": style.fontFamily, fill: style.color };
    const drawn = [draw("text", { ...font, x: FROM, y: -6, "font-size": 14, "font-weight": 600 }, figure.querySelector("h3").textContent)];
    let x = FROM, line = 0;
    for (const entry of figure.querySelectorAll(".legend > span")) {
      const text = entry.textContent.trim(), width = 20 + ruler.measureText(text).width;
      if (x > FROM && x + width > box.width) [x, line] = [FROM, line + 1];
      const y = box.height + LINE * line;
      drawn.push(draw("rect", { x, y: y + 4, width: 14, height: 4, rx: 2, fill: color(entry.querySelector(".swatch"), "backgroundColor") }),
        draw("text", { ...font, x: x + 20, y: y + 10, "font-size": 12 }, text));
      x += width + 14;
    }
    return { drawn, below: x > FROM ? LINE * (line + 1) : 0 };
  }
  // A copy that needs no style sheet.
  function alone(figure) {
    const svg = figure.querySelector("svg"), copy = svg.cloneNode(true), box = svg.viewBox.baseVal;
    const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((element, at) => PROPERTIES.forEach((name) => to[at].setAttribute(name, getComputedStyle(element)[name])));
    const { drawn, below } = words(figure, box), above = LINE + 6, height = box.height + above + below;
    copy.prepend(draw("rect", { y: -above, width: box.width, height, fill: color(figure, "backgroundColor") }));
    copy.append(...drawn);
    for (const [name, value] of Object.entries({ xmlns: svg.namespaceURI, viewBox: `0 ${-above} ${box.width} ${height}`, width: box.width, height })) copy.setAttribute(name, value);
    return { text: new XMLSerializer().serializeToString(copy), width: box.width, height };
  }
  const cell = (value) => /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? "");
  const csv = (rows) => rows.map((row) => row.map(cell).join(",") + "\n").join("");
  function png(figure, name) {
    const drawing = alone(figure), image = new Image();
    image.addEventListener("load", () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: SCALE * drawing.width, height: SCALE * drawing.height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, blob));
    });
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing.text)}`;
  }
  document.querySelectorAll("figure.plot[data-numbers]").forEach((figure) => {
    const title = figure.querySelector("h3").textContent, stem = title.toLowerCase().replaceAll("∞", "inf").replace(/[^\p{L}\d]+/gu, "-");
    const kinds = {
      SVG: () => save(`${stem}.svg`, new Blob([alone(figure).text], { type: "image/svg+xml" })),
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
