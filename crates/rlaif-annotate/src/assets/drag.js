// Dragging answers with a mouse, a pen or a finger. `drop(place, target)` is told where one falls:
// `{ insert: row }` for a row of its own before that row, `{ join: row }` for a tie with it.

const THRESHOLD = 6; // Pixels before a press is a drag.
const EDGE = 0.28; // Share of a row's height, above and below, that means a row of its own.

export function draggable(list, drop) {
  let held = null;

  const rows = () => [...list.children];
  const unmark = () => rows().forEach((row) => row.removeAttribute("data-drop"));

  function target(y) {
    const all = rows();
    for (const [index, row] of all.entries()) {
      const { top, height, bottom } = row.getBoundingClientRect();
      if (y < top + EDGE * height) return { insert: index };
      if (y < bottom - EDGE * height) return { join: index };
    }
    return { insert: all.length };
  }

  function mark({ insert, join }) {
    unmark();
    const all = rows();
    if (join !== undefined) all[join].dataset.drop = "tie";
    else if (insert < all.length) all[insert].dataset.drop = "before";
    else all[all.length - 1].dataset.drop = "after";
  }

  function end() {
    if (!held) return;
    held.card.style.transform = "";
    held.card.classList.remove("dragging");
    unmark();
    held = null;
  }

  list.addEventListener("pointerdown", (event) => {
    const card = event.target.closest(".card");
    const grip = event.target.closest(".grip");
    if (!card || event.button !== 0 || event.target.closest("button")) return;
    // A finger on the text scrolls; the grip drags.
    if (event.pointerType === "touch" && !grip) return;
    event.preventDefault(); // No text is selected.
    card.focus();
    held = { card, id: event.pointerId, x: event.clientX, y: event.clientY, moving: false };
    card.setPointerCapture(event.pointerId);
  });

  list.addEventListener("pointermove", (event) => {
    if (!held || event.pointerId !== held.id) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.moving && Math.hypot(dx, dy) < THRESHOLD) return;
    held.moving = true;
    held.card.classList.add("dragging");
    held.card.style.transform = `translate(${dx}px, ${dy}px)`;
    mark(target(event.clientY));
    const edge = 48;
    const scroll = event.clientY < edge ? -10 : event.clientY > innerHeight - edge ? 10 : 0;
    if (scroll) {
      const before = scrollY;
      scrollBy(0, scroll);
      held.y -= scrollY - before;
    }
  });

  list.addEventListener("pointerup", (event) => {
    if (!held || event.pointerId !== held.id) return;
    const { card, moving } = held;
    const where = target(event.clientY);
    end();
    if (moving) drop(Number(card.dataset.place), where);
  });

  list.addEventListener("pointercancel", end);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") end();
  });
}
