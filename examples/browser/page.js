// Run a model that `anyjepa export` wrote on an ECG or an image, in the browser.
// The graph holds the preprocessing; this file reads records as `anyjepa predict` does, runs the graph, and draws.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // threads need headers that a plain static server does not send

const PER_MM = { s: 1 / 25, mV: 1 / 10 }; // ECG paper: 25 mm/s, 10 mm/mV
const ROW_MM = 18; // from one lead to the next
const NEAREST = 5;
const KINDS = { ecg: "an ECG", images: "an image" };
const MILLIVOLTS = { mv: 1, uv: 1e-3, "µv": 1e-3, "μv": 1e-3, nv: 1e-6, v: 1e3 }; // micro sign and Greek mu
const LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];
const ALIASES = Object.fromEntries(LEADS.map(lead => [lead.toLowerCase(), lead]));
Object.assign(ALIASES, { mlii: "II", di: "I", dii: "II", diii: "III" });

const at = selector => document.querySelector(selector);
const loaded = { model: null, record: null, neighbours: null }; // or why a file could not be read
let work = Promise.resolve(); // one thing after the other: a session runs once at a time

const readers = { model: readModel, record: readRecord, neighbours: readNeighbours };
for (const [name, read] of Object.entries(readers)) {
  at(`#${name}`).addEventListener("change", ({ target }) => inTurn(async () => {
    loaded[name] = target.files.length ? await read([...target.files]).catch(error => error) : null;
    at("#part input").value = 0;
  }));
}
at("#part input").addEventListener("input", () => inTurn());
let width = innerWidth;
addEventListener("resize", () => {
  if (width !== innerWidth) inTurn(); // a phone also changes the height when one scrolls
  width = innerWidth;
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => inTurn());

/** Do something, then show the result; an error becomes one line. */
function inTurn(first = async () => {}) {
  at("main").ariaBusy = "true";
  const own = work.then(async () => {
    let problem = "";
    try {
      await first();
      await show();
    } catch (error) {
      problem = String(error.message ?? error).split("\n")[0];
      at("#result").hidden = true;
    }
    at("#error").textContent = problem;
    at("#error").hidden = !problem;
    if (work === own) at("main").ariaBusy = "false";
  });
  work = own;
}

async function show() {
  const problem = Object.values(loaded).find(value => value instanceof Error);
  if (problem) throw problem;
  const { model, record, neighbours } = loaded;
  const wanted = [model ? "" : "a model", record ? "" : "a record"].filter(Boolean).join(" and ");
  const status = model ? [`${model.name} ${described(model.about)}.`] : [];
  if (wanted) status.push(`Choose ${wanted}.`);
  else if (!model.about.classes && !neighbours) status.push("Choose a table to see the most similar records.");
  if (record?.kind === "ecg" && scaledApart(record.leads)) {
    status.push(`All leads of ${record.name} span the same range: they were scaled one by one, so amplitudes are not mV, `
      + "and the answers are not to be trusted; anyjepa predict can read the record with --unit.");
  }
  at("#status").textContent = status.join(" ");
  at("#result").hidden = Boolean(wanted);
  if (wanted) return;
  if (record.kind !== model.about.kind) {
    throw Error(`${record.name}: is ${KINDS[record.kind]}, but the model needs ${KINDS[model.about.kind]}`);
  }
  at("#name").textContent = record.name;
  const tensor = record.kind === "ecg" ? ecgPart(model.about, record) : imagePixels(model, record);
  at("details").hidden = !tensor;
  if (!tensor) return;
  const { embedding: { data: embedding }, probabilities, decisions } = await model.session.run({ input: tensor });
  const tables = [];
  if (probabilities) tables.push(classTable(model.about, probabilities.data, decisions?.data));
  if (neighbours) tables.push(neighbourTable(neighbours, embedding));
  at("#tables").replaceChildren(...tables);
  at("summary").textContent = `Embedding (${embedding.length} values)`;
  at("#embedding").textContent = Array.from(embedding).join(" ");
}

function described({ kind, fs, leads, axes, classes }) {
  const seconds = axes.samples?.map(count => +(count / fs).toPrecision(3));
  const ecgs = () => `ECGs of ${seconds[0]} to ${seconds[1]} s at ${fs} Hz with the leads ${leads.join(", ")}`;
  const answers = classes ? `its classes are ${classes.join(", ")}` : "it has no classifier";
  return `reads ${kind === "ecg" ? ecgs() : kind}; ${answers}`;
}

// Reading files

async function readModel([file]) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const about = metadata(bytes).anyjepa;
  if (!about) throw Error(`${file.name}: is not a model; choose an .onnx file that anyjepa export wrote`);
  const parsed = JSON.parse(about);
  if (!(parsed.kind in KINDS)) throw Error(`${file.name}: reads ${parsed.kind}; this page reads ECGs and images only`);
  try {
    return { name: file.name, about: parsed, session: await ort.InferenceSession.create(bytes) };
  } catch (error) {
    throw Error(`${file.name}: cannot be run (${error.message})`);
  }
}

