// Where everything stands: bars that overlap take lanes of their own within their row. Draws nothing.

export const AXIS = 28;
const ROW_MIN = 30;
const LANE = 16;
const LANES_HEIGHT = 128;
const LANE_MIN = 5;
const PADDING = 6;

const lanesOf = (bars) => {
  const ends = [];
  for (const bar of bars) {
    let lane = ends.findIndex((end) => end <= bar.begin);
    if (lane < 0) {
      lane = ends.length;
    }
    ends[lane] = bar.live ? Infinity : bar.end;
    bar.lane = lane;
  }
  return ends.length;
};

const barsOf = (data) => {
  const bars = data.bars.map(([row, begin, end, status, other, name, id]) => ({
    kind: "attempt",
    row,
    begin,
    end: end === null ? data.now : end,
    live: end === null,
    status: data.statuses[status],
    other: data.others[other],
    name,
    id,
  }));
  const coming = data.coming.map(([row, due, length, other, kind, id]) => ({
    kind,
    row,
    // What waits stands where it was due; it will begin now at the earliest.
    begin: due,
    end: Math.max(due, kind === "task" ? data.now : due) + length,
    live: false,
    other: data.others[other],
    name: kind === "task" ? `#${id}` : "",
    id,
  }));
  return [...bars, ...coming];
};

// Returns the rows with their places and bars; `data` is what the server answered.
export const layOut = (data) => {
  const byRow = data.rows.map(() => []);
  for (const bar of barsOf(data)) {
    byRow[bar.row].push(bar);
  }
  const cells = data.rows.map(() => []);
  for (const [row, slot, number, failed, isMore] of data.counts) {
    cells[row].push({ row, slot, number, failed, isMore });
  }
  let top = AXIS;
  const rows = data.rows.map((row, number) => {
    const bars = byRow[number].sort((a, b) => a.begin - b.begin);
    const lanes = Math.max(lanesOf(bars), 1);
    const lane = Math.max(Math.min(LANE, LANES_HEIGHT / lanes), LANE_MIN);
    const height = Math.max(ROW_MIN, lanes * lane + PADDING);
    const longest = bars.reduce((length, bar) => Math.max(length, bar.live ? Infinity : bar.end - bar.begin), 0);
    const placed = { ...row, number, top, height, lanes, lane, bars, longest, cells: cells[number] };
    top += height;
    return placed;
  });
  const most = data.counts.reduce((found, [, , number]) => Math.max(found, number), 0);
  return { rows, height: top, most, slotMs: data.slots ? (data.end - data.begin) / data.slots : 0 };
};

// The first of sorted `items` whose `key` is not below `value`.
const firstFrom = (items, value, key) => {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle][key] < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
};

export const rowsBetween = (rows, top, bottom) => {
  const first = Math.max(firstFrom(rows, top, "top") - 1, 0);
  return rows.slice(first, firstFrom(rows, bottom, "top"));
};

export const rowAt = (rows, y) => rows[Math.max(firstFrom(rows, y + 1, "top") - 1, 0)];

// Bars of a row that may be seen between two instants.
export const barsBetween = (row, begin, end) => {
  const first = row.longest === Infinity ? 0 : firstFrom(row.bars, begin - row.longest, "begin");
  return row.bars.slice(first, firstFrom(row.bars, end, "begin"));
};

export const barTop = (row, bar) => row.top + (row.height - row.lanes * row.lane) / 2 + bar.lane * row.lane;

// The bar at a place, or the nearest one within `slack` milliseconds.
export const barAt = (row, y, at, slack, now) => {
  let [found, distance] = [null, slack];
  for (const bar of barsBetween(row, at - slack, at + slack)) {
    const top = barTop(row, bar);
    const end = bar.live ? now : bar.end;
    const away = Math.max(bar.begin - at, at - end, 0);
    if (y >= top && y < top + row.lane && away <= distance) {
      [found, distance] = [bar, away];
    }
  }
  return found;
};
