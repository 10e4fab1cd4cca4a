// Draws the runs that the server reports. Nothing is loaded from elsewhere, and texts of runs are only ever set as text.
'use strict';

// Okabe and Ito's colours, which people with any kind of colour vision tell apart.
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#808080'];
const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
const WAITING = ['waitingRead', 'waitingDecode', 'waitingResize', 'waitingUpload'];
const LOG_LINES = 200;

const element = id => document.getElementById(id);
const runs = new Map();
let chosen = null;
let axis = 'epoch';
let drawing = false;

// ---- What the server says ---------------------------------------------------------------------------------------------

const source = new EventSource('/events');
source.onopen = () => connected(true);
source.onerror = () => connected(false);
on('hello', ({ folder }) => {
  // Also after the connection was lost: everything is sent again.
  runs.clear();
  element('folder').textContent = folder;
});
on('runs', list => {
  const names = new Set(list.map(run => run.name));
  for (const name of runs.keys()) if (!names.has(name)) runs.delete(name);
  for (const state of list) runOf(state.name).state = state;
  if (!runs.has(chosen)) chosen = list.length > 0 ? list.reduce((a, b) => b.written > a.written ? b : a).name : null;
});
on('rows', ({ run, table, anew, columns, rows }) => {
  const known = runOf(run);
  if (anew) known[table] = [];
  for (const row of rows) known[table].push(Object.fromEntries(columns.map((column, i) => [column, row[i]])));
});
on('log', ({ run, anew, lines }) => {
  const known = runOf(run);
  known.log = (anew ? lines : known.log.concat(lines)).slice(-LOG_LINES);
});

function on(type, handle) {
  source.addEventListener(type, event => {
    handle(JSON.parse(event.data));
    if (drawing) return;
    drawing = true;
    // One drawing for all messages of a moment.
    setTimeout(draw, 50);
  });
}

function runOf(name) {
  if (!runs.has(name)) runs.set(name, { name, metrics: [], alignment: [], log: [], shown: true, state: { name } });
  return runs.get(name);
}

function connected(isConnected) {
  const status = element('connection');
  status.textContent = isConnected ? 'live' : 'connection lost, trying again';
  status.className = isConnected ? '' : 'lost';
}

// ---- Values -----------------------------------------------------------------------------------------------------------

// An empty cell is no number.
const number = cell => cell === undefined || cell === '' ? NaN : Number(cell);
const title = run => run.name === '.' ? element('folder').textContent.split(/[\\/]/).pop() : run.name;
const waiting = row => WAITING.reduce((sum, column) => sum + number(row[column]), 0);

function metric(value, style) {
  return run => [{ points: run.metrics.map(row => [number(row[axis]), value(row)]), style }];
}

function angle(column) {
  return run => {
    const groups = new Map();
    for (const row of run.alignment) {
      const value = number(row[column]);
      if (!Number.isFinite(value)) continue;
      const group = groups.get(row.step) ?? { at: position(run, row), sum: 0, count: 0 };
      group.sum += value;
      group.count++;
      groups.set(row.step, group);
    }
    return [{ points: [...groups.values()].map(group => [group.at, group.sum / group.count]) }];
  };
}

// alignment.csv has no times: within an epoch, the time is taken to pass evenly.
function position(run, row) {
  if (axis !== 'seconds') return number(row[axis]);
  const epoch = number(row.epoch), before = Math.floor(epoch), start = timeAt(run, before);
  return epoch === before ? start : start + (epoch - before) * (timeAt(run, before + 1) - start);
}

function timeAt(run, end) {
  const row = run.metrics.find(other => number(other.epoch) === end);
  return end === 0 ? 0 : row ? number(row.seconds) : NaN;
}