/** Metadata of an ONNX file, which onnxruntime-web does not give: field 14 of a ModelProto has pairs of texts. */
function metadata(bytes) {
  const text = part => new TextDecoder().decode(part);
  const pairs = [...fields(bytes)].filter(([number]) => number === 14).map(([, pair]) => [...fields(pair)]);
  return Object.fromEntries(pairs.map(([[, key], [, value]]) => [text(key), text(value)]));
}

/** Number and content of each field of a protocol buffer message that is a sequence of bytes. */
function* fields(bytes) {
  let place = 0;
  const varint = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = bytes[place++];
      value += (byte & 127) * scale;
      if (!(byte & 128)) return value;
    }
  };
  while (place < bytes.length) {
    const tag = varint();
    if (tag % 8 === 0) varint();
    else if (tag % 8 === 1) place += 8;
    else if (tag % 8 === 5) place += 4;
    else if (tag % 8 === 2) {
      const end = varint() + place;
      yield [Math.floor(tag / 8), bytes.subarray(place, end)];
      place = end;
    } else return; // not a message
  }
}

async function readRecord(files) {
  const header = files.find(file => /\.hea$/i.test(file.name));
  if (header) return readWfdb(header, files);
  const [file] = files;
  if (/\.(dat|mat)$/i.test(file.name)) throw Error(`${file.name}: choose it together with its .hea file, both at once`);
  if (/\.csv$/i.test(file.name)) return ecgOfTable(file.name, await readCsv(file));
  try {
    return { kind: "images", name: file.name, bitmap: await createImageBitmap(file, { colorSpaceConversion: "none" }) };
  } catch {
    const ecg = "or an ECG, .csv or .hea with its signal file";
    throw Error(`${file.name}: is not an image; choose a PNG, JPEG or WebP image, ${ecg}`);
  }
}

