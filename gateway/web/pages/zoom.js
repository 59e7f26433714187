/**
 * Zoom and pan a picture with wheel, pinch, double tap, drag and keys; swipe to the next one.
 */

const LARGEST = 8;
const DOUBLE_TAP = 2.5;
const STEP = 1.5;
/** A swipe, CSS pixels. */
const SWIPE_PX = 60;
/** Two taps within this time and distance are a double tap. */
const TAP_MS = 320;
const TAP_PX = 24;

/** @typedef {{x: number, y: number}} Point CSS pixels from the middle of the surface */

export class Zoom {
  /**
   * @param {HTMLElement} surface receives the gestures
   * @param {HTMLElement} picture is moved
   * @param {object} handlers
   * @param {(step: 1 | -1) => void} handlers.onSwipe sideways
   * @param {() => void} handlers.onPullDown
   * @param {(scale: number) => void} handlers.onScale
   */
  constructor(surface, picture, handlers) {
    this.#surface = surface;
    this.#picture = picture;
    this.#handlers = handlers;
    surface.addEventListener("wheel", (event) => this.#wheeled(event), { passive: false });
    surface.addEventListener("pointerdown", (event) => this.#down(event));
    surface.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"]) {
      surface.addEventListener(type, (event) => this.#up(/** @type {PointerEvent} */ (event)));
    }
  }

  #surface;
  #picture;
  #handlers;
  scale = 1;
  /** @type {Point} */
  #shift = { x: 0, y: 0 };
  /** @type {Map<number, Point>} */
  #pointers = new Map();
  /** @type {Point} */
  #from = { x: 0, y: 0 };
  #moved = false;
  #pinched = false;
  #tapAt = 0;
  /** @type {Point} */
  #tap = { x: 0, y: 0 };

  reset() {
    this.#set(1, { x: 0, y: 0 });
  }

  /** @param {1 | -1} direction */
  step(direction) {
    this.#zoomTo(direction === 1 ? this.scale * STEP : this.scale / STEP, { x: 0, y: 0 });
  }

  /**
   * @param {number} scale
   * @param {Point} at stays where it is
   */
  #zoomTo(scale, at) {
    const to = Math.min(LARGEST, Math.max(1, scale));
    const factor = to / this.scale;
    const { x, y } = this.#shift;
    this.#set(to, { x: at.x - (at.x - x) * factor, y: at.y - (at.y - y) * factor });
  }

  /**
   * @param {number} scale
   * @param {Point} shift
   */
  #set(scale, { x, y }) {
    const { clientWidth, clientHeight } = this.#surface;
    const [across, down] = [(clientWidth * (scale - 1)) / 2, (clientHeight * (scale - 1)) / 2];
    this.#shift = {
      x: Math.min(across, Math.max(-across, x)),
      y: Math.min(down, Math.max(-down, y)),
    };
    this.scale = scale;
    const { style } = this.#picture;
    style.transform =
      scale === 1 ? "" : `translate(${this.#shift.x}px, ${this.#shift.y}px) scale(${scale})`;
    this.#surface.classList.toggle("zoomed", scale > 1);
    this.#handlers.onScale(scale);
  }

  /** @param {MouseEvent} event */
  #point({ clientX, clientY }) {
    const { left, top, width, height } = this.#surface.getBoundingClientRect();
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  }

  /** @param {WheelEvent} event */
  #wheeled(event) {
    event.preventDefault();
    // A wheel reports lines or pixels, a touchpad's pinch a Ctrl key.
    const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
    const speed = event.ctrlKey ? 0.01 : 0.002;
    this.#zoomTo(this.scale * Math.exp(-pixels * speed), this.#point(event));
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0 || /** @type {Element} */ (event.target).closest("button, a")) return;
    this.#surface.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#point(event));
    this.#from = this.#point(event);
    this.#moved = false;
    if (this.#pointers.size === 1) this.#pinched = false;
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    if (Math.hypot(now.x - this.#from.x, now.y - this.#from.y) > 8) this.#moved = true;
    if (other) {
      this.#pinched = true;
      const distance = (/** @type {Point} */ one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
      const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
      this.#zoomTo((this.scale * distance(now)) / distance(before), middle);
    } else if (this.scale > 1) {
      this.#set(this.scale, { x: this.#shift.x + now.x - before.x, y: this.#shift.y + now.y - before.y });
    } else if (this.#moved && !this.#pinched) {
      this.#picture.style.transform = `translateX(${now.x - this.#from.x}px)`;
    }
  }

  /** @param {PointerEvent} event */
  #up(event) {
    if (!this.#pointers.delete(event.pointerId) || this.#pointers.size > 0) return;
    const now = this.#point(event);
    const [across, down] = [now.x - this.#from.x, now.y - this.#from.y];
    if (this.scale === 1) this.#picture.style.transform = "";
    if (event.type === "pointercancel" || this.#pinched) return;
    if (!this.#moved) this.#tapped(now);
    else if (this.scale > 1) return;
    else if (Math.abs(across) > SWIPE_PX && Math.abs(across) > Math.abs(down)) {
      this.#handlers.onSwipe(across < 0 ? 1 : -1);
    } else if (down > 1.5 * SWIPE_PX) this.#handlers.onPullDown();
  }

  /** @param {Point} at */
  #tapped(at) {
    const isDouble =
      performance.now() - this.#tapAt < TAP_MS && Math.hypot(at.x - this.#tap.x, at.y - this.#tap.y) < TAP_PX;
    this.#tapAt = isDouble ? 0 : performance.now();
    this.#tap = at;
    if (isDouble) this.#zoomTo(this.scale > 1 ? 1 : DOUBLE_TAP, at);
  }
}