const CHARTS = [
  { id: 'accuracy', title: 'Test accuracy', unit: 'top-1, %', curves: metric(row => 100 * number(row.testTop1)), low: 0 },
  {
    id: 'loss', title: 'Loss', unit: 'solid: training, dashed: test', low: 0,
    curves: run => [...metric(row => number(row.trainLoss))(run), ...metric(row => number(row.testLoss), 'dashed')(run)],
  },
  { id: 'weight-angle', title: 'Angle between W and Bᵀ', unit: 'mean, degrees', curves: angle('weightAngle'), low: 0 },
  { id: 'error-angle', title: "Angle between the error and backprop's", unit: 'mean, degrees', curves: angle('deltaAngle'), low: 0 },
  { id: 'speed', title: 'Speed', unit: 'images/s', curves: metric(row => number(row.imagesPerSecond)), low: 0 },
  { id: 'waiting', title: 'Waiting for images', unit: '% of the time of the steps', curves: metric(row => 100 * waiting(row)), low: 0 },
];
const MAPS = [
  { id: 'weight-map', title: 'Angle between W and Bᵀ of each layer', column: 'weightAngle' },
  { id: 'error-map', title: "Angle between the error and backprop's of each layer", column: 'deltaAngle' },
];

// ---- The page ---------------------------------------------------------------------------------------------------------

for (const chart of CHARTS) element('charts').append(figure(chart));
for (const map of MAPS) element('maps').append(figure(map));
for (const button of document.querySelectorAll('input[name=axis]')) {
  button.addEventListener('change', () => {
    axis = button.value;
    draw();
  });
}
element('chosen').addEventListener('change', event => {
  chosen = event.target.value;
  draw();
});
addEventListener('resize', draw);
// "written N s ago" grows without a message.
setInterval(drawTable, 5000);

function figure({ id, title: text, unit }) {
  const made = document.createElement('figure'), caption = document.createElement('figcaption'), canvas = document.createElement('canvas');
  made.id = id;
  caption.textContent = text;
  if (unit) caption.append(' ', Object.assign(document.createElement('small'), { textContent: unit }));
  made.append(caption, canvas);
  canvas.addEventListener('mousemove', event => tell(made, event));
  canvas.addEventListener('mouseleave', () => { element('tip').hidden = true; });
  return made;
}

function draw() {
  drawing = false;
  const all = [...runs.values()];
  element('none').hidden = all.length > 0;
  element('runs').hidden = all.length === 0;
  all.forEach((run, i) => {
    run.color = COLORS[i % COLORS.length];
    run.dash = i < COLORS.length ? [] : [8, 3];
  });
  drawTable();
  for (const chart of CHARTS) drawChart(chart, all.filter(run => run.shown));
  drawDetails(all);
}

function drawTable() {
  const body = element('runs').tBodies[0];
  body.replaceChildren(...[...runs.values()].map(run => {
    const { state } = run, last = run.metrics.at(-1) ?? {}, row = document.createElement('tr');
    row.dataset.run = run.name;
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: run.shown });
    box.setAttribute('aria-label', `show ${title(run)}`);
    box.addEventListener('change', () => {
      run.shown = box.checked;
      draw();
    });
    const swatch = document.createElement('i');
    swatch.style.background = run.color ?? 'none';
    cell(row, box);
    cell(row, swatch, title(run));
    cell(row, state.rule ?? '');
    cell(row, state.model ?? '');
    cell(row, `${last.epoch ?? 0}${state.epochs ? ` / ${state.epochs}` : ''}`);
    cell(row, show(100 * number(last.testTop1), 2, ' %'));
    cell(row, show(number(last.trainLoss), 3));
    cell(row, show(number(last.testLoss), 3));
    cell(row, show(number(last.imagesPerSecond), 0));
    cell(row, show(100 * waiting(last), 1, ' %'));
    cell(row, state.state === 'open' ? `wrote ${ago(state.written)} ago` : state.state ?? '');
    cell(row, state.hasReport ? link(run) : '');
    return row;
  }));
}

function cell(row, ...content) {
  row.insertCell().append(...content);
}

function link(run) {
  const path = (run.name === '.' ? [] : run.name.split('/')).concat('report.html').map(encodeURIComponent).join('/');
  return Object.assign(document.createElement('a'), { href: `/runs/${path}`, textContent: 'report', target: '_blank', rel: 'noopener' });
}

const show = (value, digits, unit = '') => Number.isFinite(value) ? value.toFixed(digits) + unit : '–';

