"use strict";
// Asks the JSON interface and shows what it says. What comes from a peer is put in as text and nowhere becomes markup.

const SEEN = 2000, HIDDEN = 15000, PATIENCE = 8000; // milliseconds
const CERTIFICATES = 60000;
const SLOTS = {
  "idle": [".", "idle"],
  "in": ["i", "the far end calls"],
  "out": ["o", "we call"],
  "setup": ["s", "set up or restarted"],
  "blocked-near": ["b", "blocked here"],
  "blocked-far": ["f", "blocked by the far end"],
  "blocked-unsure": ["u", "unsure, until a restart"],
  "dchannel": ["D", "D channel"],
};
const place = id => document.getElementById(id);

// --- Asking

class NoToken extends Error {}

async function ask(path) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status === 401) throw new NoToken();
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return answer;
}

const json = async path => (await ask(path)).json();

let next, heard, looked = -Infinity, opened;

async function round() {
  try {
    const [status, spans, calls] = await Promise.all(["/api/status", "/api/spans", "/api/calls"].map(json));
    heard = Date.now();
    shown(status, spans, calls);
    await Promise.all([certificates(), ladder()]);
  } catch (fault) {
    unanswered(fault);
  }
  clearTimeout(next);
  next = setTimeout(round, document.hidden ? HIDDEN : SEEN);
}

function shown(status, spans, calls) {
  place("token").hidden = true;
  place("box").hidden = false;
  document.body.classList.remove("old");
  fill("standing", standing(status, calls));
  fill("alarms", status.alarms.length ? status.alarms.map(alarm) : [make("p", { class: "good" }, "No alarm stands.")]);
  fill("trunks", [table(["Trunk", "Standing", "Calls in, out", "Its clock", "Why"], status.trunks.map(trunk))]);
  fill("lines", spans.length ? [...spans.map(line), legend()] : [make("p", { class: "faint" }, "This box has no lines.")]);
  fill("calls", [callTable(calls)]);
  fill("clock", clock(status.clock));
  const worst = status.alarms[0];
  document.title = worst ? `${worst.severity}: ${worst.subject} (${status.alarms.length}) - demarc` : "demarc";
}

function unanswered(fault) {
  if (fault instanceof NoToken) {
    place("box").hidden = true;
    if (place("token").hidden) {
      place("token").hidden = false;
      place("secret").focus();
    }
    place("refused").textContent = sessionStorage.getItem("token") ? "This is not its token." : "";
    fill("standing", ["this box wants a token"]);
    return;
  }
  document.body.classList.add("old");
  document.title = "no answer - demarc";
  const age = heard ? `What stands below is ${duration((Date.now() - heard) / 1000)} old.` : "";
  fill("standing", [make("span", { class: "bad" }, `The box does not answer (${fault.message}). ${age} `),
    "Is it running: systemctl status demarc?"]);
}

// --- Showing: each makes nodes of what it is given

function standing(status, calls) {
  const draining = status.draining ? [make("span", { class: "warn" }, ", draining: no new calls are taken")] : [];
  return [`${status.version}: ${calls.length} ${calls.length === 1 ? "call" : "calls"}`, ...draining];
}

function alarm(it) {
  const bad = it.severity === "critical" || it.severity === "major";
  const what = it.what.startsWith(it.subject) ? it.what : `${it.subject}: ${it.what}`;
  return make("article", { class: it.severity },
    make("h3", {}, make("span", { class: bad ? "bad" : "warn" }, it.severity.toUpperCase()), ` ${what}`),
    make("p", {}, it.breaks), make("p", {}, `What to do: ${it.remedy}`),
    make("p", { class: "faint" }, `since ${it.since}, for ${duration(it.age_seconds)}`));
}

function trunk(it) {
  const word = it.up === null ? "not asked yet" : it.up ? "up" : "DOWN";
  const tone = it.up === null ? "faint" : it.up ? "good" : "bad";
  const most = it.max_calls === null ? "" : ` of ${it.max_calls}`;
  return [it.name, make("span", { class: tone }, `${word} for ${duration(it.since_seconds)}`),
    `${it.calls[0]}, ${it.calls[1]}${most}`, it.clock_offset_seconds === null ? "-" : `${signed(it.clock_offset_seconds)} s`,
    make("div", {}, it.why, ...gateway(it.gateway))];
}