/** Texts of a table, {columns, rows}; cells are separated by comma, semicolon or tab. */
async function readCsv(file) {
  const text = (await file.text()).replace(/^\ufeff/, "").trimEnd();
  const separator = [",", ";", "\t"].find(mark => text.split("\n", 1)[0].includes(mark)) ?? ",";
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^${separator}\r\n]*))(${separator}|\r?\n|$)`, "y");
  const rows = [[]];
  for (;;) {
    const match = cell.exec(text);
    if (!match) throw Error(`${file.name}: row ${rows.length} is not a row of a CSV table`);
    rows.at(-1).push(match[1]?.replaceAll('""', '"') ?? match[2].trim());
    if (!match[3]) break;
    if (match[3] !== separator) rows.push([]);
  }
  const columns = rows.shift();
  const uneven = rows.findIndex(row => row.length !== columns.length);
  if (uneven >= 0) throw Error(`${file.name}: row ${uneven + 2} does not have as many cells as the header`);
  if (!rows.length) throw Error(`${file.name}: has no rows`);
  return { columns, rows };
}

/** Numbers of a column; an empty cell is NaN. */
function numbers(name, { columns, rows }, column) {
  const place = columns.indexOf(column);
  return Float64Array.from(rows, (row, index) => {
    if (row[place] === "") return NaN;
    const value = Number(row[place]);
    if (Number.isNaN(value)) throw Error(`${name}: row ${index + 2}: '${row[place]}' in '${column}' is not a number`);
    return value;
  });
}

function ecgOfTable(name, table) {
  const single = column => {
    const values = new Set(table.rows.map(row => row[table.columns.indexOf(column)]));
    if (values.size > 1) throw Error(`${name}: column '${column}' must have a single value`);
    return [...values][0];
  };
  const has = column => table.columns.includes(column);
  if (!has("fs") && !has("time_s")) throw Error(`${name}: has no rate; add a column 'fs' (Hz) or 'time_s' (s)`);
  if (!has("unit")) throw Error(`${name}: has no unit; add a column 'unit', such as mV`);
  const times = has("fs") ? [] : numbers(name, table, "time_s");
  const fs = has("fs") ? Number(single("fs")) : (times.length - 1) / (times.at(-1) - times[0]);
  const scale = MILLIVOLTS[single("unit").toLowerCase()];
  if (!(fs > 0)) throw Error(`${name}: the rate must be a positive number of Hz`);
  const even = times.every((time, row) => !row || Math.abs((time - times[row - 1]) * fs - 1) <= 0.01);
  if (!even) throw Error(`${name}: column 'time_s' is not evenly spaced; resample it first`);
  if (!scale) throw Error(`${name}: the unit must be mV, uV, nV or V`);
  const leads = new Map();
  for (const column of table.columns.filter(column => LEADS.includes(canonical(column)))) {
    if (leads.has(canonical(column))) throw Error(`${name}: lead ${canonical(column)} occurs twice`);
    leads.set(canonical(column), numbers(name, table, column).map(value => value * scale));
  }
  if (!leads.size) throw Error(`${name}: no column is a lead such as II or V1`);
  return { kind: "ecg", name, fs, leads };
}

const canonical = name => ALIASES[name.trim().toLowerCase().replace(/^((mdc_)?(ecg|lead)[\s_:]*)+/, "")] ?? name;

/** A WFDB record: header and signal file in format 16 or 212. */
async function readWfdb(header, files) {
  const [first, ...rest] = (await header.text()).split(/\r?\n/).filter(line => line.trim() && !line.startsWith("#"));
  const [record = "", count, rate, length] = first?.trim().split(/\s+/) ?? [];
  const fs = parseFloat(rate);
  if (record.includes("/")) throw Error(`${header.name}: has several segments; choose one of them`);
  if (!(fs > 0) || !rest.length || rest.length !== Number(count)) {
    throw Error(`${header.name}: is not a WFDB header with a rate and a line for each signal`);
  }
  const signals = rest.map(line => {
    const [file, format, gain = "", , zero = "0", , checksum, , ...lead] = line.trim().split(/\s+/);
    const [, per, baseline, unit = "mV"] = /^([\d.eE+-]+)(?:\(([-+]?\d+)\))?(?:\/(\S+))?$/.exec(gain) ?? [];
    const scale = MILLIVOLTS[unit.toLowerCase()] / Number(per); // mV per ADC unit; NaN if the gain is missing
    return { file, format, scale, zero: Number(baseline ?? zero), checksum: Number(checksum), lead: lead.join(" ") };
  });
  const { file, format } = signals[0];
  const [, code, offset = "0"] = /^(16|212)(?:\+(\d+))?$/.exec(format) ?? [];
  if (!code || signals.some(signal => signal.format !== format || signal.file !== file)) {
    throw Error(`${header.name}: this page reads one signal file in format 16 or 212; convert the record to CSV`);
  }
  const content = files.find(other => other.name === file.split("/").at(-1));
  if (!content) throw Error(`${header.name}: choose it together with its signal file ${file}, both at once`);
  const samples = decode(code, new DataView(await content.arrayBuffer(), Math.min(Number(offset), content.size)));
  const frames = Number(length) || Math.floor(samples.length / signals.length);
  if (samples.length < frames * signals.length) throw Error(`${content.name}: is shorter than ${header.name} says`);
  const invalid = code === "16" ? -32768 : -2048;
  const leads = new Map();
  signals.forEach(({ lead, scale, zero, checksum }, place) => {
    const values = Float64Array.from({ length: frames }, (_, frame) => samples[frame * signals.length + place]);
    if (checksum && (values.reduce((sum, value) => sum + value) - checksum) % 65536) {
      throw Error(`${content.name}: is damaged or not that of ${header.name}; the checksum of '${lead}' is wrong`);
    }
    if (scale > 0 && scale < Infinity) {
      leads.set(canonical(lead), values.map(value => (value === invalid ? NaN : (value - zero) * scale)));
    }
  });
  return { kind: "ecg", name: header.name, fs, leads };
}

/** Whether at least six leads span the same range, as those of LUDB do according to its headers. */
function scaledApart(leads) {
  const ranges = [...leads.values()].map(values => {
    const valid = values.filter(value => !Number.isNaN(value));
    return valid.reduce((a, b) => Math.max(a, b), -Infinity) - valid.reduce((a, b) => Math.min(a, b), Infinity);
  });
  return ranges.length >= 6 && Math.min(...ranges) > 0 && Math.max(...ranges) < 1.02 * Math.min(...ranges);
}

/** Samples of format 16 (two bytes) or 212 (two samples in three bytes). */
function decode(code, bytes) {
  if (code === "16") return Int16Array.from({ length: bytes.byteLength >> 1 }, (_, n) => bytes.getInt16(2 * n, true));
  return Int16Array.from({ length: Math.floor((bytes.byteLength * 2) / 3) }, (_, n) => {
    const start = 3 * (n >> 1);
    const high = bytes.getUint8(start + 1) >> (n % 2 ? 4 : 0); // four bits of each sample
    const value = ((high & 15) << 8) | bytes.getUint8(start + (n % 2 ? 2 : 0));
    return value < 2048 ? value : value - 4096;
  });
}

async function readNeighbours([file]) {
  const table = await readCsv(file);
  const dimensions = table.columns.filter(column => /^z\d+$/.test(column));
  if (!dimensions.length) throw Error(`${file.name}: has no columns z0, z1, ...; choose a table from anyjepa embed`);
  const vectors = dimensions.map(column => numbers(file.name, table, column)); // one per dimension
  const others = row => row.filter((_, place) => !dimensions.includes(table.columns[place]));
  const rows = table.rows.map(row => others(row).map(cell => cell.replace(/^'/, ""))); // which guards formulas
  return { name: file.name, names: others(table.columns), rows, vectors };
}

// From records to the input of the graph

function ecgPart(about, record) {
  const { fs, leads, axes, unit } = about;
  const missing = leads.filter(lead => !record.leads.has(lead));
  const present = [...record.leads.keys()].join(", ");
  if (missing.length) throw Error(`${record.name}: lead ${missing.join(", ")} is missing; the record has ${present}`);
  const rate = +record.fs.toPrecision(6);
  if (Math.abs(rate - fs) > 1e-3 * fs) {
    throw Error(`${record.name}: has ${rate} Hz, but the model reads ${fs} Hz; export it with --fs ${rate}`);
  }
  const samples = record.leads.get(leads[0]).length;
  const [least, most] = axes.samples;
  if (samples < least) throw Error(`${record.name}: is ${samples / fs} s long, but the model needs ${least / fs} s`);
  const length = Math.min(samples, most);
  const slider = at("#part input");
  at("#part").hidden = samples <= most;
  slider.step = Math.ceil(length / 2);
  slider.max = Math.ceil((samples - length) / slider.step) * slider.step; // the last part ends with the record
  const start = Math.min(Number(slider.value), samples - length);
  const parts = leads.map(lead => record.leads.get(lead).subarray(start, start + length));
  const [from, to, end] = [start, start + length, samples].map(count => +(count / fs).toFixed(2));
  at("#part output").textContent = `${from} to ${to} of ${end} s`;
  drawEcg(leads, parts, fs);
  const gap = leads.find((_, place) => parts[place].some(Number.isNaN));
  if (gap) {
    at("#tables").textContent = `Lead ${gap} has invalid samples in this part, which the model cannot read.`;
    return null;
  }
  const scale = MILLIVOLTS[String(unit).toLowerCase()] ?? Number(unit);
  const data = new Float32Array(leads.length * length);
  parts.forEach((part, place) => data.set(part.map(value => value / scale), place * length));
  return new ort.Tensor("float32", data, [1, leads.length, length]);
}

function imagePixels({ session }, { bitmap, name }) {
  const { width, height } = bitmap;
  const paper = new OffscreenCanvas(width, height).getContext("2d");
  paper.fillStyle = "white"; // behind transparent parts
  paper.fillRect(0, 0, width, height);
  paper.drawImage(bitmap, 0, 0);
  const { data } = paper.getImageData(0, 0, width, height);
  const channels = session.inputMetadata[0].shape.at(-1);
  const pixels = new Uint8Array(width * height * channels);
  for (let n = 0; n < width * height; n++) {
    const [red, green, blue] = data.subarray(4 * n, 4 * n + 3);
    if (channels === 1) pixels[n] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    else pixels.set([red, green, blue], 3 * n);
  }
  drawImage(bitmap, name);
  return new ort.Tensor("uint8", pixels, [1, height, width, channels]);
}

// Drawing

/** A canvas of this size in CSS pixels, sharp on any screen, and a reader of the page's colours. */
function canvas(width, height, label) {
  const element = at("canvas");
  Object.assign(element, { width: width * devicePixelRatio, height: height * devicePixelRatio });
  Object.assign(element.style, { width: `${width}px`, height: `${height}px` });
  element.setAttribute("aria-label", label);
  const pen = element.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  const style = getComputedStyle(document.documentElement);
  return { pen, colour: name => style.getPropertyValue(name) };
}

function drawEcg(leads, parts, fs) {
  const seconds = parts[0].length / fs;
  const margin = 44;
  const mm = (PER_MM.s * Math.max(at("figure").clientWidth - margin, 70 * seconds)) / seconds; // pixels
  const width = margin + (seconds / PER_MM.s) * mm;
  const height = (leads.length + 1) * ROW_MM * mm;
  const { pen, colour } = canvas(width, height, `ECG of ${seconds.toFixed(1)} s with ${leads.join(", ")}`);
  for (const [step, name] of [[1, "--fine"], [5, "--coarse"]]) {
    if (step * mm < 3.5) continue;
    pen.strokeStyle = colour(name);
    pen.beginPath();
    for (let x = margin; x <= width; x += step * mm) line(pen, x, 0, x, height);
    for (let y = 0; y <= height; y += step * mm) line(pen, margin, y, width, y);
    pen.stroke();
  }
  pen.strokeStyle = pen.fillStyle = colour("--ink");
  pen.font = "600 13px system-ui, sans-serif";
  pen.textBaseline = "middle";
  leads.forEach((lead, row) => {
    const zero = (row + 1) * ROW_MM * mm;
    pen.fillText(lead, 4, zero);
    pen.beginPath();
    let pause = true; // after an invalid sample
    parts[row].forEach((value, n) => {
      const x = margin + (n / fs / PER_MM.s) * mm;
      const y = zero - (value / PER_MM.mV) * mm;
      if (!pause) pen.lineTo(x, y);
      else if (!Number.isNaN(value)) pen.moveTo(x, y);
      pause = Number.isNaN(value);
    });
    pen.stroke();
  });
  at("figcaption").textContent = "A large square is 0.2 s wide and 0.5 mV high.";
}

function line(pen, x0, y0, x1, y1) {
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
}

function drawImage(bitmap, name) {
  const scale = Math.min(at("figure").clientWidth / bitmap.width, 420 / bitmap.height, 8);
  const { pen } = canvas(bitmap.width * scale, bitmap.height * scale, `Image ${name}`);
  pen.imageSmoothingEnabled = scale < 1;
  pen.drawImage(bitmap, 0, 0, bitmap.width * scale, bitmap.height * scale);
  at("#part").hidden = true;
  at("figcaption").textContent = `${bitmap.width} x ${bitmap.height} pixels; the model sees the central square.`;
}

function classTable({ classes, exclusive, thresholds }, probabilities, decisions) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const rows = classes.map((name, place) => {
    const [value, limit] = [probabilities[place], thresholds?.[place] ?? 0.5];
    if (exclusive) return tableRow([name, bar(value), value.toFixed(3)], place === best);
    const present = Boolean(decisions[place]);
    return tableRow([name, bar(value, limit), value.toFixed(3), limit.toFixed(3), present ? "yes" : "no"], present);
  });
  if (exclusive) return table("Classes, of which one applies", ["class", "", "probability"], rows);
  return table("Classes, each present or not", ["class", "", "probability", "threshold", "present"], rows);
}

function bar(value, limit) {
  const box = document.createElement("div");
  box.dataset.value = value; // with all digits
  box.appendChild(document.createElement("span")).style.width = `${100 * value}%`;
  if (limit !== undefined) box.appendChild(document.createElement("i")).style.left = `${100 * limit}%`;
  return box;
}

/** The most similar records: cosine of vectors that are standardised by the table, as in anyjepa's reports. */
function neighbourTable({ name, names, rows, vectors }, embedding) {
  if (vectors.length !== embedding.length) {
    throw Error(`${name}: has ${vectors.length} values per record, but the model ${embedding.length}; use one model`);
  }
  const [dot, size] = [new Float64Array(rows.length), new Float64Array(rows.length)];
  const average = values => values.reduce((sum, value) => sum + value) / values.length;
  let own = 0;
  vectors.forEach((column, place) => {
    const mean = average(column);
    const spread = Math.max(Math.sqrt(average(column.map(value => (value - mean) ** 2))), 1e-12);
    const query = (embedding[place] - mean) / spread;
    own += query ** 2;
    column.forEach((value, row) => {
      const z = (value - mean) / spread;
      dot[row] += query * z;
      size[row] += z ** 2;
    });
  });
  const similarity = dot.map((value, row) => value / Math.max(Math.sqrt(own * size[row]), 1e-12));
  const order = [...similarity.keys()].sort((a, b) => similarity[b] - similarity[a]).slice(0, NEAREST);
  const shown = order.map(row => tableRow([...rows[row], similarity[row].toFixed(3)]));
  return table(`Most similar of ${rows.length} records`, [...names, "similarity"], shown);
}

function table(title, names, rows) {
  const element = document.createElement("table");
  element.createCaption().textContent = title;
  const head = element.createTHead().insertRow();
  for (const name of names) {
    head.appendChild(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  }
  element.createTBody().append(...rows);
  return element;
}

function tableRow(cells, chosen = false) {
  const row = document.createElement("tr");
  row.classList.toggle("chosen", chosen);
  for (const cell of cells) {
    const element = row.insertCell();
    element.append(cell);
    element.classList.toggle("bar", typeof cell !== "string");
  }
  return row;
}
