// The page: asks for tasks, takes orders by keys and by dragging, lays verdicts down.
// What comes from the server is text, and becomes text alone: nothing is parsed as markup.

import { draggable } from "/drag.js";
import { Order } from "/order.js";
import { Player } from "/player.js";

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const POLL_MS = 2000;

const player = new Player();
let annotator = localStorage.getItem("annotator") ?? "";
let task = null; // What the server gave.
let order = null;
let cards = []; // By place.
let current = 0; // The chosen answer's place.
let touched = false; // Whether anything was moved.
let asked = false; // Whether submitting the order as shuffled was questioned.
let since = 0; // When the task was shown.
let busy = false;

// ---- The server

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(path, options);
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { error: text.trim() || response.statusText };
  }
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  trouble("");
  return answer;
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

// One request of the user's at a time; what fails is said and nothing is lost.
async function doing(work) {
  if (busy || !annotator) return;
  busy = true;
  try {
    await work();
  } catch (error) {
    trouble(`That did not work: ${error.message}. What you submitted before is stored.`);
  } finally {
    busy = false;
  }
}

const about = () => `annotator=${encodeURIComponent(annotator)}`;

async function next() {
  const { task, progress } = await ask(`/api/task?${about()}`);
  tell(progress);
  show(task);
}

async function poll() {
  if (!annotator || busy) return;
  const shown = task;
  try {
    const holding = shown ? `&task=${encodeURIComponent(shown.id)}` : "";
    const { progress } = await ask(`/api/state?${about()}${holding}`);
    tell(progress);
    if (!task && progress.left) await doing(next);
  } catch (error) {
    trouble(`The server does not answer (${error.message}). What you submitted is stored; this page goes on when it is back.`);
  }
}

function tell({ done, left, wanting }) {
  $("progress").max = Math.max(1, done + left);
  $("progress").value = done;
  $("progress-text").textContent = `${done} done · ${left} left`;
  $("waiting-text").textContent = left
    ? "Others are at the last tasks. One that they leave comes to you."
    : `${done ? "Thank you. " : ""}New tasks appear here by themselves${wanting ? "; others still rank what is open" : ""}.`;
}

const submit = () =>
  doing(async () => {
    if (!task) return;
    if (!touched && !asked && task.candidates.length > 1) {
      asked = true;
      toast("This is the order in which they were shuffled. Submit again if you mean it.");
      return;
    }
    await verdict({ blocks: order.rows });
  });

const skip = () => doing(async () => task && (await verdict({ skip: "" }), toast("Skipped. u takes it back.")));

async function verdict(answer) {
  const seconds = (performance.now() - since) / 1000;
  const { stored } = await ask("/api/verdicts", { annotator, task: task.id, seconds, ...answer });
  toast(stored ? "Stored. u takes it back." : "You had ranked this one already; that order stays.");
  sessionStorage.removeItem("draft");
  await next();
}

const undo = () =>
  doing(async () => {
    const answer = await ask("/api/undo", { annotator });
    tell(answer.progress);
    if (answer.undo === "done") {
      show(answer.task, answer.blocks);
      toast("Taken back. Rank it again.");
    } else {
      toast(answer.undo === "taken" ? "Too late: the run has gone on with it." : "There is nothing to take back.");
    }
  });

// ---- What is shown

