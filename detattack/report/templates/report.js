"use strict";
// The gallery and the viewer. Everything that comes from data is set as text, never as markup. Only the cards near
// the window exist, so that a run of thousands of images stays light.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const images = JSON.parse(document.getElementById("images").textContent), statuses = data.statuses;
  const { AFTER, HEAT, ORIGINAL, UNTOUCHED, byId, number, make, draw, component } = elements;

  const has = (image, bit) => (image.p & bit) !== 0;
  function picture(image, view, small) {
    if (data.alone != null) return image.v?.[view === "heat" && state.scale === "fixed" ? "fixed" : view === "before" && has(image, UNTOUCHED) ? "after" : view] || null;
    if (view === "heat" && state.scale === "fixed") return has(image, HEAT) ? `heatmaps/${component(image.n)}.png` : null;
    if (view === "heat") return has(image, HEAT) ? `thumbs/${image.i}-${small ? "heat" : "scaled"}.webp` : null;
    const after = small ? `thumbs/${image.i}-after.webp` : `images/${component(image.n)}.png`;
    if (view === "after" || has(image, UNTOUCHED)) return has(image, AFTER) ? after : null;
    return !has(image, ORIGINAL) ? null : small ? `thumbs/${image.i}-before.webp` : `thumbs/${image.i}-original.webp`;
  }
  function whyMissing(image, view) {
    if (image.r && statuses[image.s] === "error") return image.r;
    if (!has(image, AFTER)) return "The picture is not in the run folder.";
    if (data.alone != null && !image.v) return `This file holds the pictures of ${data.alone} images; the run folder has all.`;
    if (view === "heat") return has(image, UNTOUCHED) ? "Unchanged: there is no difference." : "The heatmap is not in the run folder.";
    return "The original is not at its source any more, so that only the adversarial image can be shown.";
  }

  const notLoaded = (url) => data.alone != null ? "The picture cannot be shown." :
    `${decodeURIComponent(url)} is missing: the pictures lie beside this page in its run folder. A page with its pictures inside: detattack report --standalone.`;

  // Boxes: label, score, x1, y1, x2, y2 a detection, the strongest first.
  function* detections(image, view, tau) {
    const flat = (view === "before" || !image.a ? image.b : image.a) || [];
    for (let i = 0; i < flat.length && flat[i + 1] > tau; i += 6) yield flat.slice(i, i + 6);
  }
  function drawBoxes(svg, image, view, scale) {
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${image.w || 1} ${image.h || 1}`);
    const found = state.boxes && view !== "heat" ? [...detections(image, view, state.tau)] : [];
    const placed = [], tags = [];
    for (const [label, score, x1, y1, x2, y2] of found) {
      const box = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
      const group = draw("g", {});
      group.append(draw("rect", { ...box, class: "halo" }), draw("rect", { ...box, class: "frame", stroke: data.colors[label] || "#888" }));
      svg.prepend(group);
      if (scale) {
        const tag = drawTag(image, data.classes[label] || `class ${label}`, score, data.colors[label] || "#888", [x1, y1, x2, y2], placed, scale);
        if (tag) tags.push(tag);
      }
    }
    if (state.boxes && image.x) {
      const [x1, y1, x2, y2] = image.x, box = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      svg.append(draw("rect", { ...box, class: "halo" }), draw("rect", { ...box, class: "asked" }));
    }
    if (state.truth && view !== "heat") for (const [label, x1, y1, x2, y2] of objects(image)) {
      const box = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
      const frame = draw("rect", { ...box, class: "truth", stroke: data.object_colors[label] });
      frame.append(draw("title", {}));
      frame.firstChild.textContent = data.objects[label];
      svg.append(draw("rect", { ...box, class: "halo" }), frame);
    }
    svg.append(...tags);
  }
  // Annotated objects: class, x1, y1, x2, y2 each.
  function* objects(image) {
    for (let i = 0; i < (image.z || []).length; i += 5) yield image.z.slice(i, i + 5);
  }
  // What became of the detections that the goal is about: "car 2 → 0".
  function change(image) {
    if (!image.a) return "";
    const count = (view, label) => [...detections(image, view, state.tau)].filter(([one]) => label === null || one === label).length;
    const one = (label) => `${label === null ? "" : `${data.classes[label]} `}${count("before", label)} → ${count("after", label)}`;
    return (data.about?.length ? data.about : [null]).map(one).join(" · ");
  }
  const ruler = document.createElement("canvas").getContext("2d");
  function drawTag(image, name, score, color, [x1, y1, x2, y2], placed, scale) {
    const size = 12 / scale, pad = 4 / scale, high = 17 / scale;
    const text = `${name.length > 24 ? name.slice(0, 23) + "…" : name} ${score.toFixed(2)}`;
    ruler.font = "550 12px system-ui, sans-serif";
    const wide = ruler.measureText(text).width / scale + 2 * pad;
    const free = (x, y) => x >= 0 && y >= 0 && x + wide <= image.w && y + high <= image.h &&
      !placed.some((p) => x < p.x + p.w && p.x < x + wide && y < p.y + high && p.y < y + high);
    const left = Math.max(0, Math.min(x1, image.w - wide)), right = Math.max(0, x2 - wide);
    const spot = [[left, y1 - high], [left, y1], [left, y2], [right, y1 - high], [right, y2 - high], [left, y2 - high]].find(([x, y]) => free(x, y));
    if (!spot) return null;
    const [x, y] = spot;
    placed.push({ x, y, w: wide });
    const group = draw("g", {});
    const light = parseInt(color.slice(1, 3), 16) * 0.3 + parseInt(color.slice(3, 5), 16) * 0.59 + parseInt(color.slice(5, 7), 16) * 0.11 > 150;
    const words = draw("text", { x: x + pad, y: y + high - 4.6 / scale, class: "tag" });
    words.style.fill = light ? "#111" : "#fff";
    words.style.fontSize = `${size}px`;
    words.textContent = text;
    group.append(draw("rect", { x, y, width: wide, height: high, rx: 3 / scale, fill: color }), words);
    return group;
  }

  // What a classifier says: label, probability, label, ...: the likeliest first, before and after.
  function likeliest(image, view) {
    const flat = (image.l || [])[view === "before" ? 0 : 1] || [];
    return flat.flatMap((label, i) => i % 2 ? [] : [[label, flat[i + 1]]]);
  }
  const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.005 ? 2 : 1)}%`;
  function said(image, view) {
    const [first] = likeliest(image, view);
    return first && view !== "heat" ? `${data.classes[first[0]]} ${percent(first[1])}` : "";
  }

  // State, and what follows from it.
  const state = {
    tau: data.tau, boxes: true, truth: false, scale: "own", view: "both", sort: "order", down: false, find: "", cls: "",
    statuses: new Set(statuses.map((_, i) => i)), order: [], focus: 0, open: -1, viewerView: "slider", slider: 50,
  };
  const classesOf = images.map((image) => {
    const seen = new Set();
    for (const view of ["before", "after"]) for (const found of [...detections(image, view, data.tau), ...likeliest(image, view).slice(0, 1)]) seen.add(found[0]);
    return seen;
  });
  const keys = {
    order: (image, at) => at,
    name: (image) => image.n.toLowerCase(),
    l2: (image) => image.q && image.q[1],
    psnr: (image) => image.q && image.q[3],
    k: (image) => image.k == null ? null : image.k < 0 ? Infinity : image.k,
    drop: (image) => image.c && Math.abs(image.c[1] - image.c[0]),
    status: (image) => image.s,
  };
  function refresh() {
    const needle = state.find.trim().toLowerCase(), cls = state.cls === "" ? null : Number(state.cls);
    const key = keys[state.sort], value = images.map(key), sign = state.down ? -1 : 1;
    state.order = images.map((_, i) => i).filter((i) =>
      state.statuses.has(images[i].s) && (cls === null || classesOf[i].has(cls)) &&
      (!needle || images[i].n.toLowerCase().includes(needle) || String(images[i].u).toLowerCase().includes(needle)));
    state.order.sort((a, b) => {
      if (value[a] == null || value[b] == null) return (value[a] == null) - (value[b] == null) || a - b;
      return sign * (value[a] < value[b] ? -1 : value[a] > value[b] ? 1 : 0) || a - b;
    });
    state.focus = Math.min(state.focus, Math.max(0, state.order.length - 1));
    const all = images.length.toLocaleString("en"), shown = state.order.length.toLocaleString("en");
    let text = state.order.length === images.length ? `${all} ${images.length === 1 ? "image" : "images"}` : `${shown} of ${all} images`;
    if (data.floor > 0.051 && state.tau < data.floor) text += `; boxes are on this page from a score of ${data.floor} on`;
    byId("count").textContent = text;
    lay(true);
    remember();
    // A shorter gallery would leave the window somewhere below it.
    if (grid.getBoundingClientRect().top < 0) { byId("gallery").scrollIntoView({ behavior: "instant" }); lay(); }
  }

  // The grid: cards are placed by hand, and only those near the window exist.
  const grid = byId("grid"), cells = new Map();
  const GAP = 14, FOOT = 54;
  const ratios = images.filter((image) => image.w && image.h).map((image) => image.h / image.w).sort((a, b) => a - b);
  const ratio = Math.min(1, Math.max(0.5, ratios[ratios.length >> 1] || 0.7));
  let columns = 1, cellWidth = 0, cellHeight = 0;
  function measure() {
    const width = grid.clientWidth;
    const both = state.view === "both";
    columns = both ? Math.max(1, Math.floor((width + GAP) / (340 + GAP))) : Math.max(width > 330 ? 2 : 1, Math.floor((width + GAP) / (228 + GAP)));
    cellWidth = (width - GAP * (columns - 1)) / columns;
    cellHeight = Math.round(cellWidth / (both ? 2 : 1) * ratio) + FOOT;
    grid.style.height = `${Math.max(0, Math.ceil(state.order.length / columns) * (cellHeight + GAP) - GAP)}px`;
  }
  function lay(anew = false) {
    measure();
    if (anew) { for (const cell of cells.values()) cell.remove(); cells.clear(); }
    const top = -grid.getBoundingClientRect().top, pitch = cellHeight + GAP;
    const first = Math.max(0, Math.floor(top / pitch) - 2) * columns;
    const last = Math.min(state.order.length, (Math.ceil((top + window.innerHeight) / pitch) + 2) * columns);
    const keep = document.activeElement && grid.contains(document.activeElement) ? state.focus : -1;
    for (const [at, cell] of cells) if ((at < first || at >= last) && at !== keep) { cell.remove(); cells.delete(at); }
    for (let at = first; at < last; at++) if (!cells.has(at)) {
      const cell = card(at);
      cells.set(at, cell);
      const next = [...cells.keys()].filter((k) => k > at).sort((a, b) => a - b)[0];
      grid.insertBefore(cell, next === undefined ? null : cells.get(next));
    }
    for (const [at, cell] of cells) {
      cell.style.width = `${cellWidth}px`;
      cell.style.height = `${cellHeight}px`;
      cell.style.transform = `translate(${(at % columns) * (cellWidth + GAP)}px, ${Math.floor(at / columns) * pitch}px)`;
    }
    const entry = cells.get(state.focus) || cells.values().next().value;
    for (const cell of cells.values()) cell.firstChild.tabIndex = cell === entry ? 0 : -1;
  }
  const statusName = (image) => data.said[image.s];
  function card(at) {
    const image = images[state.order[at]];
    const cell = make("div", { class: "cell", role: "listitem", "aria-posinset": at + 1, "aria-setsize": state.order.length });
    const shot = make("button", { type: "button", class: "shot", "data-at": at });
    const pic = make("span", { class: "pic" });
    const both = state.view === "both" && picture(image, "before", true) && !has(image, UNTOUCHED);
    pic.append(...(both ? ["before", "after"] : [state.view === "both" ? "after" : state.view]).map((view) => half(image, view, both)));
    const facts = image.q ? `${data.spends ? "" : `K ${image.k < 0 ? "–" : image.k} · `}L2 ${number(image.q[1], 3)}${image.q[3] == null ? "" : ` · ${image.q[3].toFixed(1)} dB`}` : statusName(image);
    const became = image.q ? change(image) : "";
    const name = make("span", { class: "name" }, make("i", { class: `swatch ${statuses[image.s]}` }), make("bdi", { text: image.n }), make("span", { class: "became", text: became }));
    shot.setAttribute("aria-label", [image.n, statusName(image), became, facts].filter(Boolean).join(", "));
    shot.title = image.n;
    const foot = make("span", { class: "foot" }, name, make("div", { class: "facts", text: facts }));
    shot.append(pic, foot);
    cell.append(shot);
    return cell;
  }
  // A picture of a card, or why there is none.
  function half(image, view, narrow) {
    const url = picture(image, view, true), box = make("span", { class: "half", "data-view": view });
    const gone = (text) => box.replaceChildren(make("span", { class: "gone", text }));
    if (!url) { gone(whyMissing(image, view)); return box; }
    const img = make("img", { alt: "", loading: "lazy", decoding: "async", draggable: "false" });
    img.addEventListener("error", () => gone(notLoaded(url)));
    img.src = url;
    img.classList.toggle("sharp", cellWidth / (narrow ? 2 : 1) > 3 * image.w);
    box.append(img);
    const words = said(image, view);
    if (words) box.append(make("span", { class: "said" }, make("bdi", { text: words })));
    if (image.w && image.h) { const svg = draw("svg", { "aria-hidden": "true" }); drawBoxes(svg, image, view, 0); box.append(svg); }
    return box;
  }
  function focusCard(at) {
    if (!state.order.length) return;
    state.focus = Math.max(0, Math.min(state.order.length - 1, at));
    const top = grid.getBoundingClientRect().top + window.scrollY + Math.floor(state.focus / columns) * (cellHeight + GAP);
    const head = getComputedStyle(byId("tools")).position === "sticky" ? byId("tools").offsetHeight + 66 : 66;
    if (top - window.scrollY < head) window.scrollTo({ top: top - head, behavior: "instant" });
    else if (top + cellHeight - window.scrollY > window.innerHeight - 12) window.scrollTo({ top: top + cellHeight - window.innerHeight + 12, behavior: "instant" });
    lay();
    cells.get(state.focus)?.firstChild.focus({ preventScroll: true });
    lay();
  }
  grid.addEventListener("keydown", (event) => {
    const rows = Math.max(1, Math.floor(window.innerHeight / (cellHeight + GAP)) - 1) * columns;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -rows, PageDown: rows, Home: -Infinity, End: Infinity };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    focusCard(state.focus + moves[event.key]);
  });
  grid.addEventListener("focusin", (event) => { const shot = event.target.closest(".shot"); if (shot) state.focus = Number(shot.dataset.at); });
  grid.addEventListener("click", (event) => { const shot = event.target.closest(".shot"); if (shot) open(Number(shot.dataset.at)); });
  let waiting = false;
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; lay(); }); } };
  window.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(grid);

  // Tools.
  function segments(box, name, choices, chosen, changed) {
    for (const [value, text] of choices) {
      const input = make("input", { type: "radio", name, value });
      input.checked = value === chosen;
      input.addEventListener("change", () => changed(value));
      box.append(make("label", {}, input, make("span", { text })));
    }
  }
  statuses.forEach((status, at) => {
    const count = images.filter((image) => image.s === at).length;
    if (!count) return;
    const chip = make("button", { type: "button", class: "chip", "aria-pressed": "true", "data-status": status },
      make("i", { class: `swatch ${status}` }), data.said[at], make("span", { class: "soft", text: count.toLocaleString("en") }));
    chip.addEventListener("click", () => {
      const on = !state.statuses.has(at);
      state.statuses[on ? "add" : "delete"](at);
      chip.setAttribute("aria-pressed", String(on));
      refresh();
    });
    byId("statuses").append(chip);
  });
  const used = new Set(classesOf.flatMap((seen) => [...seen]));
  [...used].sort((a, b) => data.classes[a].localeCompare(data.classes[b])).forEach((label) =>
    byId("class").append(make("option", { value: label, text: data.classes[label] })));
  const when = (id, event, change) => byId(id).addEventListener(event, () => { change(byId(id)); });
  when("find", "input", (e) => { state.find = e.value; refresh(); });
  when("class", "change", (e) => { state.cls = e.value; refresh(); });
  when("sort", "change", (e) => { state.sort = e.value; refresh(); });
  when("direction", "click", (e) => {
    state.down = !state.down;
    e.setAttribute("aria-pressed", String(state.down));
    e.textContent = state.down ? "↓" : "↑";
    refresh();
  });
  const VIEWS = [["both", "both"], ["before", "before"], ["after", "after"], ["heat", "difference"]];
  segments(byId("views"), "view", VIEWS, state.view, (view) => { state.view = view; refresh(); });
  function setBoxes(on) {
    state.boxes = on;
    byId("boxes").checked = byId("v-boxes").checked = on;
    redraw();
  }
  // A threshold: in hundredths, and finer where the run's own is.
  const hundredths = (tau) => Number(tau.toFixed(2)) === tau ? tau.toFixed(2) : String(Number(tau.toFixed(6)));
  function setTau(tau) {
    state.tau = tau;
    for (const id of ["tau", "v-tau"]) { byId(id).min = String(Math.floor(data.floor * 100) / 100); byId(id).value = String(tau); byId(`${id}-out`).textContent = hundredths(tau); }
    redraw();
  }
  function setTruth(on) {
    state.truth = on;
    byId("truth").checked = byId("v-truth").checked = on;
    redraw();
  }
  function setScale(scale) {
    state.scale = scale;
    byId("v-scales").querySelector(`input[value="${scale}"]`).checked = true;
    lay(true);
    redraw();
  }
  function redraw() {
    for (const [at, cell] of cells) {
      const image = images[state.order[at]];
      for (const box of cell.querySelectorAll(".half:has(> svg)")) drawBoxes(box.querySelector("svg"), image, box.dataset.view, 0);
      cell.querySelector(".became").textContent = image.q ? change(image) : "";
    }
    if (viewer.open) show(); else remember();
  }
  for (const id of ["boxes", "v-boxes"]) when(id, "change", (e) => setBoxes(e.checked));
  for (const id of ["truth", "v-truth"]) when(id, "change", (e) => setTruth(e.checked));
  for (const id of ["truth-toggle", "v-truth-toggle"]) byId(id).hidden = !images.some((image) => image.z);
  for (const id of ["tau", "v-tau"]) when(id, "input", (e) => setTau(Number(e.value)));
  byId("tools").addEventListener("submit", (event) => event.preventDefault());

  // The viewer: before and after on top of each other, each with its own boxes, cut at the slider.
  const viewer = byId("viewer"), stage = byId("v-stage"), slider = byId("v-slider");
  const sides = { before: byId("v-before"), after: byId("v-after") };
  const MODES = [["slider", "slider"], ["before", "before"], ["after", "after"], ["heat", "difference"]];
  segments(byId("v-views"), "v-view", MODES, "slider", (view) => { state.viewerView = view; show(); });
  segments(byId("v-scales"), "v-scale", [["own", "scaled to this image"], ["fixed", "× 10"]], "own", setScale);
  function open(at) {
    state.open = at;
    if (!viewer.open) viewer.showModal();
    load();
    (slider.hidden ? byId("v-close") : slider).focus();
  }
  function step(by) {
    const at = state.open + by;
    if (at >= 0 && at < state.order.length) { state.open = at; state.focus = at; load(); }
    // What had the focus may be hidden or disabled now; without a focus in it the viewer would not hear a key.
    const active = document.activeElement;
    if (!viewer.contains(active) || active.disabled || active.hidden) (slider.hidden ? byId("v-close") : slider).focus();
  }
  function load() {
    const image = images[state.order[state.open]];
    byId("v-name").replaceChildren(make("bdi", { text: image.n }));
    byId("v-goal").textContent = `${image.g || data.goal} · ${statusName(image)}${image.r ? `: ${image.r}` : ""}`;
    byId("v-place").textContent = `${state.open + 1} / ${state.order.length}`;
    byId("v-previous").disabled = state.open === 0;
    byId("v-next").disabled = state.open === state.order.length - 1;
    byId("v-note").textContent = [...(image.o || []),
      has(image, UNTOUCHED) ? "Not attacked: before and after are the same file." : "",
      image.q && has(image, AFTER) && !has(image, ORIGINAL) ? "The original is not at its source any more: there is no picture from before." : "",
      image.m ? "Floats and the 8-bit file differ in their verdict; the picture is the file." : ""].filter(Boolean).join(" ");
    numbers(image);
    trace(image);
    show();
  }
  function show() {
    const image = images[state.order[state.open]];
    const both = picture(image, "before", false) && picture(image, "after", false) && !has(image, UNTOUCHED);
    for (const input of byId("v-views").querySelectorAll("input")) {
      input.disabled = input.value === "slider" ? !both : !picture(image, input.value, false);
    }
    let view = state.viewerView;
    const input = (name) => byId("v-views").querySelector(`input[value="${name}"]`);
    if (input(view).disabled && !input("after").disabled) view = "after";
    input(view).checked = true;
    const urls = view === "slider" ? { before: picture(image, "before", false), after: picture(image, "after", false) }
      : { before: null, after: picture(image, view, false) };
    const room = stage.getBoundingClientRect();
    const scale = Math.min(room.width / (image.w || 1), room.height / (image.h || 1));
    const wide = (image.w || 1) * scale, high = (image.h || 1) * scale;
    const left = (room.width - wide) / 2, top = (room.height - high) / 2;
    for (const [name, side] of Object.entries(sides)) {
      side.hidden = !urls[name];
      if (!urls[name]) continue;
      Object.assign(side.style, { left: `${left}px`, top: `${top}px`, width: `${wide}px`, height: `${high}px` });
      const img = side.querySelector("img");
      if (img.getAttribute("src") !== urls[name]) img.src = urls[name];
      img.hidden = false;
      img.classList.toggle("sharp", scale > 3);
      drawBoxes(side.querySelector("svg"), image, view === "slider" ? name : view, scale);
    }
    sides.after.querySelector("img").alt = view === "slider" ? "After the attack" : { before: "Before the attack", after: "After the attack", heat: `Difference, ${factor(image)}` }[view];
    const sliding = view === "slider" && both;
    for (const element of [slider, byId("v-handle"), byId("v-left"), byId("v-right")]) element.hidden = !sliding;
    Object.assign(slider.style, { left: `${left - 8}px`, top: `${top}px`, width: `${wide + 16}px`, height: `${high}px` });
    Object.assign(byId("v-handle").style, { top: `${top}px`, height: `${high}px` });
    byId("v-left").style.left = `${left + 10}px`;
    byId("v-right").style.right = `${left + 10}px`;
    for (const [id, name] of [["v-left", "before"], ["v-right", "after"]]) {
      byId(id).style.top = `${top + 10}px`;
      byId(id).textContent = [name, said(image, name)].filter(Boolean).join(": ");
    }
    byId("v-scale").hidden = view !== "heat" || !urls.after;
    byId("v-factor").textContent = factor(image);
    byId("v-missing").hidden = Boolean(urls.after);
    byId("v-missing").textContent = urls.after ? "" : whyMissing(image, view);
    place = { left, wide };
    cut();
    if (image.l) classTable(image); else foundTable(image);
    remember();
  }
  const factor = (image) => `L2 over channels × ${state.scale === "own" ? image.y : 10}`;
  for (const side of Object.values(sides)) {
    const img = side.querySelector("img");
    img.addEventListener("error", () => {
      img.hidden = true;
      byId("v-missing").hidden = false;
      byId("v-missing").textContent = notLoaded(img.getAttribute("src"));
    });
  }
  let place = { left: 0, wide: 0 };
  function cut() {
    const sliding = !slider.hidden, value = state.slider;
    sides.before.style.clipPath = sliding ? `inset(0 ${100 - value}% 0 0)` : "none";
    sides.after.style.clipPath = sliding ? `inset(0 0 0 ${value}%)` : "none";
    byId("v-handle").style.left = `${place.left + place.wide * value / 100}px`;
    slider.setAttribute("aria-valuetext", `${value}% original, ${100 - value}% adversarial`);
  }
  slider.addEventListener("input", () => { state.slider = Number(slider.value); cut(); });
  function numbers(image) {
    const rows = [["status", statusName(image)]];
    if (image.q) {
      const [l1, l2, linf, psnr, ssim, rms] = image.q, [forwards, backwards, seconds] = image.f;
      rows.push([data.spends ? "worst at" : "K", image.k < 0 ? "never" : String(image.k)], ["confidence", `${number(image.c[0], 3)} → ${number(image.c[1], 3)}`],
        ["L2", number(l2, 3)], ["L1", number(l1, 3)], ["L∞", linf == null ? "–" : `${number(linf, 3)} (${number(linf * 255, 3)}/255)`],
        ...(rms == null ? [] : [["RMS", `${number(rms, 3)} gray levels`]]),
        ["PSNR", psnr == null ? "–" : `${psnr.toFixed(1)} dB`], ["SSIM", ssim == null ? "–" : ssim.toFixed(5)]);
      rows.push(["passes", `${forwards} forward, ${backwards} backward`], ["seconds", number(seconds, 3)]);
    }
    if (image.w) rows.push(["size", `${image.w} × ${image.h}`]);
    rows.push(...(image.e || []), ["source", String(image.u)]);
    byId("v-numbers").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", {}, make("bdi", { text: value }))]));
  }
  function trace(image) {
    const box = byId("v-trace");
    box.replaceChildren();
    if (!image.t || image.t.length < 2) return;
    const W = 280, H = 130, L = 26, B = 18, T = 6, R = 8, count = image.t.length - 1;
    const x = (iteration) => L + (W - L - R) * iteration / Math.max(1, image.d), y = (value) => H - B - (H - B - T) * value;
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Confidence against iteration" });
    const words = (at, up, text, kind) => { const t = draw("text", { x: at, y: up, class: kind }); t.textContent = text; svg.append(t); };
    for (const value of [0, 0.5, 1]) { svg.append(draw("line", { x1: L, x2: W - R, y1: y(value), y2: y(value), class: "grid" })); words(L - 5, y(value) + 4, String(value), "end"); }
    if (data.tau) svg.append(draw("line", { x1: L, x2: W - R, y1: y(data.tau), y2: y(data.tau), class: "marker" }));
    words(L, H - 4, "0", "middle"); words(W - R, H - 4, String(image.d), "end");
    svg.append(draw("path", { d: "M" + image.t.map((v, i) => `${x(image.d * i / count).toFixed(1)} ${y(v / 1000).toFixed(1)}`).join("L"), class: "trace" }));
    if (image.k >= 0 && image.k <= image.d) {
      const at = image.k * count / image.d, low = Math.floor(at), high = Math.ceil(at);
      const value = image.t[low] + (image.t[high] - image.t[low]) * (at - low);
      svg.append(draw("circle", { cx: x(image.k), cy: y(value / 1000), r: 3.4, class: "dot" }));
      // The line comes from the left: from above where it fell, from below where it rose.
      const fell = image.t[0] > value, up = y(value / 1000) + (fell ? 17 : -8);
      words(Math.max(L + 40, x(image.k) - 4), Math.min(H - B - 4, Math.max(14, up)), `${data.spends ? "worst: " : "K = "}${image.k}`, "end");
    }
    box.append(make("h3", { text: "Confidence by iteration" }), svg);
  }
  function beforeAfter(title, rows) {
    const table = make("div", { class: "rows" }, ...["class", "before", "after"].map((text) => make("span", { class: "soft", text })));
    for (const [attributes, before, after] of rows) table.append(make("bdi", attributes), make("span", { text: before }), make("span", { text: after }));
    byId("v-found").replaceChildren(make("h3", { text: title }), rows.length ? table : make("p", { class: "soft", text: "none" }));
  }
  function foundTable(image) {
    const counts = new Map();
    for (const [place, view] of ["before", "after"].entries())
      for (const [label] of detections(image, view, state.tau)) counts.set(label, (counts.get(label) || [0, 0]).map((n, i) => n + (i === place ? 1 : 0)));
    const most = [...counts].sort((a, b) => b[1][0] - a[1][0]).slice(0, 14);
    beforeAfter(`Detections above ${hundredths(state.tau)}`, most.map(([label, found]) => [{ text: data.classes[label] || `class ${label}` }, ...found]));
  }
  function classTable(image) {
    const before = new Map(likeliest(image, "before")), after = new Map(likeliest(image, "after"));
    const share = (of, label) => of.has(label) ? percent(of.get(label)) : "–";
    const rows = [...new Set([...before.keys(), ...after.keys()])].map((label) =>
      [{ text: data.classes[label], title: data.classes[label] }, share(before, label), share(after, label)]);
    beforeAfter("Likeliest classes", rows);
  }
  byId("v-previous").addEventListener("click", () => step(-1));
  byId("v-next").addEventListener("click", () => step(1));
  byId("v-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => { focusCard(state.open); remember(); });
  viewer.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const next = () => step(1), previous = () => step(-1);
    const actions = { n: next, PageDown: next, p: previous, PageUp: previous, b: () => setBoxes(!state.boxes), a: () => setTruth(!state.truth) };
    // In a group of buttons and on the score arrows move as everywhere; on the slider, up and down do.
    if (!event.target.closest("[role=radiogroup], #v-tau")) Object.assign(actions, { ArrowRight: next, ArrowLeft: previous });
    const action = actions[event.key];
    if (action) { event.preventDefault(); action(); }
  });
  new ResizeObserver(() => { if (viewer.open) show(); }).observe(stage);

  // The view stands in the address, so that it can be linked and is kept over a reload.
  const CHOICES = { show: VIEWS, mode: MODES, scale: [["own"], ["fixed"]], sort: Object.keys(keys).map((key) => [key]) };
  const everyStatus = statuses.map((_, i) => i).join(".");
  const usualTau = Math.max(data.tau, data.floor);
  let started = false;
  function remember() {
    if (!started) return;
    const open = viewer.open ? images[state.order[state.open]] : null;
    const now = { image: open ? open.i : "", mode: state.viewerView, show: state.view, scale: state.scale, sort: state.sort, down: Number(state.down),
      find: state.find, class: state.cls, status: [...state.statuses].sort().join("."), above: state.tau, boxes: Number(state.boxes), annotated: Number(state.truth) };
    const usual = { image: "", mode: "slider", show: "both", scale: "own", sort: "order", down: 0, find: "", class: "", status: everyStatus, above: usualTau, boxes: 1, annotated: 0 };
    const told = new URLSearchParams(Object.entries(now).filter(([key, value]) => value !== usual[key])).toString();
    if (told || location.hash.includes("=")) history.replaceState(null, "", `#${told}`);
  }
  function recall() {
    const told = location.hash.includes("=") ? new URLSearchParams(location.hash.slice(1)) : new URLSearchParams();
    const chosen = (key, usual) => CHOICES[key].some(([value]) => value === told.get(key)) ? told.get(key) : usual;
    Object.assign(state, { view: chosen("show", "both"), viewerView: chosen("mode", "slider"), scale: chosen("scale", "own"), sort: chosen("sort", "order"),
      down: told.get("down") === "1", find: told.get("find") || "", boxes: told.get("boxes") !== "0", truth: told.get("annotated") === "1" });
    state.cls = [...byId("class").options].some((option) => option.value === told.get("class")) ? told.get("class") : "";
    state.statuses = new Set((told.get("status") ?? everyStatus).split(".").filter(Boolean).map(Number).filter((at) => at in statuses));
    const tau = told.has("above") ? Number(told.get("above")) : usualTau;
    state.tau = tau >= data.floor && tau < 1 ? tau : usualTau;
    const check = (box, value) => { byId(box).querySelector(`input[value="${value}"]`).checked = true; };
    check("views", state.view); check("v-views", state.viewerView); check("v-scales", state.scale);
    Object.entries({ sort: state.sort, find: state.find, class: state.cls }).forEach(([id, value]) => { byId(id).value = value; });
    byId("direction").setAttribute("aria-pressed", String(state.down));
    byId("direction").textContent = state.down ? "↓" : "↑";
    for (const chip of byId("statuses").children) chip.setAttribute("aria-pressed", String(state.statuses.has(statuses.indexOf(chip.dataset.status))));
    setBoxes(state.boxes); setTruth(state.truth); setTau(state.tau);
    refresh();
    const at = state.order.findIndex((i) => String(images[i].i) === told.get("image"));
    if (at >= 0) { state.focus = at; open(at); }
    started = true;
  }
  window.addEventListener("hashchange", () => { if (location.hash.includes("=")) { started = false; if (viewer.open) viewer.close(); recall(); } });

  // On paper: before and after of what is shown, all of it loaded.
  const MOST_PRINTED = 120;
  let printed = null;
  function layPrinted() {
    if (printed === state.order) return;
    printed = state.order;
    const shown = state.order.slice(0, MOST_PRINTED).map((at) => {
      const image = images[at], row = make("span", { class: "pic" }), views = has(image, UNTOUCHED) || !picture(image, "before", true) ? ["after"] : ["before", "after"];
      row.append(...views.map((view) => half(image, view, true)));
      for (const img of row.querySelectorAll("img")) { img.loading = "eager"; img.decoding = "sync"; }
      return make("div", { class: "print" }, row, make("p", { text: [image.n, statusName(image), image.q ? change(image) : ""].filter(Boolean).join(", ") }));
    });
    const more = state.order.length - shown.length;
    if (more > 0) shown.push(make("p", { text: `${more} more images are in the page.` }));
    byId("printed").replaceChildren(...shown);
  }
  window.addEventListener("load", layPrinted);  // not when it is printed: pictures would come too late
  window.addEventListener("beforeprint", layPrinted);

  // Dark and light: as the system, or as chosen here.
  const root = document.documentElement;
  const remembered = (() => { try { return localStorage.getItem("detattack-theme"); } catch { return null; } })();
  if (remembered === "light" || remembered === "dark") root.dataset.theme = remembered;
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("detattack-theme", root.dataset.theme); } catch { /* a page from disk may have no storage */ }
  });

  recall();
})();
