// Shows the tip of the mark nearest to the pointer; the page says all that matters without it.
"use strict";
const tip = document.getElementById("tip");
const REACH = 28; // pixels from a mark at which it still answers
let lit = null;

function boxes(plot) {
  // Measured once a visit: hundreds of marks need not be measured at every move.
  const home = plot.getBoundingClientRect();
  return [...plot.querySelectorAll("[data-tip],[data-of]")].map((mark) => {
    const box = mark.getBoundingClientRect();
    return { mark, l: box.left - home.left, r: box.right - home.left, t: box.top - home.top, b: box.bottom - home.top };
  });
}

function nearest(found, x, y) {
  let best = null, least = REACH;
  for (const box of found) {
    const dx = Math.max(box.l - x, 0, x - box.r), dy = Math.max(box.t - y, 0, y - box.b);
    const centre = Math.hypot((box.l + box.r) / 2 - x, (box.t + box.b) / 2 - y) * 1e-3;
    const far = Math.hypot(dx, dy) + centre;
    if (far < least) { least = far; best = box; }
  }
  return best;
}

function hide() {
  for (const one of lit ? [lit, ...lines(lit)] : []) one.classList.remove("lit");
  lit = null;
  tip.hidden = true;
}

function lines(mark) {
  // A mark of a line lights all of it.
  const of = mark.dataset.of;
  return of === undefined ? [] : mark.closest(".plot").querySelectorAll(`[data-line="${of}"]`);
}

function show(box, home) {
  if (lit !== box.mark) {
    hide();
    lit = box.mark;
    for (const one of [lit, ...lines(lit)]) one.classList.add("lit");
    tip.textContent = lit.dataset.tip ?? lines(lit)[0].dataset.said;
  }
  tip.hidden = false;
  const x = home.left + (box.l + box.r) / 2, width = tip.offsetWidth, height = tip.offsetHeight;
  const edge = document.documentElement.clientWidth - width - 8;
  tip.style.left = Math.max(8, Math.min(x - width / 2, edge)) + "px";
  const above = home.top + box.t - height - 10;
  tip.style.top = (above > 8 ? above : home.top + box.b + 10) + "px";
}

for (const plot of document.querySelectorAll(".plot")) {
  let found = null;
  const move = (event) => {
    found ??= boxes(plot);
    const home = plot.getBoundingClientRect();
    const box = nearest(found, event.clientX - home.left, event.clientY - home.top);
    if (box) show(box, home); else hide();
  };
  plot.addEventListener("pointermove", move);
  plot.addEventListener("pointerdown", move);
  plot.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
  addEventListener("resize", () => { found = null; });
}
addEventListener("scroll", hide, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
