// The order of the answers: rows from best to worst, answers of one row tie. No page in here.

export class Order {
  // `places`: how many answers; they are known by their place as first shown.
  constructor(places, rows) {
    const fits = rows && rows.flat().sort((a, b) => a - b).join() === [...Array(places).keys()].join();
    this.rows = fits ? rows.map((row) => [...row]) : Array.from({ length: places }, (_, place) => [place]);
  }

  rowOf(place) {
    return this.rows.findIndex((row) => row.includes(place));
  }

  // The answer `step` further in reading order.
  neighbour(place, step) {
    const all = this.rows.flat();
    return all[Math.min(all.length - 1, Math.max(0, all.indexOf(place) + step))];
  }

  // Moves out of a tie, or past the row above (-1) or below (1). False where nothing changes.
  move(place, step) {
    const from = this.rowOf(place);
    if (this.rows[from].length > 1) return this.insert(place, step < 0 ? from : from + 1);
    const to = from + step;
    if (to < 0 || to >= this.rows.length) return false;
    [this.rows[from], this.rows[to]] = [this.rows[to], this.rows[from]];
    return true;
  }

  // Ties with the row above.
  tie(place) {
    const from = this.rowOf(place);
    return from > 0 && this.join(place, from - 1);
  }

  // Becomes a row of its own at the rank, counted from 0.
  rank(place, rank) {
    const before = JSON.stringify(this.rows);
    const rest = this.without(place);
    rest.splice(Math.min(rank, rest.length), 0, [place]);
    this.rows = rest;
    return JSON.stringify(rest) !== before;
  }

  // Becomes a row of its own before the row `index` as they stand now.
  insert(place, index) {
    const before = JSON.stringify(this.rows);
    const rows = this.rows.map((row) => row.filter((other) => other !== place));
    rows.splice(index, 0, [place]);
    this.rows = rows.filter((row) => row.length);
    return JSON.stringify(this.rows) !== before;
  }

  // Ties with the row `index` as they stand now.
  join(place, index) {
    if (this.rows[index].includes(place)) return false;
    this.rows[index].push(place);
    this.rows = this.rows
      .map((row, i) => (i === index ? row : row.filter((other) => other !== place)))
      .filter((row) => row.length);
    return true;
  }

  without(place) {
    return this.rows.map((row) => row.filter((other) => other !== place)).filter((row) => row.length);
  }
}
