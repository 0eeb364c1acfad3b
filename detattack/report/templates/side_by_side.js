"use strict";
// One image under each method, side by side. What comes from data is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent), images = data.images;
  const { AFTER, HEAT, ORIGINAL, UNTOUCHED, byId, number, make, draw, component } = elements;
  const MOST_PRINTED = 40;
  const VIEWS = [["after", "attacked"], ["heat", "difference"]], SCALES = [["own", "scaled to each"], ["fixed", "× 10"]];
  const state = { at: 0, order: images.map((_, i) => i), view: "after", scale: "own", sort: "order", boxes: true, truth: false };

  // Columns: the image untouched, as the first method that has it knows it, and under each method.
  function columnsOf(image) {
    const known = image.m.findIndex((one) => one && one.p & (ORIGINAL | UNTOUCHED));
    const before = known < 0 ? [] : [{ title: "untouched", of: image.m[known], folder: data.methods[known].folder, view: "before" }];
    return [...before, ...data.methods.map(({ name, folder }, at) => ({ title: name, of: image.m[at], folder, view: state.view }))];
  }
  function picture(image, { of, folder, view }) {
    if (!of) return null;
    if (of.v) return of.v[view === "heat" && state.scale === "fixed" ? "fixed" : view === "before" && of.p & UNTOUCHED ? "after" : view] || null;
    if (data.alone != null) return null;
    const path = folder.split("/").map(component).join("/"), name = component(image.n);
    if (view === "before" && !(of.p & UNTOUCHED)) return of.p & ORIGINAL ? `${path}/thumbs/${image.i}-original.webp` : null;
    if (view === "heat") return !(of.p & HEAT) ? null : state.scale === "own" ? `${path}/thumbs/${image.i}-scaled.webp` : `${path}/heatmaps/${name}.png`;
    return of.p & AFTER ? `${path}/images/${name}.png` : null;
  }
  function boxesOf(image, { of, view }) {
    const flat = !of ? [] : view === "before" || !of.a ? of.b || [] : of.a, found = [];
    for (let i = 0; i < flat.length && flat[i + 1] > data.tau; i += 6) found.push(flat.slice(i, i + 6));
    return found;
  }
  const count = (image, column) => {
    const labels = data.about.length ? data.about : [null], found = boxesOf(image, column);
    return labels.map((label) => `${label === null ? "" : `${data.classes[label]} `}${found.filter(([one]) => label === null || one === label).length}`).join(" · ");
  };
  function overlay(image, column) {
    const svg = draw("svg", { viewBox: `0 0 ${image.w || 1} ${image.h || 1}`, "aria-hidden": "true" }), size = image.w / 30;
    const place = ([x1, y1, x2, y2]) => ({ x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) });
    if (column.view === "heat") return svg;
    const written = [];  // where names are; the strongest come first, and none is written over another
    if (state.boxes) for (const [label, score, ...box] of boxesOf(image, column)) {
      const name = `${data.classes[label] || `class ${label}`} ${score.toFixed(2)}`, color = data.colors[label] || "#888";
      const up = Math.max(size, box[1] - size * 0.3), right = box[0] > 0.8 * image.w, width = 0.6 * size * name.length;
      const from = right ? box[2] - width : box[0];
      svg.prepend(draw("rect", { ...place(box), class: "halo" }), draw("rect", { ...place(box), class: "frame", stroke: color }));
      if (written.some(([x, y, end]) => Math.abs(y - up) < size && x < from + width && from < end)) continue;
      written.push([from, up, from + width]);
      const text = draw("text", { x: right ? box[2] : box[0], y: up, class: `tag ${right ? "end" : "start"}`, "font-size": size, stroke: "#000", "stroke-opacity": 0.75, "stroke-width": size / 6, "paint-order": "stroke" }, name);
      text.style.fontSize = `${size}px`;
      svg.append(text);
    }
    if (state.truth) for (let i = 0; i < (image.z || []).length; i += 5) {
      const [label, ...box] = image.z.slice(i, i + 5), frame = draw("rect", { ...place(box), class: "truth", stroke: data.object_colors[label] });
      frame.append(draw("title", {}, data.objects[label]));
      svg.append(draw("rect", { ...place(box), class: "halo" }), frame);
    }
    return svg;
  }
  function likeliest({ of, view }) {
    const [label, share] = (of?.l || [])[view === "before" ? 0 : 1] || [];
    return label == null || view === "heat" ? "" : `${data.classes[label]} ${(100 * share).toFixed(1)}%`;
  }
  function figure(image, column) {
    const url = picture(image, column), half = make("span", { class: "half" });
    half.style.aspectRatio = `${image.w || 4} / ${image.h || 3}`;
    const gone = (text) => half.replaceChildren(make("span", { class: "gone", text }));
    if (url) {
      const img = make("img", { alt: column.title, draggable: "false" });
      img.addEventListener("error", () => gone(`The picture is missing: it lies in the folder of its ${data.each}, beside this page.`));
      img.classList.toggle("sharp", image.w <= 128);
      img.src = url;
      half.append(img, overlay(image, column));
      if (likeliest(column)) half.append(make("span", { class: "said", text: likeliest(column) }));
    } else gone(!column.of ? "Not in this run." : column.view === "heat" && column.of.p & UNTOUCHED ? "Unchanged: there is no difference." : data.alone != null && !column.of.v ? `This file holds the pictures of ${data.alone} images.` : column.of.r || "The picture is not in the run folder.");
    const said = make("figcaption", {}, make("b", {}, make("bdi", { text: column.title })));
    if (data.boxes && column.of && column.view !== "heat") said.append(` ${count(image, column)}`);
    if (column.of && column.title !== "untouched") said.append(make("div", { class: "soft", text: facts(column) }));
    return make("figure", {}, half, said);
  }
  function facts({ of, view }) {
    const parts = [data.said[of.s]];
    if (of.q) parts.push(`L2 ${number(of.q[1])}`, `L∞ ${number(255 * of.q[2])}/255`, of.q[3] == null ? "" : `${of.q[3].toFixed(1)} dB`);
    if (of.q && !data.spends && of.k >= 0) parts.push(`K ${of.k}`);
    if (view === "heat" && of.y) parts.push(`L2 over channels × ${state.scale === "own" ? of.y : 10}`);
    return parts.filter(Boolean).join(" · ");
  }

  // What is shown, and where the address keeps it.
  const apart = (image) => {
    const known = image.m.flatMap((one) => one?.q ? [one.q[1]] : []);
    return known.length ? Math.max(...known) - Math.min(...known) : -1;
  };
  const keys = { order: (image, at) => at, name: (image) => image.n.toLowerCase(), apart: (image) => -apart(image) };
  let started = false;
  function show() {
    const image = images[state.order[state.at]];
    byId("side").replaceChildren(...columnsOf(image).map((column) => figure(image, column)));
    byId("place").textContent = `${state.at + 1} / ${images.length}`;
    byId("image").value = String(state.at);
    byId("scale-field").hidden = state.view !== "heat";
    byId("previous").disabled = state.at === 0;
    byId("next").disabled = state.at === images.length - 1;
    if (!started) return;
    const now = { image: image.i, show: state.view, scale: state.scale, sort: state.sort, boxes: Number(state.boxes), annotated: Number(state.truth) };
    const usual = { show: "after", scale: "own", sort: "order", boxes: 1, annotated: 0 };
    history.replaceState(null, "", `#${new URLSearchParams(Object.entries(now).filter(([key, value]) => value !== usual[key]))}`);
  }
  function sort() {
    const value = images.map(keys[state.sort]), current = state.order[state.at];
    state.order.sort((a, b) => (value[a] < value[b] ? -1 : value[a] > value[b] ? 1 : 0) || a - b);
    state.at = started && state.sort === "apart" ? 0 : state.order.indexOf(current);
    byId("image").replaceChildren(...state.order.map((i, at) => make("option", { value: at, text: images[i].n })));
  }
  function step(by) {
    const at = state.at + by;
    if (at >= 0 && at < images.length) { state.at = at; show(); }
  }
  function segments(id, choices, key) {
    for (const [value, text] of choices) {
      const input = make("input", { type: "radio", name: id, value });
      input.addEventListener("change", () => { state[key] = value; show(); });
      byId(id).append(make("label", {}, input, make("span", { text })));
    }
  }
  segments("views", VIEWS, "view");
  segments("scales", SCALES, "scale");
  for (const [id, key] of [["boxes", "boxes"], ["truth", "truth"]]) byId(id).addEventListener("change", (e) => { state[key] = e.target.checked; show(); });
  byId("box-field").hidden = !data.boxes;
  byId("truth-toggle").hidden = !images.some((image) => image.z);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("image").addEventListener("change", (e) => { state.at = Number(e.target.value); show(); });
  byId("sort").addEventListener("change", (e) => { state.sort = e.target.value; sort(); show(); });
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, [role=radiogroup], .scroll")) return;
    event.preventDefault();
    step(by);
  });
  function recall() {
    const told = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    const chosen = (key, choices, usual) => choices.includes(told.get(key)) ? told.get(key) : usual;
    started = false;
    Object.assign(state, { view: chosen("show", ["after", "heat"], "after"), scale: chosen("scale", ["own", "fixed"], "own"), sort: chosen("sort", Object.keys(keys), "order"),
      boxes: told.get("boxes") !== "0", truth: told.get("annotated") === "1" });
    byId("views").querySelector(`input[value="${state.view}"]`).checked = true;
    byId("scales").querySelector(`input[value="${state.scale}"]`).checked = true;
    byId("boxes").checked = state.boxes;
    byId("truth").checked = state.truth;
    byId("sort").value = state.sort;
    sort();
    state.at = Math.max(0, state.order.findIndex((i) => String(images[i].i) === told.get("image")));
    show();
    started = true;
  }
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) recall(); });
  // Long before it is printed: pictures would come too late.
  window.addEventListener("load", () => byId("printed").replaceChildren(...state.order.slice(0, MOST_PRINTED).map((i) => {
    const pictures = make("div", { class: "side-by-side" }, ...columnsOf(images[i]).map((column) => figure(images[i], column)));
    return make("div", { class: "print" }, make("p", { text: images[i].n }), pictures);
  })));
  recall();
})();
