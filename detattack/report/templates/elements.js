"use strict";
// What the scripts of several pages share. What comes from data is set as text, never as markup.
const elements = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  // Bits of the pictures that a run folder has of an image.
  const AFTER = 1, HEAT = 2, ORIGINAL = 4, UNTOUCHED = 8;
  const byId = (id) => document.getElementById(id);
  const number = (value, digits = 3) => value == null ? "–" : Number(value.toPrecision(digits)).toString();
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "text") element.textContent = value;
      else if (value != null) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }
  function draw(tag, attributes, text = "") {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    return element;
  }
  // A file's name is a path component, also where its bytes are no text (Python's lone surrogates).
  const component = (name) => [...name].map((c) => {
    const code = c.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) return "%" + (code - 0xdc00).toString(16).toUpperCase();
    return code >= 0xd800 && code <= 0xdfff ? "%3F" : encodeURIComponent(c);
  }).join("");
  return { AFTER, HEAT, ORIGINAL, UNTOUCHED, byId, number, make, draw, component };
})();
