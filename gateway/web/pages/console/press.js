/** Whether somebody presses a button or a link: the click counts only if it is still there when they let go. */

/** @type {Promise<void> | null} */
let pressed = null;
let end = () => {};

function press() {
  pressed ??= new Promise((resolve) => {
    end = resolve;
  });
}

/** The click itself comes after the event that ends the press, so wait for the next task. */
function release() {
  setTimeout(() => {
    pressed = null;
    end();
  });
}

addEventListener("pointerdown", press, true);
addEventListener("keydown", (event) => event.key === " " && press(), true);
for (const name of ["pointerup", "pointercancel", "keyup", "dragend", "blur"]) addEventListener(name, release, true);

/** Wait until nothing is pressed. */
export async function letGo() {
  while (pressed !== null) await pressed;
}