function gateway(view) {
  if (!view) return [];
  const unheard = view.voices.filter(voice => !voice.heard).map(voice => `${voice.voice}: not heard, ${voice.why}`);
  const lines = view.lines.filter(line => line.alarms.length)
    .map(line => `line ${line.name}: ${line.alarms.map(it => it.alarm).join(" ")}`);
  return [...unheard, ...lines, ...view.alarms.map(it => it.name)].map(text => make("p", { class: "warn" }, text));
}

function line(it) {
  const against = [it.why, it.alarms.join(" ")].filter(Boolean).join("; ");
  const loop = it.loop_back && `looped back (${it.loop_back})`;
  const capture = it.capture && `captured to ${it.capture.file}, numbers and all; ${it.capture.missed} frames missed`;
  const by = it.d_channel_stands_by ? ", stands by" : "";
  const fault = it.d_channel_fault ? `; last fault: ${it.d_channel_fault}` : "";
  const link = it.d_channel ? `; D channel ${it.d_channel}${by}${fault}` : "";
  const counters = Object.entries(it.counters ?? {}).map(([name, count]) => `${name.replaceAll("_", " ")} ${count}`);
  return make("article", { id: `line-${it.name}`, class: it.up ? "" : "major" },
    make("h3", {}, `${it.name} `, make("span", { class: it.up ? "good" : "bad" }, it.up ? "up" : `DOWN (${against})`),
      ` for ${duration(it.since_seconds)}`),
    make("p", {}, `${it.line} ${it.switch}, of ${it.trunk ?? "no trunk"}${link}`),
    ...[loop, capture].filter(Boolean).map(text => make("p", { class: "warn" }, text)),
    make("ol", { class: "slots", "aria-label": `timeslots of ${it.name}` }, ...it.timeslots.map(slot)),
    make("p", { class: "faint" }, counters.length ? `so far: ${counters.join(", ")}` : "no counters"),
    make("p", { class: "faint" }, "to block a timeslot: ", make("code", {}, `demarc spans block ${it.name} 1`)));
}

function slot(it) {
  const [letter, what] = SLOTS[it.state] ?? ["?", it.state];
  return make("li", { class: it.state, title: `timeslot ${it.timeslot}: ${what}` }, it.timeslot, make("b", {}, letter));
}

function legend() {
  return make("p", { class: "faint" }, Object.values(SLOTS).map(([letter, what]) => `${letter} ${what}`).join(" · "));
}

function callTable(calls) {
  if (!calls.length) return make("p", { class: "faint" }, "No call.");
  const head = ["Call", "State", "For", "From", "To", "Calling", "Called", "Codecs", "Lost", "MOS"];
  return table(head, calls.map(call), calls.map(it => `call-${it.id}`));
}

function call(it) {
  const scores = it.media.flatMap(side => [side.mos_received, side.mos_sent]).filter(score => score !== null);
  const codecs = it.codecs.map((codec, side) => `${codec ?? "-"}${it.srtp[side] ? " (SRTP)" : ""}`);
  const button = make("button", { type: "button", "data-call": it.id, title: "show its ladder" }, it.id.slice(0, 8));
  return [button, it.held ? `${it.state}, held` : it.state, duration(it.age_seconds), it.from, it.to ?? "-", it.calling,
    it.called, codecs.join(" / "), it.media[0].lost + it.media[1].lost,
    scores.length ? Math.min(...scores).toFixed(2) : "-"];
}

function clock(it) {
  const off = seconds => seconds == null ? "-" : `${signed(seconds.toFixed(3))} s`;
  const error = ((it.error_seconds ?? 0) * 1000).toFixed(0);
  const words = {
    good: ["good", `good: the system's clock is ${off(it.offset_seconds)} off, and is corrected, to ${error} ms`],
    suspect: ["warn", it.why],
    none: ["faint", "the system's, not compared with any other"],
  };
  const [tone, text] = words[it.trust] ?? ["warn", it.trust];
  const rows = it.servers.map(it => [it.name, it.believed ? "yes" : "no", off(it.offset_seconds), it.fault ?? ""]);
  const servers = rows.length ? [table(["Server", "Believed", "We are off by", "Fault"], rows)] : [];
  return [make("p", { class: tone }, text), make("div", { class: "wide" }, ...servers)];
}