function ago(milliseconds) {
  const seconds = Math.max(0, (Date.now() - milliseconds) / 1000);
  return seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function drawDetails(all) {
  const run = runs.get(chosen), choice = element('chosen');
  element('details').hidden = !run;
  choice.replaceChildren(...all.map(other => Object.assign(document.createElement('option'), { value: other.name, textContent: title(other), selected: other === run })));
  if (!run) return;
  for (const map of MAPS) drawMap(map, run);
  const log = element('log'), atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  const text = run.log.join('\n');
  if (log.textContent !== text) {
    log.textContent = text;
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}

// ---- Drawing ----------------------------------------------------------------------------------------------------------

/** Empties a canvas and returns its context, in CSS pixels. */
function prepare(canvas, height) {
  const width = canvas.clientWidth || 400, scale = devicePixelRatio || 1, context = canvas.getContext('2d');
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.height = `${height}px`;
  context.scale(scale, scale);
  context.font = '11px system-ui, sans-serif';
  return { context, width, height };
}

const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Round numbers that divide a range into a few parts. */
function ticks(low, high, most) {
  const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(n => n * power).find(n => n >= raw);
  const values = [];
  for (let i = Math.ceil(low / step); i * step <= high + step / 1e6; i++) values.push(i * step);
  return { values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

/** What an axis over a run measures: its unit, and the number of units in one of the table's. */
function unitOf(high) {
  if (axis !== 'seconds') return { name: axis, length: 1 };
  return high > 18000 ? { name: 'hours', length: 3600 } : high > 300 ? { name: 'minutes', length: 60 } : { name: 'seconds', length: 1 };
}

function drawChart(chart, shown) {
  const made = element(chart.id), { context, width, height } = prepare(made.querySelector('canvas'), 220);
  const curves = shown.flatMap(run => chart.curves(run).map(curve => ({ ...curve, run, points: curve.points.filter(p => p.every(Number.isFinite)) })));
  const points = curves.flatMap(curve => curve.points);
  made.dataset.points = points.length;
  made.dataset.curves = curves.filter(curve => curve.points.length > 0).length;
  made.targets = [];
  if (points.length === 0) {
    context.fillStyle = color('--faint');
    context.textAlign = 'center';
    context.fillText('nothing measured yet', width / 2, height / 2);
    return;
  }
  const unit = unitOf(Math.max(...points.map(p => p[0])));
  let low = [Math.min(...points.map(p => p[0])) / unit.length, chart.low ?? Math.min(...points.map(p => p[1]))];
  let high = [Math.max(...points.map(p => p[0])) / unit.length, Math.max(...points.map(p => p[1]))];
  high = high.map((value, i) => value > low[i] ? value : low[i] + 1);
  const left = 48, right = width - 10, top = 8, bottom = height - 34;
  const x = value => left + (value / unit.length - low[0]) / (high[0] - low[0]) * (right - left);
  const y = value => bottom - (value - low[1]) / (high[1] - low[1]) * (bottom - top);
  context.strokeStyle = color('--line');
  context.fillStyle = color('--faint');
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  const vertical = ticks(low[1], high[1], 5);
  for (const value of vertical.values) {
    line(context, left, y(value), right, y(value));
    context.fillText(value.toFixed(vertical.digits), left - 6, y(value));
  }
  context.textAlign = 'center';
  const horizontal = ticks(low[0], high[0], Math.max(2, (right - left) / 80));
  for (const value of horizontal.values.filter(v => axis === 'seconds' || Number.isInteger(v))) {
    line(context, x(value * unit.length), top, x(value * unit.length), bottom);
    context.fillText(value.toFixed(axis === 'seconds' ? horizontal.digits : 0), x(value * unit.length), bottom + 11);
  }
  context.fillText(unit.name, (left + right) / 2, bottom + 26);
  for (const curve of curves) {
    context.strokeStyle = context.fillStyle = curve.run.color;
    context.setLineDash(curve.style === 'dashed' ? [3, 3] : curve.run.dash);
    context.lineWidth = 1.8;
    context.beginPath();
    for (const [at, value] of curve.points) context.lineTo(x(at), y(value));
    context.stroke();
    const [at, value] = curve.points.at(-1) ?? [];
    if (at !== undefined) {
      context.beginPath();
      context.arc(x(at), y(value), 3, 0, 7);
      context.fill();
    }
    for (const point of curve.points) {
      made.targets.push({ x: x(point[0]), y: y(point[1]), text: `${title(curve.run)}${curve.style === 'dashed' ? ' (test)' : ''}\n${unit.name} ${+(point[0] / unit.length).toFixed(2)}: ${+point[1].toPrecision(5)}` });
    }
  }
  context.setLineDash([]);
}

function line(context, x1, y1, x2, y2) {
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

function drawMap(map, run) {
  const layers = [...new Set(run.alignment.map(row => row.layer))], steps = [...new Set(run.alignment.map(row => row.step))];
  const made = element(map.id), rowHeight = layers.length > 30 ? 10 : 16;
  const { context, width } = prepare(made.querySelector('canvas'), layers.length * rowHeight + 60);
  const cells = run.alignment.map(row => ({ row, value: number(row[map.column]) })).filter(c => Number.isFinite(c.value));
  made.dataset.cells = cells.length;
  made.targets = [];
  context.fillStyle = color('--faint');
  context.textBaseline = 'middle';
  if (cells.length === 0) {
    context.textAlign = 'center';
    context.fillText('nothing measured yet', width / 2, 30);
    return;
  }
  // Angles up to 90 degrees mostly; the colours cover what there is.
  const highest = Math.max(10, Math.ceil(Math.max(...cells.map(c => c.value)) / 10) * 10);
  const left = 140, right = width - 10, top = 4, bottom = top + layers.length * rowHeight, column = (right - left) / steps.length;
  const columnOf = new Map(steps.map((step, i) => [step, i])), rowOf = new Map(layers.map((layer, i) => [layer, i]));
  for (const { row, value } of cells) {
    const x = left + columnOf.get(row.step) * column, y = top + rowOf.get(row.layer) * rowHeight;
    context.fillStyle = viridis(value / highest);
    context.fillRect(x, y, Math.ceil(column), rowHeight - (rowHeight > 12 ? 1 : 0));
    made.targets.push({ x: x + column / 2, y: y + rowHeight / 2, box: [column / 2 + 1, rowHeight / 2], text: `${row.layer}, ${row.rule || 'first layer'}\nepoch ${row.epoch}, step ${row.step}: ${value.toFixed(1)}°` });
  }
  context.fillStyle = color('--faint');
  context.textAlign = 'right';
  layers.forEach((layer, i) => {
    if (rowHeight > 12 || i % 2 === 0) context.fillText(layer, left - 6, top + (i + 0.5) * rowHeight, left - 10);
  });
  context.textAlign = 'center';
  const epochs = run.alignment.filter(row => row.layer === layers[0]).map(row => row.epoch), every = Math.ceil(epochs.length / ((right - left) / 40));
  epochs.forEach((epoch, i) => {
    if (i % every === 0) context.fillText(epoch, left + (i + 0.5) * column, bottom + 10);
  });
  context.fillText('epoch', (left + right) / 2, bottom + 24);
  for (let i = 0; i < 100; i++) {
    context.fillStyle = viridis(i / 99);
    context.fillRect(left + i * 2, bottom + 38, 2, 10);
  }
  context.fillStyle = color('--faint');
  context.textAlign = 'right';
  context.fillText('0°', left - 6, bottom + 43);
  context.textAlign = 'left';
  context.fillText(`${highest}°`, left + 206, bottom + 43);
}

function viridis(share) {
  const at = Math.min(1, Math.max(0, share)) * (VIRIDIS.length - 1), i = Math.min(VIRIDIS.length - 2, Math.floor(at));
  return `rgb(${VIRIDIS[i].map((part, k) => Math.round(part + (VIRIDIS[i + 1][k] - part) * (at - i))).join(',')})`;
}

/** Shows the value under the pointer. */
function tell(made, event) {
  const tip = element('tip'), targets = made.targets ?? [];
  const near = targets.map(target => ({ target, dx: Math.abs(target.x - event.offsetX), dy: Math.abs(target.y - event.offsetY) }))
    .filter(({ target, dx, dy }) => target.box ? dx <= target.box[0] && dy <= target.box[1] : dx < 25 && dy < 25)
    .sort((a, b) => Math.hypot(a.dx, a.dy) - Math.hypot(b.dx, b.dy))[0];
  tip.hidden = !near;
  if (!near) return;
  tip.textContent = near.target.text;
  tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 260)}px`;
  tip.style.top = `${event.clientY + 12}px`;
}
