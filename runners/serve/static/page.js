"use strict";

const element = (id) => document.getElementById(id);
let attached = null; // {field, name, data}
let sent = 0; // requests so far: a late answer to an earlier one is not shown

function attach(file) {
  if (!file) return;
  const reader = new FileReader();
  reader.onload = () => {
    const data = reader.result.slice(reader.result.indexOf(",") + 1);
    attached = { field: file.type.startsWith("image/") ? "image" : "file", name: file.name, data };
    element("chosen").textContent = file.name;
    element("remove").hidden = false;
  };
  reader.onerror = () => showError(`${file.name} can't be read`);
  reader.readAsDataURL(file);
}

function detach() {
  attached = null;
  element("file").value = "";
  element("chosen").textContent = "";
  element("remove").hidden = true;
}

function showError(message) {
  element("error").textContent = message;
  element("error").hidden = false;
  element("answer").hidden = true;
  element("hint").hidden = true;
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const key = element("key").value.trim();
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

function request() {
  const text = element("text").value;
  const labels = element("labels").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const body = { labels, priority: "fast" };
  if (text.trim()) body.text = text;
  if (attached) body[attached.field] = attached.data;
  return body;
}

function bar(item, isChosen) {
  const row = document.createElement("li");
  if (isChosen) row.className = "chosen";
  const head = document.createElement("div");
  head.className = "head";
  const name = document.createElement("bdi");
  name.textContent = item.label;
  const value = document.createElement("span");
  value.textContent = `${(item.confidence * 100).toFixed(1)}%`;
  head.append(name, value);
  const track = document.createElement("div");
  track.className = "track";
  const fill = document.createElement("div");
  fill.className = "fill";
  fill.style.width = `${item.confidence * 100}%`;
  track.append(fill);
  row.append(head, track);
  return row;
}

function show(all, one, threshold) {
  const chosen = one ? [one.label] : all.labels.filter((item) => item.confidence >= threshold).map((item) => item.label);
  element("label").textContent = chosen.length ? chosen.join(", ") : "none of them";
  element("confidence").textContent = one
    ? `${(one.confidence * 100).toFixed(1)}% sure, if one of the labels is right`
    : `labels at ${Math.round(threshold * 100)}% or more`;
  element("bars").replaceChildren(...all.labels.map((item) => bar(item, chosen.includes(item.label))));
  const answer = one || all;
  element("evidence").textContent = answer.evidence || "";
  element("evidence").hidden = element("evidence-name").hidden = !answer.evidence;
  element("tokens").textContent = `${answer.tokens.toLocaleString("en")}${answer.visual_tokens ? `, ${answer.visual_tokens} of them of pictures` : ""}`;
  element("time").textContent = `${answer.latency_ms.toFixed(1)} ms${answer.cached ? ", from the cache" : ""}`;
  element("error").hidden = element("hint").hidden = true;
  element("answer").hidden = false;
}

async function classify() {
  const number = ++sent;
  const body = request();
  const isOne = document.querySelector("input[name=mode]:checked").value === "classify";
  element("classify").disabled = true;
  try {
    const [all, one] = await Promise.all([
      post("v1/tag", { ...body, threshold: 0 }),
      isOne ? post("v1/classify", body) : null,
    ]);
    if (number === sent) show(all, one, Number(element("threshold").value));
  } catch (error) {
    if (number === sent) showError(error instanceof TypeError ? "The server can't be reached" : error.message);
  } finally {
    element("classify").disabled = false;
  }
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  classify();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    classify();
  }
});
element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", () => attach(element("file").files[0]));
element("remove").addEventListener("click", detach);
element("threshold").addEventListener("input", () => {
  element("threshold-value").textContent = Number(element("threshold").value).toFixed(2);
});
for (const choice of document.querySelectorAll("input[name=mode]")) {
  choice.addEventListener("change", () => {
    element("with-threshold").hidden = choice.value !== "tag";
  });
}
const text = element("text");
for (const name of ["dragenter", "dragover"]) {
  text.addEventListener(name, (event) => {
    event.preventDefault();
    text.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) text.addEventListener(name, () => text.classList.remove("over"));
text.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  attach(event.dataTransfer.files[0]);
});
