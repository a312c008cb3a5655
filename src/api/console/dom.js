// Building and finding elements. Text only ever enters the page as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id; the page is broken without it, so its absence is an error. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

/** A new element. Properties that the element knows are set as such, the others (`data-…`, `aria-…`) as attributes. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "on") Object.entries(value).forEach(([type, listener]) => made.addEventListener(type, listener));
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A new SVG element with attributes. */
export function svgEl(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The text, cut to `max` characters with an ellipsis. */
export function cut(text, max) {
  return text.length > max ? `${text.slice(0, max - 1).trimEnd()}…` : text;
}

/** Moves the focus to an element that is no control, such as a heading, and brings it into view. */
export function focusOn(element) {
  if (element.tabIndex < 0) element.tabIndex = -1;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}
