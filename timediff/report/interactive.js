// Draws the forecast that is chosen, in the colours of the page, again whenever these change.
(() => {
  const look = JSON.parse(document.getElementById("look").textContent);
  const series = document.getElementById("series"), when = document.getElementById("window");
  const narrow = matchMedia("(max-width: 46rem)"), dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function layout(more) {
    const axis = { gridcolor: colour("grid"), linecolor: colour("muted"), zerolinecolor: colour("grid"), automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x unified",
      hoverlabel: { bgcolor: colour("paper"), font: { color: colour("ink") } },
      font: { color: colour("ink"), family: "system-ui, sans-serif", size: narrow.matches ? 12 : 14 },
      margin: { l: 10, r: 10, t: 30, b: 10 }, legend: { orientation: "h", y: -0.15, yanchor: "top" },
      dragmode: narrow.matches ? false : "zoom", ...more,
      xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
    };
  }
  // The bar has a button that sends the data to a server, unless it is told not to.
  const config = { responsive: true, displayModeBar: false, showSendToCloud: false, plotlyServerURL: "" };

  function fan(k, shown) {
    const known = shown.times.length - look.horizon, history = shown.observed[k].slice(0, known);
    const joined = known > 0 && history[known - 1] !== null ? 1 : 0;
    const times = shown.times.slice(known - joined), start = history.slice(known - joined);
    const line = (y, name, colour, more = {}) => ({ x: times, y: [...start, ...y], name, mode: "lines", line: { color: colour }, ...more });
    const [low90, low50, middle, high50, high90] = shown.quantiles[k], ours = colour("series-0");
    const band = (low, high, name, alpha) => [
      line(low, name, "rgba(0,0,0,0)", { showlegend: false, hoverinfo: "skip" }),
      line(high, name, "rgba(0,0,0,0)", { fill: "tonexty", fillcolor: ours + alpha, hoverinfo: "skip" }),
    ];
    const ends = (low, high) => [...start, ...middle].map((_, i) => i < joined ? "" : `${low[i - joined]} to ${high[i - joined]}`);
    const within = ends(low90, high90), half = ends(low50, high50);
    const traces = [
      ...band(low90, high90, "90 % interval", "2e"), ...band(low50, high50, "50 % interval", "59"),
      line(middle, "forecast median", ours, {
        customdata: within.map((text, i) => [text, half[i]]),
        hovertemplate: "%{y}<br>50 %: %{customdata[1]}<br>90 %: %{customdata[0]}",
      }),
      { x: shown.times.slice(0, known), y: history, name: "history", mode: "lines", line: { color: colour("ink"), width: 1.5 } },
    ];
    if (shown.rival) traces.push(line(shown.rival[k], `${look.rival} median`, colour("series-1"), { line: { color: colour("series-1"), dash: "dash", width: 1.5 } }));
    const truth = shown.observed[k].slice(known);
    if (truth.some((value) => value !== null)) traces.push(line(truth, "what happened", colour("ink"), { mode: "lines+markers", line: { color: colour("ink"), width: 1 }, marker: { size: 4 } }));
    const now = shown.times[Math.max(known - 1, 0)];
    Plotly.react("fan", traces, layout({
      height: 440, yaxis: { title: { text: look.units[k] } },
      shapes: [{ type: "line", x0: now, x1: now, yref: "paper", y0: 0, y1: 1, line: { color: colour("ink"), width: 1, dash: "dot" } }],
      annotations: [{ x: now, xanchor: "right", y: 1, yref: "paper", yanchor: "top", text: "now", showarrow: false }],
    }), config);
  }

  function peaks(k, shown) {
    const place = document.getElementById("peaks"), found = shown.peaks[k];
    place.hidden = !found;
    if (!found) return;
    const highest = shown.observed[k].slice(shown.times.length - look.horizon).reduce((a, b) => a === null || b === null ? null : Math.max(a, b));
    Plotly.react("peaks", [{ x: [found.limits[0], ...found.limits], y: [1, ...found.chance], mode: "lines", line: { color: colour("series-0") }, hovertemplate: "%{y:.0%}<extra></extra>" }], layout({
      height: 320, title: { text: "Chance that a limit is exceeded at some step", font: { size: 15 } }, margin: { l: 10, r: 10, t: 50, b: 10 },
      xaxis: { title: { text: look.units[k] ? `limit in ${look.units[k]}` : "limit" } }, yaxis: { range: [0, 1.02], tickformat: ".0%" },
      shapes: highest === null ? [] : [{ type: "line", x0: highest, x1: highest, yref: "paper", y0: 0, y1: 1, line: { color: colour("ink"), width: 1 } }],
      annotations: highest === null ? [] : [{ x: highest, xanchor: "left", y: 1, yref: "paper", yanchor: "top", text: "happened", showarrow: false }],
    }), config);
  }

  function draw() {
    const shown = look.windows[Number(when.value)];
    fan(Number(series.value), shown);
    peaks(Number(series.value), shown);
  }
  for (const changes of [series, when, dark, narrow]) changes.addEventListener("change", draw);
  draw();
})();