function show(given, rows) {
  const same = task?.id === given?.id;
  task = given;
  $("task").hidden = !task;
  $("waiting").hidden = Boolean(task);
  document.body.dataset.state = task ? "ranking" : "waiting";
  document.body.dataset.task = task?.id ?? "";
  if (!same || !task) player.show(task?.id);
  if (!task) return;
  const draft = JSON.parse(sessionStorage.getItem("draft") ?? "null");
  const restored = rows ?? (draft?.id === task.id && draft.annotator === annotator ? draft.rows : null);
  order = new Order(task.candidates.length, restored);
  touched = Boolean(restored);
  asked = false;
  since = performance.now();
  question();
  cards = task.candidates.map(card);
  current = order.rows[0][0];
  render();
  scrollTo({ top: 0 });
  cards[current].focus({ preventScroll: true });
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function question() {
  const turns = task.turns.filter((turn) => turn.text);
  $("turns").replaceChildren(
    ...turns.map((turn, i) => {
      const last = i === turns.length - 1;
      const line = element(last ? "h2" : "p", last ? "asked" : "turn");
      if (!last) line.append(element("b", "", `${turn.role}: `));
      line.append(turn.text);
      return line;
    }),
  );
  // Questions often spell their options out already.
  const text = turns.at(-1)?.text ?? "";
  const told = task.options.length && task.options.every((option) => text.includes(option));
  $("options").hidden = !task.options.length || told;
  $("options").replaceChildren(...task.options.map((option) => element("li", "", option)));
  $("known").hidden = !task.reference && !task.narrative;
  $("known").open = false;
  $("reference").textContent = task.reference ?? "";
  $("narrative").textContent = task.narrative ?? "";
}

function card(text, place) {
  const made = element("div", "card");
  made.tabIndex = 0;
  made.dataset.place = String(place);
  made.setAttribute("role", "group");
  made.setAttribute("aria-roledescription", "answer");
  const grip = element("span", "grip", "⠿");
  grip.setAttribute("aria-hidden", "true");
  const letter = element("span", "letter", String.fromCharCode(65 + (place % 26)));
  letter.setAttribute("aria-hidden", "true");
  const words = element("div", "text", text.trim() ? text : "(an empty answer)");
  if (!text.trim()) words.classList.add("empty");
  const acts = element("span", "acts");
  for (const [sign, label, act] of [
    ["↑", "Move up", () => order.move(place, -1)],
    ["↓", "Move down", () => order.move(place, 1)],
    ["=", "Tie with the row above", () => order.tie(place)],
  ]) {
    const button = element("button", "", sign);
    button.type = "button";
    button.tabIndex = -1;
    button.title = label;
    button.setAttribute("aria-label", `${label}: answer ${letter.textContent}`);
    button.addEventListener("click", () => change(place, act));
    acts.append(button);
  }
  made.append(grip, letter, words, acts);
  made.addEventListener("focus", () => choose(place));
  return made;
}

function choose(place) {
  current = place;
  cards.forEach((card, other) => card.classList.toggle("current", other === place));
}

// Does something to the order and shows what came of it.
function change(place, act) {
  const changed = act();
  touched = true; // Also where it stands there already: it was looked at.
  if (changed) {
    sessionStorage.setItem("draft", JSON.stringify({ id: task.id, annotator, rows: order.rows }));
    render();
  }
  cards[place].focus({ preventScroll: true });
  cards[place].scrollIntoView({ block: "nearest" });
  const row = order.rowOf(place);
  const tied = order.rows[row].length > 1 ? `, tied with ${order.rows[row].length - 1}` : "";
  $("live").textContent = `${changed ? "" : "No change: "}rank ${row + 1} of ${order.rows.length}${tied}`;
}

function render() {
  const before = cards.map((card) => card.isConnected && card.getBoundingClientRect());
  const rows = order.rows.map((places, index) => {
    const row = element("li", places.length > 1 ? "row tied" : "row");
    const rank = element("span", "rank", String(index + 1));
    rank.setAttribute("aria-hidden", "true");
    const side = element("div", "side");
    side.append(...places.map((place) => cards[place]));
    row.append(rank, side);
    places.forEach((place) => {
      const tied = places.length > 1 ? `, tied with ${places.length - 1}` : "";
      const label = `Rank ${index + 1} of ${order.rows.length}${tied}: ${task.candidates[place]}`;
      cards[place].setAttribute("aria-label", label);
    });
    return row;
  });
  $("rows").replaceChildren(...rows);
  choose(current);
  if (calm.matches) return;
  cards.forEach((card, place) => {
    const [from, to] = [before[place], card.getBoundingClientRect()];
    if (!from || (from.x === to.x && from.y === to.y)) return;
    const shift = `translate(${from.x - to.x}px, ${from.y - to.y}px)`;
    card.animate([{ transform: shift }, { transform: "none" }], { duration: 140, easing: "ease-out" });
  });
}

let toasting;
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("seen");
  clearTimeout(toasting);
  toasting = setTimeout(() => $("toast").classList.remove("seen"), 4000);
}

async function stats() {
  const { annotators } = await ask("/api/stats");
  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const rows = annotators.map((one) => {
    const row = element("tr");
    row.append(element("th", "", one.annotator));
    for (const text of [one.ranked, one.skipped, number(one.mean_seconds, 0), one.common_tasks, number(one.tau_b, 2)]) {
      row.append(element("td", "", String(text)));
    }
    return row;
  });
  $("stats").replaceChildren(...rows);
  $("stats-dialog").showModal();
}

// ---- Keys, buttons, names

function pressed(event) {
  if (event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const on = event.target;
  if (on instanceof HTMLInputElement && event.key !== " ") return;
  if (on.closest?.("button, summary") && (event.key === "Enter" || event.key === " ")) return;
  const acts = {
    "?": () => $("help-dialog").showModal(),
    u: undo,
    s: skip,
    Enter: () => event.repeat || submit(),
    " ": () => player.toggle(),
    r: () => ($("known").open = !$("known").open),
    m: () => player.mute(),
    ArrowLeft: () => player.step(-1),
    ArrowRight: () => player.step(1),
    ...(task && orderKeys(event)),
  };
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function orderKeys(event) {
  const moving = event.altKey || event.shiftKey;
  const arrow = (step) => () =>
    moving
      ? change(current, () => order.move(current, step))
      : cards[order.neighbour(current, step)].focus();
  const keys = {
    ArrowUp: arrow(-1),
    ArrowDown: arrow(1),
    "=": () => change(current, () => order.tie(current)),
  };
  for (let rank = 1; rank <= 9; rank++) {
    keys[rank] = () => change(current, () => order.rank(current, rank - 1));
  }
  return keys;
}

function named(name) {
  // Each annotator sees a task in an order of their own: what is shown is another's.
  if (name !== annotator) show(null);
  annotator = name;
  localStorage.setItem("annotator", name);
  $("who").textContent = name;
  doing(next);
}

function rename() {
  $("name").value = annotator;
  document.body.dataset.state = "name";
  $("name-dialog").showModal();
}

$("name-form").addEventListener("submit", (event) => {
  const name = $("name").value.trim();
  if (name) named(name);
  else event.preventDefault();
});
$("name-dialog").addEventListener("cancel", (event) => annotator || event.preventDefault());
$("name-dialog").addEventListener("close", () => {
  // Browsers let a second Escape close any dialog; without a name there is nothing to do.
  if (!annotator) rename();
  else if (document.body.dataset.state === "name") {
    document.body.dataset.state = task ? "ranking" : "waiting";
  }
});
$("who").addEventListener("click", rename);
$("open-help").addEventListener("click", () => $("help-dialog").showModal());
$("open-stats").addEventListener("click", () => doing(stats));
$("submit").addEventListener("click", submit);
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
$("undo-waiting").addEventListener("click", undo);
addEventListener("keydown", pressed);
draggable($("rows"), (place, { insert, join }) =>
  change(place, () => (join === undefined ? order.insert(place, insert) : order.join(place, join))),
);
setInterval(poll, POLL_MS);
annotator ? named(annotator) : rename();
