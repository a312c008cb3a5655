// Moving and scaling a drawing: mouse, wheel, one and two fingers, keys.
//
// One finger moves the page up and down as everywhere (the style sheet says `touch-action: pan-y`), two fingers move and
// scale the drawing. The wheel scales while the drawing has the focus or Ctrl is held, and else scrolls the page.

const MIN_SCALE = 0.08;
const MAX_SCALE = 3;
const STEP = 40;

export class PanZoom {
  #svg;
  #world;
  #view = { x: 0, y: 0, k: 1 };
  #size = { width: 0, height: 0 };
  #pointers = new Map();
  #own = false;
  /** True when the last press moved the drawing, so that it does not count as a click on a node. */
  moved = false;

  constructor(svg, world) {
    this.#svg = svg;
    this.#world = world;
    svg.addEventListener("pointerdown", (event) => this.#down(event));
    svg.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) svg.addEventListener(type, (event) => this.#up(event));
    svg.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    svg.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#own || this.fit()).observe(svg);
  }

  /** Tells the size of the drawing. It is fitted into view until the person moves it. */
  resize(width, height) {
    this.#size = { width, height };
    if (!this.#own) this.fit();
  }

  /** Shows the whole drawing, and keeps doing so as it grows. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    if (!width || !height || !this.#size.width) return;
    this.#own = false;
    const k = Math.max(MIN_SCALE, Math.min(1.25, (width - 32) / this.#size.width, (height - 32) / this.#size.height));
    this.#set({ x: (width - this.#size.width * k) / 2, y: (height - this.#size.height * k) / 2, k });
  }

  /** Scales around the middle. */
  zoom(factor) {
    this.#zoomAt(factor, this.#svg.clientWidth / 2, this.#svg.clientHeight / 2);
  }

  /** Brings a box of the drawing to the middle if it is out of view or too small to read. */
  reveal(box) {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    const k = Math.max(this.#view.k, 0.6);
    const left = this.#view.x + box.x * this.#view.k;
    const top = this.#view.y + box.y * this.#view.k;
    const inside = left >= 0 && top >= 0 && left + box.w * k <= width && top + box.h * k <= height;
    if (inside && k === this.#view.k) return;
    this.#own = true;
    this.#set({ x: width / 2 - (box.x + box.w / 2) * k, y: height / 2 - (box.y + box.h / 2) * k, k });
  }

  #set(view) {
    this.#view = view;
    this.#world.setAttribute("transform", `translate(${view.x.toFixed(1)} ${view.y.toFixed(1)}) scale(${view.k.toFixed(4)})`);
  }

  #pan(dx, dy) {
    this.#own = true;
    this.#set({ ...this.#view, x: this.#view.x + dx, y: this.#view.y + dy });
  }

  #zoomAt(factor, x, y) {
    const k = Math.max(MIN_SCALE, Math.min(MAX_SCALE, this.#view.k * factor));
    const ratio = k / this.#view.k;
    this.#own = true;
    this.#set({ x: x - (x - this.#view.x) * ratio, y: y - (y - this.#view.y) * ratio, k });
  }

  #down(event) {
    if (event.button !== 0) return;
    if (this.#pointers.size === 0) this.moved = false;
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, startX: event.clientX, startY: event.clientY });
  }

  #move(event) {
    const last = this.#pointers.get(event.pointerId);
    if (!last) return;
    const far = Math.hypot(event.clientX - last.startX, event.clientY - last.startY) > 4;
    if (!this.moved && !far && this.#pointers.size === 1) return;
    if (!this.moved) {
      this.moved = true;
      // Captured only now, so that a plain press still reaches the node under it.
      this.#svg.setPointerCapture(event.pointerId);
    }
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (this.#pointers.size === 1) {
      this.#pan(dx, dy);
    } else {
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(last.x - other.x, last.y - other.y);
      const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      const frame = this.#svg.getBoundingClientRect();
      this.#pan(dx / 2, dy / 2);
      if (before > 0) {
        this.#zoomAt(after / before, (event.clientX + other.x) / 2 - frame.left, (event.clientY + other.y) / 2 - frame.top);
      }
    }
    Object.assign(last, { x: event.clientX, y: event.clientY });
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== this.#svg) return;
    event.preventDefault();
    const frame = this.#svg.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.#zoomAt(Math.exp(-event.deltaY * lines * 0.002), event.clientX - frame.left, event.clientY - frame.top);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? STEP * 4 : STEP;
    const act = {
      ArrowLeft: () => this.#pan(step, 0),
      ArrowRight: () => this.#pan(-step, 0),
      ArrowUp: () => this.#pan(0, step),
      ArrowDown: () => this.#pan(0, -step),
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      0: () => this.fit(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
}
