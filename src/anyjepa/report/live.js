// Keeps a page up to date: fetches its newer content every two seconds.
(() => {
  "use strict";
  const EVERY_MS = 2000;
  const {drawn, draw, waiting} = window.charts;
  const chartsIn = part => [...part.querySelectorAll(".chart")];
  const figureOf = chart => JSON.parse(chart.nextElementSibling.textContent);
  const namesIn = charts => JSON.stringify(charts.map(chart =>
    [chart.closest("figure").querySelector("h4").textContent, figureOf(chart).data.map(trace => trace.name)]));

  // If the charts have the same series, only their values change, so that zoom and hidden series stay.
  function renew(body) {
    const old = chartsIn(document), fresh = chartsIn(body);
    for (const part of ["header", "#runs"]) {
      const before = document.querySelector(part), after = body.querySelector(part);
      if (before && after && before.innerHTML !== after.innerHTML) before.replaceChildren(...after.childNodes);
    }
    if (namesIn(old) !== namesIn(fresh)) {
      drawn.clear();
      document.querySelector("main").replaceChildren(...body.querySelector("main").childNodes);
      waiting();
      return;
    }
    old.forEach((chart, place) => {
      const text = fresh[place].nextElementSibling.textContent, json = chart.nextElementSibling;
      if (text === json.textContent) return;
      const {data, layout} = JSON.parse(text), figure = drawn.get(chart);
      data.forEach((trace, n) => { trace.visible = figure.data[n].visible ?? true; });
      Object.assign(figure, {data, layout});
      json.textContent = text;
      chart.setAttribute("aria-label", fresh[place].getAttribute("aria-label"));
      const caption = one => one.closest("figure").querySelector("figcaption");
      caption(chart).replaceWith(caption(fresh[place]));
      draw(chart);
    });
  }

  async function follow() {
    const lost = document.getElementById("lost");
    try {
      const answer = await fetch("now");
      renew(new DOMParser().parseFromString(await answer.text(), "text/html").body);
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    setTimeout(follow, EVERY_MS);
  }

  addEventListener("DOMContentLoaded", () => {
    const lost = document.createElement("p");
    lost.id = "lost";
    lost.className = "note warn";
    lost.textContent = "anyjepa watch has ended or does not answer; the page shows what was last known.";
    lost.hidden = true;
    document.body.prepend(lost);
    setTimeout(follow, EVERY_MS);
  });
})();
