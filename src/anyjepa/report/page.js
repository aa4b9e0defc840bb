// Draws the charts of the page with Plotly, in the colours of the page.
(() => {
  "use strict";
  const root = document.documentElement;
  const css = name => getComputedStyle(root).getPropertyValue(name).trim();
  const touch = matchMedia("(pointer: coarse)").matches;
  const drawn = new Map();  // chart -> its figure
  let paper = false;  // whether the page is being printed

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const decoded = text => new DOMParser().parseFromString(text, "text/html").documentElement.textContent;

  const coloured = value =>
    typeof value === "string" ? value.replace(/^var\((--[\w-]+)\)$/, (_, name) => css(name))
    : Array.isArray(value) ? value.map(coloured)
    : value && typeof value === "object"
      ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part)]))
    : value;

  const axis = (own = {}, narrow) => ({
    automargin: true, gridcolor: css("--rule"), zerolinecolor: css("--muted"), zerolinewidth: 1, ...coloured(own),
    title: {font: {color: css("--muted"), size: 13}, standoff: 8, ...own.title},
    tickfont: {color: own.ticktext ? css("--ink") : css("--muted"), ...own.tickfont},
    ...(own.ticktext && narrow ? {ticktext: own.ticktext.map(text => text.length > 15 ? text.slice(0, 7) + "…" + text.slice(-7) : text)} : {}),
    ...(narrow && !own.ticktext ? {nticks: 5} : {}),
  });

  function layout(own, width) {
    const narrow = width < 480;
    const axes = Object.fromEntries(Object.keys({xaxis: 0, yaxis: 0, ...own}).filter(key => /^[xy]axis/.test(key))
      .map(key => [key, axis(own[key], narrow)]));
    return {
      uirevision: "kept", ...coloured(own), ...axes, autosize: true, showlegend: false, dragmode: touch ? false : "zoom",
      margin: {l: 8, r: 12, t: 30, b: 8, ...own.margin}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: {family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink")},
      hoverlabel: {bgcolor: css("--surface"), bordercolor: css("--muted"), font: {color: css("--ink")}, namelength: -1},
      modebar: {bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--ink")},
    };
  }

  function draw(chart) {
    const figure = drawn.get(chart) ?? JSON.parse(chart.nextElementSibling.textContent);
    const first = !drawn.has(chart);
    drawn.set(chart, figure);
    if (first) { chart.replaceChildren(); filters(chart, figure); }
    Plotly.react(chart, figure.data.map(coloured), layout(figure.layout, chart.clientWidth), {
      responsive: true, displaylogo: false, displayModeBar: paper ? false : touch ? true : "hover", doubleClick: "reset",
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
    });
    if (first && chart.closest(".map")) explore(chart.closest(".map"));
  }

  // A legend of check boxes: what is not checked is hidden.
  function filters(chart, figure) {
    const names = [...new Set(figure.data.filter(trace => trace.name && trace.showlegend !== false).map(trace => trace.name))];
    if (names.length < 2) return;
    const boxes = names.map(name => make("input", {type: "checkbox", checked: "", value: name}));
    const apply = () => {
      const shown = new Set(boxes.filter(box => box.checked).map(box => box.value));
      for (const trace of figure.data) if (trace.name) trace.visible = shown.has(trace.name);
      draw(chart);
    };
    const button = (text, to) => {
      const one = make("button", {type: "button"}, text);
      one.onclick = () => { for (const box of boxes) box.checked = to; apply(); };
      return one;
    };
    const labels = boxes.map((box, place) => {
      box.onchange = apply;
      const trace = figure.data.find(one => one.name === names[place]);
      return make("label", {}, box, sign(trace), decoded(names[place]));
    });
    const more = names.length > 4 ? [button("all", true), button("none", false)] : [];
    chart.before(make("div", {class: "filter", role: "group", "aria-label": "Shown in the chart"}, ...labels, ...more));
  }

  const SIGNS = {circle: "●", "triangle-up": "▲", square: "■", diamond: "◆", "triangle-down": "▼", cross: "✚", x: "✖", star: "★"};
  const DASHES = {solid: "━━", dash: "╍╍", dot: "┅┅", dashdot: "━╍"};
  function sign(trace) {
    const colour = trace.marker?.color ?? trace.line?.color ?? "inherit";
    const text = trace.mode === "lines" ? DASHES[trace.line?.dash ?? "solid"] : SIGNS[trace.marker?.symbol] ?? "■";
    return make("i", {"aria-hidden": "true", style: `color: ${colour}`}, text);
  }

  // The sample behind a point of a map: on hover, until one is chosen by a click or a button.
  async function explore(map) {
    const chart = map.querySelector(".chart"), box = map.querySelector(".sample"), shown = box.querySelector(".shown");
    const {ids, labels, near, cosine, sheet, signals} = JSON.parse(box.nextElementSibling.textContent);
    const slot = box.querySelector(".picture"), paper = slot.querySelector("svg");
    const picture = sheet ? await tiles(sheet) : signals ? await traces(signals, paper) : null;
    const points = new Map();
    const traced = drawn.get(chart).data;
    for (const {x, y, customdata} of traced) customdata.forEach((sample, n) => points.set(sample, [x[n], y[n]]));
    const ring = {symbol: "circle-open", color: "var(--ink)", line: {width: 2}};
    traced.push({x: [], y: [], mode: "markers", hoverinfo: "skip", marker: ring});
    let now = -1, pinned = false;

    function show(sample, pin) {
      pinned ||= pin;
      now = sample;
      shown.hidden = false;
      box.querySelector(".hint").hidden = true;
      box.querySelector(".name").textContent = `${ids[sample]}: ${labels[sample]}`;
      if (picture) slot.replaceChildren(picture(sample, true));
      slot.hidden = !picture;
      box.querySelector(".near").replaceChildren(...near[sample].map((other, n) => {
        const text = `${ids[other]}: ${labels[other]} (${cosine[sample][n].toFixed(2)})`;
        const button = make("button", {type: "button"}, ...(picture ? [picture(other, false)] : []), make("span", {}, text));
        button.onclick = () => show(other, true);
        return make("li", {class: labels[other] === labels[sample] ? "same" : "other"}, button);
      }));
      const places = [sample, ...near[sample]].map(one => points.get(one));
      const last = traced.at(-1);
      [last.x, last.y] = [places.map(place => place[0]), places.map(place => place[1])];
      ring.size = places.map((_, n) => n ? 13 : 22);
      draw(chart);
    }
    const step = by => show((now + by + ids.length) % ids.length, true);
    box.querySelector(".back").onclick = () => step(-1);
    box.querySelector(".on").onclick = () => step(1);
    chart.on("plotly_click", event => show(event.points[0].customdata, true));
    chart.on("plotly_hover", event => { if (!pinned && !touch) show(event.points[0].customdata, false); });
    show(0, false);
  }

  async function tiles({uri, width, height, columns}) {
    const image = new Image();
    image.src = uri;
    await image.decode();
    return sample => {
      const canvas = make("canvas", {width, height});
      canvas.getContext("2d").drawImage(image, -(sample % columns) * width, -Math.floor(sample / columns) * height);
      return canvas;
    };
  }

  async function traces({data, length, places}, paper) {
    const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
    const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const values = new Int8Array(await new Response(inflated).arrayBuffer());
    return (sample, full) => {
      const svg = paper.cloneNode(full);
      places.forEach(([x, y, dx, dy, colour], channel) => {
        const first = (sample * places.length + channel) * length;
        let path = "", pen = "M";
        for (let n = 0; n < length; n++) {
          const value = values[first + n];
          if (value === -128) { pen = "M"; continue; }  // a gap
          path += `${pen}${(x + n * dx).toFixed(1)} ${(y - value * dy).toFixed(1)}`;
          pen = "L";
        }
        const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
        for (const [key, to] of Object.entries({d: path, fill: "none", style: `stroke: ${colour}`})) line.setAttribute(key, to);
        svg.append(line);
      });
      return svg;
    };
  }

  const everything = () => [...drawn.keys()].forEach(draw);
  const waiting = () => document.querySelectorAll(".chart").forEach(chart => {
    if (!drawn.has(chart) && !chart.closest("details:not([open])")) draw(chart);
  });

  addEventListener("DOMContentLoaded", () => {
    root.classList.add("scripted");
    for (const one of document.querySelectorAll("details")) one.addEventListener("toggle", waiting);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", everything);
    addEventListener("beforeprint", () => { paper = true; root.classList.add("print"); everything(); });
    addEventListener("afterprint", () => { paper = false; root.classList.remove("print"); everything(); });
    waiting();
  });
  window.charts = {drawn, draw, waiting};  // for live.js
})();
