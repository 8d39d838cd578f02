// An echo server or client with the package ws, which obeys as the Go tests say.
// See script_test.go for how it is called.
"use strict";

const fs = require("fs");
const http = require("http");
const https = require("https");
const readline = require("readline");
const {WebSocket, WebSocketServer} = require("ws");

const subprotocol = "interop.example";
const {url, pem, deflate} = JSON.parse(process.argv[2]);
const credentials = pem ? fs.readFileSync(pem) : undefined;
const perMessageDeflate = deflate ? {
	serverNoContextTakeover: !deflate.takeover,
	clientNoContextTakeover: !deflate.takeover,
	serverMaxWindowBits: deflate.windowBits,
	clientMaxWindowBits: deflate.windowBits,
	threshold: 0,
} : false;

function cut(data, n) {
	const size = Math.floor(data.length / n);
	return Array.from({length: n}, (_, i) => data.subarray(i * size, i === n - 1 ? data.length : (i + 1) * size));
}

function obey(ws, data, isBinary) {
	const order = isBinary ? null : /^do (\w+) (\d+) ([^]*)$/.exec(data.toString());
	if (!order) {
		ws.send(data, {binary: isBinary});
		return;
	}
	const [, verb, number, text] = order;
	switch (verb) {
	case "ping":
		ws.ping(text);
		break;
	case "fragments":
		cut(Buffer.from(text), +number).forEach((piece, i) => ws.send(piece, {binary: false, fin: i === number - 1}));
		break;
	case "close":
		if (+number === 1005) ws.close(); else ws.close(+number, text);
		break;
	}
}

function echo(ws) {
	let failure = "";
	ws.on("message", (data, isBinary) => obey(ws, data, isBinary));
	ws.on("pong", data => ws.send("pong " + data));
	ws.on("error", e => { failure = e.message; });
	ws.on("close", (code, reason) => console.log(`ended ${code} ${failure || reason}`));
}

function serve() {
	const server = pem ? https.createServer({cert: credentials, key: credentials}) : http.createServer();
	const sockets = new WebSocketServer({server, perMessageDeflate, handleProtocols: offered => offered.has(subprotocol) && subprotocol});
	sockets.on("connection", echo);
	server.listen(0, "127.0.0.1", () => console.log(`listening ${pem ? "wss" : "ws"}://127.0.0.1:${server.address().port}`));
}

const lines = readline.createInterface({input: process.stdin});
if (!url) serve();
lines.on("line", () => echo(new WebSocket(url, subprotocol, {perMessageDeflate, ca: credentials})));
lines.on("close", () => process.exit());