async function certificates() {
  if (Date.now() - looked < CERTIFICATES) return;
  const { chain, roots, peers } = await json("/api/certificates");
  looked = Date.now();
  const day = date => date?.slice(0, 10) ?? "?";
  const row = (whose, it) => [whose, it.subject, it.issuer, `${day(it.not_before)} to ${day(it.not_after)}`,
    `${it.key}; ${it.signature}`, it.usages?.join(" ") ?? "any"];
  const rows = [...chain.map((it, at) => row(at ? "our chain" : "ours", it)), ...roots.map(it => row("trusted", it))];
  const named = verdict => peers.filter(peer => peer.verdict === verdict).map(peer => peer.peer).join(", ");
  const faults = peers.filter(peer => peer.configured).flatMap(peer => peer.findings.filter(it => it.verdict === "fail"));
  fill("certificates", [
    make("div", { class: "wide" }, table(["Whose", "Subject", "Issuer", "Good", "Key; signed with", "Usage"], rows)),
    ...faults.map(it => make("p", { class: "bad" }, `${it.subject}: ${it.evidence}; ${it.remedy}`)),
    make("p", { class: "faint" }, `Ours by each generation's rules: good for ${named("pass") || "none"}; refused by `,
      `${named("fail") || "none"}. `, make("code", {}, "demarc certificate FILE"), " says why."),
  ]);
}

// --- A call's ladder

async function ladder() {
  if (!opened) return;
  const id = opened;
  const none = fault => `There is no ladder: ${fault.message}`;
  const text = await ask(`/api/calls/${id}/ladder?text=true`).then(answer => answer.text(), none);
  if (id !== opened) return;
  // A call that begins while this one is read does not take its place.
  if (id === "last") opened = /^call (\w+)/.exec(text)?.[1] ?? id;
  place("ladder-title").textContent = opened === "last" ? "No call so far" : `Call ${opened}`;
  if (place("rungs").textContent !== text) place("rungs").textContent = text;
}

document.addEventListener("click", async event => {
  const button = event.target.closest("[data-call]");
  if (!button) return;
  opened = button.dataset.call;
  await ladder();
  place("ladder").showModal();
});
place("close").addEventListener("click", () => place("ladder").close());
place("ladder").addEventListener("close", () => { opened = undefined; });

// --- Building blocks

/** An element; strings and numbers inside it become text. */
function make(kind, attributes, ...inside) {
  const node = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...inside);
  return node;
}

function table(head, rows, ids = []) {
  const cells = row => row.map((cell, at) => make("td", { "data-name": head[at] }, cell));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head.map(name => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map((row, at) => make("tr", ids[at] ? { id: ids[at] } : {}, ...cells(row)))));
}

function fill(id, parts) {
  children(place(id), parts.map(part => typeof part === "string" ? document.createTextNode(part) : part));
}

/** Makes a node's children equal to `fresh`, and leaves alone what has not changed: focus, selection and scrolling stay. */
function children(parent, fresh) {
  const ids = new Set(fresh.map(node => node.id));
  for (const child of [...parent.childNodes]) if (child.id && !ids.has(child.id)) child.remove();
  fresh.forEach((node, at) => parent.childNodes[at] ? merge(parent.childNodes[at], node) : parent.append(node));
  while (parent.childNodes.length > fresh.length) parent.lastChild.remove();
}

function merge(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.nodeType === Node.TEXT_NODE) return old.replaceWith(fresh);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  children(old, [...fresh.childNodes]);
}

const signed = number => (number > 0 ? `+${number}` : `${number}`);

function duration(seconds) {
  const two = number => String(number).padStart(2, "0");
  const whole = Math.floor(seconds), minutes = Math.floor(whole / 60), hours = Math.floor(whole / 3600);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${minutes}m${two(whole % 60)}s`;
  if (whole < 172800) return `${hours}h${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}

// --- Beginning

place("token").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("token", place("secret").value.trim());
  place("secret").value = "";
  round();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });
round();
