// Live updates of the explorer's pages: new blocks at the top, the chart of the last hundred blocks.
"use strict";

const LIMIT = 100;
const SLOTS_MIN = 40;
const ROWS = 10;
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 5, 10, ... that is not below `value`, so that axes end at round numbers.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

// Draw block times as a line and transaction counts as bars, oldest at the left.
function drawChart(svg, points) {
  const width = Math.max(280, svg.clientWidth), height = 240, left = 40, right = 36, top = 12, bottom = 26;
  const slots = Math.max(SLOTS_MIN, points.length);
  const slowest = roundUp(Math.max(1, ...points.map((point) => point.block_ms / 1000)));
  const most = 4 * roundUp(Math.max(1, ...points.map((point) => point.tx_count / 4)));
  const step = (width - left - right) / slots;
  const offset = slots - points.length;
  const x = (index) => left + (offset + index) * step;
  const y = (share) => height - bottom - share * (height - top - bottom);
  const shown = [];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    shown.push(element("line", { class: "axis", x1: left, x2: width - right, y1: y(share), y2: y(share) }));
    shown.push(element("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, Number((slowest * share).toFixed(2))));
    shown.push(element("text", { x: width - right + 8, y: y(share) + 4 }, most * share));
  }
  points.forEach((point, index) => {
    const share = point.tx_count / most;
    if (point.tx_count) shown.push(element("rect", { class: "count", x: x(index) + 1, width: Math.max(1, step - 2), y: y(share), height: y(0) - y(share), rx: 1 }));
  });
  const line = points.map((point, index) => `${(x(index) + step / 2).toFixed(1)},${y(point.block_ms / 1000 / slowest).toFixed(1)}`);
  shown.push(element("polyline", { class: "time", points: line.join(" ") }));
  points.forEach((point, index) => {
    const text = `block ${point.height}: ${(point.block_ms / 1000).toFixed(2)} s, ${point.tx_count} transactions`;
    const area = element("rect", { class: "hover", x: x(index), width: step, y: top, height: height - top - bottom });
    area.append(element("title", {}, text));
    area.addEventListener("pointerenter", () => { document.getElementById("point").textContent = text; });
    shown.push(area);
  });
  if (points.length) {
    shown.push(element("text", { x: x(0), y: height - 6 }, points[0].height));
    if (points.length > 5) shown.push(element("text", { x: width - right, y: height - 6, "text-anchor": "end" }, points[points.length - 1].height));
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(...shown);
  svg.dataset.height = points.length ? points[points.length - 1].height : 0;
}

let points = [];

async function refreshChart(svg) {
  const answer = await fetch(`/api/chart?limit=${LIMIT}`);
  if (!answer.ok) return;
  points = (await answer.json()).items;
  drawChart(svg, points);
  const sum = points.reduce((total, point) => total + point.block_ms, 0);
  document.getElementById("figure-time").textContent = points.length ? `${(sum / points.length / 1000).toFixed(2)} s` : "–";
}

const short = (text) => (text.length <= 20 ? text : `${text.slice(0, 10)}…${text.slice(-6)}`);

function cell(content, className) {
  const made = document.createElement("td");
  made.append(content);
  if (className) made.className = className;
  return made;
}

function link(href, text, title) {
  const made = document.createElement("a");
  made.href = href;
  made.textContent = text;
  if (title) made.title = title;
  return made;
}

function mark(text, className) {
  const made = document.createElement("span");
  made.className = `mark ${className}`.trim();
  made.textContent = text;
  return made;
}

function addRow(body, cells, most) {
  body.querySelector("tr.none")?.remove();
  const row = document.createElement("tr");
  row.className = "new";
  row.append(...cells);
  body.prepend(row);
  while (body.rows.length > most) body.deleteRow(-1);
  return row;
}

function addBlock(body, block) {
  const href = `/blocks/${block.height}`;
  const time = new Date(block.timestamp_ms).toISOString().replace("T", " ").slice(0, 19);
  addRow(body, [
    cell(link(href, block.height)),
    cell(link(href, short(block.id), block.id), "hex"),
    cell(time, "when"),
    cell(String(block.tx_count), "n"),
    cell(String(block.event_count), "n"),
    cell(mark("head", "")),
  ], chart ? ROWS : 25);
}

function markFinal(body, final) {
  for (const row of body.rows) {
    const height = Number(row.cells[0].textContent);
    if (height && height <= final) row.cells[row.cells.length - 1].replaceChildren(mark("final", "ok"));
  }
}

async function refreshTransactions(body) {
  const most = chart ? ROWS : 25;
  const answer = await fetch(`/api/transactions?limit=${most}`);
  if (!answer.ok) return;
  const known = new Set([...body.querySelectorAll("td:first-child a")].map((shown) => shown.title));
  const fresh = (await answer.json()).items.filter((tx) => !known.has(tx.id));
  for (const tx of fresh.reverse()) {
    addRow(body, [
      cell(link(`/transactions/${tx.id}`, short(tx.id), tx.id), "hex"),
      cell(link(`/blocks/${tx.height}`, tx.height)),
      cell(tx.call),
      cell(link(`/accounts/${tx.sender}`, short(tx.sender), tx.sender), "hex"),
      cell(tx.success ? mark("success", "ok") : mark(tx.error_code, "bad")),
    ], most);
  }
}

async function refreshProofs(body) {
  const answer = await fetch("/api/proofs");
  if (!answer.ok) return;
  const newest = Number(body.rows[0]?.dataset.sequence ?? 0);
  const fresh = (await answer.json()).items.filter((proof) => proof.sequence > newest);
  for (const proof of fresh.reverse()) {
    addRow(body, [
      cell(link(`/proofs?job=${proof.job_id}`, short(proof.job_id), proof.job_id), "hex"),
      cell(String(proof.index), "n"),
      cell(link(`/blocks/${proof.height}`, proof.height)),
      cell(short(proof.circuit_hash), "hex"),
      cell(proof.provider_id),
      cell(proof.backend),
      cell(short(proof.fingerprint), "hex"),
      cell(String(proof.latency_ms), "n"),
      cell(proof.verdict ? mark(proof.verdict, "bad") : mark("verified", "ok")),
    ], 25).dataset.sequence = proof.sequence;
  }
}

const byId = (id) => document.getElementById(id);
const chart = byId("chart");
const isListing = chart || ["/blocks", "/transactions", "/proofs"].includes(location.pathname);
const follows = isListing && !location.search;

function show(block) {
  byId("tip").textContent = block.height;
  byId("final").textContent = block.final;
  const blocks = byId("block-rows"), transactions = byId("tx-rows");
  if (follows && blocks) {
    addBlock(blocks, block);
    markFinal(blocks, block.final);
  }
  if (follows && transactions && block.tx_count) refreshTransactions(transactions);
  if (chart) {
    byId("figure-height").textContent = block.height;
    byId("figure-final").textContent = block.final;
    byId("figure-txs").textContent = Number(byId("figure-txs").textContent) + block.tx_count;
    refreshChart(chart);
  }
}

function beat() {
  const pulse = byId("pulse");
  pulse.className = "on";
  void pulse.offsetWidth;
  pulse.className = "on beat";
}

if (chart) {
  refreshChart(chart);
  window.addEventListener("resize", () => drawChart(chart, points));
}
const live = new EventSource("/live");
live.onopen = () => { byId("pulse").className = "on"; };
live.onerror = () => { byId("pulse").className = ""; };
live.onmessage = (message) => {
  const news = JSON.parse(message.data);
  const tip = Number(byId("tip").textContent);
  if (news.kind === "reverted") {
    if (follows && news.height < tip) location.reload();
  } else if (news.kind === "proofs") {
    const proofs = byId("proof-rows");
    if (follows && proofs) refreshProofs(proofs);
  } else if (news.height > tip) {
    // A page that missed some blocks is drawn anew rather than shown with a gap.
    if (follows && news.height > tip + 1) location.reload();
    else { beat(); show(news); }
  }
};
window.addEventListener("pagehide", () => live.close());
