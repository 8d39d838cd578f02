"use strict";

// The script of the examples' pages. What a WebSocket needs is in connect and
// send; the rest shows what happens.

const server = document.body.dataset.server; // as in ws://localhost:1234
const path = document.querySelector("#path"); // not on every page
const file = document.querySelector("#file"); // nor is this
const who = document.querySelector("#name"); // nor this
const count = document.querySelector("#count"); // nor this
const [status, button, form, message, sendButton, log] =
  ["status", "connect", "form", "message", "send", "log"].map(id => document.getElementById(id));

let socket;

function connect() {
  const name = who?.value ? "?name=" + encodeURIComponent(who.value) : "";
  const s = new WebSocket(server + (path?.value ?? "/") + name);
  s.binaryType = "arraybuffer";
  s.onopen = () => {
    show("connected", "to " + s.url);
    if (s === socket) setState("open", "connected");
  };
  s.onmessage = event => show("received", event.data);
  s.onclose = event => {
    const closed = `closed (${event.code})`;
    show(closed, event.reason || meanings[event.code] || "");
    if (s === socket) setState("closed", closed);
  };
  socket = s;
  setState("connecting", "connecting …");
  if (count) watch();
}

let watcher;

// watch shows how many are connected, which a connection of its own tells.
function watch() {
  watcher?.close(1000);
  const w = watcher = new WebSocket(server + "/count");
  const say = text => { if (w === watcher) count.textContent = text; };
  w.onmessage = event => say(event.data === "1" ? "nobody else is here" : event.data + " are here");
  w.onclose = () => say("");
}

function send(data) {
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(data);
  show("sent", data);
}

const meanings = {
  1000: "normally",
  1001: "the server is going away",
  1005: "without a reason",
  1006: "the connection was lost, or never made",
  1008: "the server does not put up with this",
  1009: "the message was too big for the server",
  1013: "this page was too slow for what is sent to it",
};

button.onclick = () => {
  if (button.dataset.action === "close") socket.close(1000);
  else connect();
};

form.onsubmit = event => {
  event.preventDefault();
  send(message.value);
  if (document.activeElement === message) message.select(); // the next key replaces it
};

for (const choice of [path, who]) if (choice) choice.onchange = () => {
  socket.close(1000);
  connect();
};

if (file) file.onchange = async () => {
  for (const f of file.files) send(await f.arrayBuffer());
  file.value = ""; // so that the same one can be chosen again
};

function setState(state, text) {
  status.dataset.state = state;
  status.textContent = text;
  const open = state === "open";
  button.textContent = open ? "Disconnect" : "Connect";
  button.dataset.action = open ? "close" : "connect";
  button.disabled = state === "connecting";
  sendButton.disabled = !open;
  if (file) file.disabled = !open;
}

const maxEntries = 500; // of the log; the oldest go first

function show(what, data) {
  const entry = document.createElement("li");
  entry.className = what.split(" ")[0];
  entry.append(element("b", what), " ", element("span", describe(data)), " ",
    element("time", new Date().toLocaleTimeString()));
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(entry);
  if (log.childElementCount > maxEntries) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// element makes an element with a text, which is never taken for HTML.
function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

// describe returns a text that is not too long for the log.
function describe(data) {
  if (typeof data === "string") return shorten(data, 2000);
  const bytes = new Uint8Array(data, 0, Math.min(data.byteLength, 16));
  const hex = Array.from(bytes, b => b.toString(16).padStart(2, "0")).join(" ");
  const more = data.byteLength > bytes.length ? " …" : "";
  return `${data.byteLength} bytes of binary: ${hex}${more}`;
}

function shorten(text, max) {
  return text.length <= max ? text : `${text.slice(0, max)} … (${text.length} characters)`;
}

connect();
