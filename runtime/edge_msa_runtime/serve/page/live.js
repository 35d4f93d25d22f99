// The live page: sends sound and pictures to the server that it came from, and draws the predictions.
"use strict";

const SOUND = 1;
const PICTURE = 2;
const HEADER_BYTES = 16;
const SHOWN_SECONDS = 60;
const MAX_BUFFERED = 500000; // bytes that wait to be sent; above it, pictures are dropped
const CLOCK_BLOCKS = 50; // blocks of sound whose least lateness gives the difference between the clocks
const PICTURE_SIZE = 640; // pixels of the longer side
const DEVICES = { audio: "microphone", vision: "camera" };
const NO_SERVER = "The server does not answer. Start it again.";
const SVG = "http://www.w3.org/2000/svg";
const PROBABILITIES = ["classes", "emotions"]; // tasks without a score
const COLORS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb"]; // as in live/colors.py

const find = (id) => document.getElementById(id);
let bundle = null;
let live = null;
let shown = null;

// ---------------------------------------------------------------- inputs

class Live {
  constructor(inputs) {
    this.inputs = inputs;
    this.started = 0;
    this.tracks = [];
    this.context = null;
    this.socket = null;
    this.isReady = false;
    this.isClosing = false;
    this.pictures = { sent: 0, dropped: 0 };
    this.nextPicture = 0;
    this.isEncoding = false;
    this.offset = null; // seconds to add to the time of the sound, to get the time of the page
    this.earliest = Infinity;
    this.blocks = 0;
    this.lost = new Set(); // devices that were unplugged
  }

  now() {
    return (performance.now() - this.started) / 1000;
  }

  async open() {
    const { microphone, camera } = this.inputs;
    await fetch("health").catch(() => {
      throw new Error(NO_SERVER);
    });
    if (microphone || camera) {
      await this.openMedia(microphone, camera);
    }
    if (this.isClosing) { // a device was unplugged meanwhile
      throw new Error(find("message").textContent);
    }
    await this.connect();
  }

  async openMedia(microphone, camera) {
    if (!navigator.mediaDevices || !window.isSecureContext) {
      throw new Error("The browser allows camera and microphone only on localhost or over HTTPS. Open the page there.");
    }
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: microphone && {
        channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false,
      },
      video: camera && { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
    this.tracks = stream.getTracks();
    for (const track of this.tracks) {
      track.addEventListener("ended", () => this.lose(track.kind === "audio" ? "microphone" : "camera"));
    }
    if (microphone) {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("recorder.js");
      await this.context.resume();
      const source = this.context.createMediaStreamSource(new MediaStream(stream.getAudioTracks()));
      this.recorder = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
      this.recorder.port.onmessage = (event) => this.sendSound(event.data);
      source.connect(this.recorder);
    }
    if (camera) {
      const preview = find("preview");
      preview.srcObject = new MediaStream(stream.getVideoTracks());
      preview.hidden = false;
      await preview.play();
      this.canvas = document.createElement("canvas");
      this.waitForPicture();
    }
  }

  // Stop to use a device that delivers nothing any more. A browser would go on with silence and the last picture.
  lose(device) {
    if (this.isClosing || this.lost.has(device)) {
      return;
    }
    this.lost.add(device);
    if (device === "microphone") {
      this.closeRecorder();
    } else {
      closePreview();
    }
    const names = [...this.lost].sort().reverse().join(" and the ");
    const text = `The ${names} stopped. Connect ${this.lost.size > 1 ? "them" : "it"}, and start again.`;
    const { microphone, camera, words } = this.inputs;
    if ((!microphone || this.lost.has("microphone")) && (!camera || this.lost.has("camera")) && words !== "typed") {
      stop(text);
      return;
    }
    find("lost").textContent = `${text} Predictions go on without ${this.lost.size > 1 ? "them" : "it"}.`;
    draw();
  }

  closeRecorder() {
    if (this.recorder) {
      this.recorder.port.onmessage = null;
      this.recorder.disconnect();
    }
    if (this.context && this.context.state !== "closed") {
      this.context.close();
    }
  }

  connect() {
    const address = new URL("live", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      let reason = "";
      let wasOpen = false;
      this.socket.onopen = () => {
        wasOpen = true;
        this.started = performance.now();
        const rate = this.context && this.context.sampleRate;
        this.send({ type: "start", sound_rate: rate, pictures: this.inputs.camera, words: this.inputs.words });
      };
      this.socket.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.type === "ready") {
          this.isReady = true;
          resolve();
        } else if (message.type === "error") {
          reason = message.message;
          tell(reason, true);
        } else {
          receive(message);
        }
      };
      this.socket.onclose = () => {
        const silent = wasOpen ? "The server ended the connection." : NO_SERVER;
        reject(new Error(reason || silent));
        if (!this.isClosing && this.isReady) {
          stop(reason || "The connection to the server ended.");
        }
      };
    });
  }

  send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  sendMedia(kind, time, content) {
    const message = new Uint8Array(HEADER_BYTES + content.byteLength);
    const header = new DataView(message.buffer);
    header.setUint8(0, kind);
    header.setFloat64(8, Math.max(0, time), true);
    message.set(content, HEADER_BYTES);
    this.socket.send(message);
  }

  sendSound({ time, samples }) {
    if (this.tracks.some((track) => track.kind === "audio" && track.readyState === "ended")) {
      this.lose("microphone");
      return;
    }
    if (!this.isReady || this.socket.readyState !== WebSocket.OPEN) {
      this.offset = null;
      return;
    }
    const late = this.now() - time - samples.length / this.context.sampleRate;
    if (this.offset === null) {
      this.offset = late;
    }
    this.earliest = Math.min(this.earliest, late);
    this.blocks += 1;
    if (this.blocks === CLOCK_BLOCKS) {
      this.offset = this.earliest; // the server corrects the difference slowly
      this.blocks = 0;
      this.earliest = Infinity;
    }
    this.sendMedia(SOUND, time + this.offset, new Uint8Array(samples.buffer));
  }

  waitForPicture() {
    const preview = find("preview");
    const next = (_, metadata) => {
      if (this.isClosing || this.lost.has("camera")) {
        return;
      }
      if (this.tracks.some((track) => track.kind === "video" && track.readyState === "ended")) {
        this.lose("camera");
        return;
      }
      const taken = metadata && (metadata.captureTime || metadata.presentationTime || metadata.expectedDisplayTime);
      this.takePicture(preview, taken || performance.now());
      this.waitForPicture();
    };
    if (preview.requestVideoFrameCallback) {
      preview.requestVideoFrameCallback(next);
    } else {
      setTimeout(next, 1000 / (2 * bundle.picture_rate));
    }
  }

  takePicture(preview, taken) {
    const time = Math.min((taken - this.started) / 1000, this.now());
    if (!this.isReady || time < this.nextPicture || !preview.videoWidth) {
      return;
    }
    this.nextPicture = (Math.floor(time * bundle.picture_rate + 1e-6) + 1) / bundle.picture_rate;
    if (this.isEncoding || this.socket.bufferedAmount > MAX_BUFFERED) {
      this.pictures.dropped += 1;
      return;
    }
    const scale = Math.min(1, PICTURE_SIZE / Math.max(preview.videoWidth, preview.videoHeight));
    this.canvas.width = Math.round(preview.videoWidth * scale);
    this.canvas.height = Math.round(preview.videoHeight * scale);
    this.canvas.getContext("2d", { alpha: false }).drawImage(preview, 0, 0, this.canvas.width, this.canvas.height);
    this.isEncoding = true;
    this.canvas.toBlob(async (blob) => {
      const content = blob && new Uint8Array(await blob.arrayBuffer());
      this.isEncoding = false;
      if (content && this.socket.readyState === WebSocket.OPEN) {
        this.sendMedia(PICTURE, time, content);
        this.pictures.sent += 1;
      }
    }, "image/jpeg", 0.9);
  }

  close() {
    this.isClosing = true;
    if (this.socket) {
      this.socket.close();
    }
    this.closeRecorder();
    for (const track of this.tracks) {
      track.stop();
    }
    closePreview();
  }
}

function closePreview() {
  const preview = find("preview");
  preview.hidden = true;
  preview.srcObject = null;
}

// ---------------------------------------------------------------- messages

function tell(text, isError = false) {
  find("message").textContent = text;
  find("message").classList.toggle("error", isError);
}

function receive(message) {
  if (message.type === "prediction") {
    shown.predictions.push(message);
    shown.latest = message;
    shown.received = live.now();
    showPrediction(message);
  } else if (message.type === "words") {
    showWords(message);
  } else if (message.type === "status") {
    shown.status = message;
  } else if (message.type === "note") {
    tell(message.message);
  }
  draw();
}

function showPrediction(message) {
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  let label = message.label || "score";
  if (message.score === null) {
    const [name, value] = Object.entries(message.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
    find("score").textContent = `${name} ${Math.round(100 * value)} %`;
    label = message.label === name ? `most probable ${bundle.task.kind === "classes" ? "class" : "emotion"}` : message.label;
  } else {
    find("score").textContent = signed(message.score);
  }
  find("label").textContent = label + (message.final ? " (end of utterance)" : "");
  const covered = `${Math.round(100 * bundle.coverage)} %`;
  find("interval").textContent = message.interval
    ? `${covered} interval ${signed(message.interval[0])} to ${signed(message.interval[1])}`
    : message.prediction_set
      ? `${covered} set: ${message.prediction_set.join(", ")}`
      : "";
  if (message.warnings.length) {
    tell(message.warnings.join(" "));
  }
  if (message.final) {
    for (const part of find("words").querySelectorAll("span")) {
      part.className = "past";
    }
  }
}

function clearResult() {
  find("label").textContent = "no prediction yet";
  for (const id of ["score", "interval", "words"]) {
    find(id).replaceChildren();
  }
}

function showWords(message) {
  const words = find("words");
  const part = document.createElement("span");
  part.textContent = `${message.words.join(" ")} `;
  words.append(part);
  while (words.childNodes.length > 200) {
    words.firstChild.remove();
  }
  words.scrollTop = words.scrollHeight;
}

// ---------------------------------------------------------------- figures and chart

function draw() {
  drawModalities();
  drawFigures();
  drawChart();
}

function drawModalities() {
  const latest = shown && shown.latest;
  const items = Object.keys(bundle.modalities).map((name) => {
    const item = document.createElement("li");
    const title = document.createElement("b");
    const detail = document.createElement("span");
    title.textContent = name;
    const known = latest && latest.ages[name];
    const isKnown = Boolean(live) && known !== undefined && known !== null;
    const isLost = Boolean(live) && live.lost.has(DEVICES[name]);
    const isUsed = isKnown && !isLost && latest.subset.includes(name[0]);
    item.className = isUsed ? "used" : "";
    const missing = latest && latest.masked[name] ? `, ${Math.round(100 * latest.masked[name])} % missing` : "";
    const age = isKnown ? known + live.now() - shown.received : 0;
    detail.textContent = isKnown ? `${isUsed ? "used" : "absent"}, ${age.toFixed(1)} s old${missing}` : live ? "absent" : "stopped";
    if (!shown) {
      detail.textContent = "";
    }
    item.append(title, detail);
    return item;
  });
  find("modalities").replaceChildren(...items);
}

function drawFigures() {
  const rows = [];
  if (shown) {
    const latest = shown.latest;
    rows.push(["time", live ? `${live.now().toFixed(0)} s` : "stopped"]);
    if (latest) {
      rows.push(["model", `${latest.latency_ms.toFixed(1)} ms, ${latest.subset} on ${bundle.backend} at ${bundle.precision}`]);
      const newest = newestInput(latest);
      if (newest !== null) {
        rows.push(["newest input to prediction", `${Math.max(0, 1000 * (shown.received - newest)).toFixed(0)} ms`]);
      }
    }
    const status = shown.status;
    if (status) {
      if (status.pictures.received) {
        const dropped = status.pictures.dropped + shown.pictures.dropped;
        rows.push(["pictures", `${status.pictures.received - status.pictures.dropped} used, ${dropped} dropped to keep real time`]);
      }
      if (status.sound_seconds) {
        rows.push(["sound", `${status.sound_seconds.toFixed(0)} s, ${status.waiting_seconds.toFixed(1)} s waiting`]);
      }
      if (live && live.inputs.words === "recognized") {
        rows.push(["speech recognizer", `${status.unrecognized_seconds.toFixed(1)} s of sound waiting`]);
      }
      if (status.overdue) {
        rows.push(["predictions", `${status.overdue} left out to keep real time`]);
      }
      for (const [name, count] of Object.entries(status.counters)) {
        const unused = ["late", "duplicate", "overflow", "refused", "missing"].filter((kind) => count[kind]);
        const rest = unused.map((kind) => `, ${count[kind]} ${kind}`).join("");
        const masked = count.masked ? `, ${count.masked} masked` : "";
        const unit = name === "language" && bundle.accepts_text ? "words" : "frames";
        rows.push([name, `${count.used} ${unit} used${masked}${rest}`]);
      }
    }
  }
  find("figures").replaceChildren(...rows.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = value;
    return [term, detail];
  }));
}

function newestInput(prediction) {
  // Words are older than sound and pictures: somebody types them, or the recognizer waits for more sound.
  const ages = Object.keys(DEVICES).map((name) => prediction.ages[name]).filter((age) => age !== undefined && age !== null);
  return ages.length ? prediction.at - Math.min(...ages) : null;
}

function element(name, attributes, text) {
  const created = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    created.setAttribute(key, value);
  }
  if (text !== undefined) {
    created.textContent = text;
  }
  return created;
}

function drawChart() {
  const chart = find("chart");
  const width = chart.clientWidth;
  const height = chart.clientHeight;
  const task = bundle.task;
  const isScore = !PROBABILITIES.includes(task.kind);
  const end = Math.max(SHOWN_SECONDS, live ? live.now() : shown && shown.latest ? shown.latest.at : 0);
  const begin = end - SHOWN_SECONDS;
  const points = shown ? shown.predictions.filter((item) => item.at >= begin) : [];
  if (shown) {
    shown.predictions = shown.predictions.filter((item) => item.at >= begin - 5);
  }
  const [low, high] = chartScale(task, points, isScore);
  const left = 34;
  const bottom = height - 36;
  const x = (time) => left + ((time - begin) / SHOWN_SECONDS) * (width - left - 8);
  const y = (value) => 8 + ((high - Math.min(high, Math.max(low, value))) / (high - low)) * (bottom - 8);
  const parts = [];
  for (const value of [low, (low + high) / 2, high]) {
    const kind = isScore && value === 0 ? "zero" : "grid";
    parts.push(element("line", { class: kind, x1: left, x2: width - 8, y1: y(value), y2: y(value) }));
    parts.push(element("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Math.round(100 * value) / 100)));
  }
  for (let time = Math.ceil(begin / 15) * 15; time <= end; time += 15) {
    const anchor = x(time) > width - 24 ? "end" : "middle";
    parts.push(element("text", { x: anchor === "end" ? width - 2 : x(time), y: height - 4, "text-anchor": anchor }, `${time} s`));
  }
  for (const utterance of splitUtterances(points)) {
    const last = utterance[utterance.length - 1];
    if (task.kind === "classes") {
      drawStack(parts, utterance, x, y);
    } else if (!isScore) {
      task.labels.forEach((name, index) => {
        const path = utterance.map((item) => `${x(item.at)},${y(item.probabilities[name])}`).join(" ");
        parts.push(element("polyline", { class: "share", stroke: labelColor(index), points: path }));
      });
    } else {
      const band = utterance.filter((item) => item.interval);
      if (band.length > 1) {
        const upper = band.map((item) => `${x(item.at)},${y(item.interval[1])}`);
        const lower = band.map((item) => `${x(item.at)},${y(item.interval[0])}`).reverse();
        parts.push(element("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
      }
      const path = utterance.map((item) => `${x(item.at)},${y(item.score)}`).join(" ");
      parts.push(element("polyline", { class: "line", points: path }));
      parts.push(element("circle", { class: last.final ? "final" : "point", cx: x(last.at), cy: y(last.score), r: 4 }));
    }
    if (last.final) {
      parts.push(element("line", { class: "end", x1: x(last.at), x2: x(last.at), y1: 8, y2: bottom }));
    }
  }
  drawSubsets(parts, points, x, bottom);
  chart.replaceChildren(...parts);
}

// Bars of probabilities that add up to 1. A prediction stands for the time since the one before, at most a second.
function drawStack(parts, utterance, x, y) {
  utterance.forEach((item, index) => {
    const from = Math.max(item.at - 1, index ? utterance[index - 1].at : item.at - 0.5, 0);
    const isSure = !item.prediction_set || item.prediction_set.length === 1;
    let sum = 0;
    bundle.task.labels.forEach((name, number) => {
      const bottom = y(sum);
      sum += item.probabilities[name];
      const size = { x: x(from), y: y(sum), width: Math.max(1, x(item.at) - x(from)), height: Math.max(0, bottom - y(sum)) };
      parts.push(element("rect", { ...size, class: "bar", fill: labelColor(number), opacity: isSure ? 1 : 0.45 }));
    });
  });
}

function labelColor(number) {
  return number < COLORS.length ? COLORS[number] : `hsl(${(number * 67) % 360} 60% 50%)`;
}

function chartScale(task, points, isScore) {
  if (!isScore) {
    return [0, 1];
  }
  if (task.low !== null && task.high !== null) {
    return [task.low, task.high];
  }
  const values = points.flatMap((item) => [item.score, ...(item.interval || [])]);
  const low = Math.min(-1, ...values);
  const high = Math.max(1, ...values);
  return [low, high];
}

function splitUtterances(points) {
  const utterances = [];
  let isNew = true;
  for (const point of points) {
    if (isNew) {
      utterances.push([]);
    }
    utterances[utterances.length - 1].push(point);
    isNew = point.final;
  }
  return utterances;
}

function drawSubsets(parts, points, x, bottom) {
  Object.keys(bundle.modalities).forEach((name, row) => {
    const top = bottom + 2 + row * 5;
    points.forEach((item, index) => {
      if (item.subset.includes(name[0])) {
        const next = index + 1 < points.length ? points[index + 1].at : item.at + 0.5;
        const from = x(item.at);
        const until = Math.min(x(next), x(item.at + 1));
        parts.push(element("rect", { class: "subset", x: from, y: top, width: Math.max(1, until - from), height: 4 }));
      }
    });
  });
}

function showLegend() {
  const legend = find("legend");
  legend.replaceChildren();
  const add = (text, color = null) => {
    const part = document.createElement("span");
    if (color) {
      const mark = document.createElement("span");
      mark.textContent = "\u25a0 ";
      mark.style.color = color;
      part.append(mark);
    }
    part.append(text);
    legend.append(part, " ");
  };
  if (PROBABILITIES.includes(bundle.task.kind)) {
    add("Probability of");
    bundle.task.labels.forEach((name, index) => add(name, labelColor(index)));
    add(`over the last minute.${bundle.has_prediction_sets ? " Pale: the set has several classes." : ""}`);
  } else {
    add(`Score over the last minute. ${bundle.has_intervals ? "The band is its interval. " : ""}`);
  }
  const names = Object.keys(bundle.modalities);
  if (names.length > 1) {
    add(`Bars below, from top to bottom: ${names.join(", ")}.`, "var(--green)");
  }
}

// ---------------------------------------------------------------- controls

async function start() {
  const mode = find("words-mode").value || null;
  const inputs = {
    microphone: Boolean(bundle.needs.microphone) && find("microphone").checked,
    camera: Boolean(bundle.needs.camera) && find("camera").checked,
    words: bundle.needs.words.length ? mode : null,
  };
  if (inputs.words === "recognized" && !inputs.microphone) {
    inputs.words = null;
  }
  if (!inputs.microphone && !inputs.camera && inputs.words !== "typed") {
    tell("Choose at least one input.", true);
    return;
  }
  find("start").setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
  find("lost").textContent = "";
  tell("Starting.");
  clearResult();
  live = new Live(inputs);
  shown = { predictions: [], latest: null, received: 0, status: null, pictures: live.pictures };
  try {
    await live.open();
  } catch (error) {
    stop(explain(error));
    return;
  }
  tell("Live.");
  setRunning(true);
}

function explain(error) {
  const reasons = {
    NotAllowedError: "The browser denied the camera or the microphone. Allow it for this page, and start again.",
    NotFoundError: "There is no such camera or microphone. Connect one, or remove its check mark.",
    NotReadableError: "The camera or the microphone is used by another program. Close it, and start again.",
  };
  return reasons[error.name] || error.message;
}

function stop(problem = "") {
  if (live) {
    live.close();
    live = null;
  }
  setRunning(false);
  find("lost").textContent = "";
  tell(problem || "Stopped.", Boolean(problem));
  draw();
}

function setRunning(isRunning) {
  find("start").removeAttribute("aria-disabled");
  find("start").textContent = isRunning ? "Stop" : "Start";
  find("end").disabled = find("reset").disabled = !isRunning;
  find("typing").querySelector("button").disabled = !isRunning;
  for (const id of ["microphone", "camera", "words-mode"]) {
    find(id).disabled = isRunning;
  }
}

function showWordsMode() {
  find("typing").hidden = find("words-mode").value !== "typed";
}

function showBundle() {
  find("title").textContent = `${bundle.name}, live`;
  const scale = bundle.task.low === null ? "" : ` from ${bundle.task.low} to ${bundle.task.high}`;
  const isSentiment = !PROBABILITIES.includes(bundle.task.kind);
  const predicts = isSentiment ? `sentiment${scale}` : `${bundle.task.kind} (${bundle.task.labels.join(", ")})`;
  const names = Object.keys(bundle.modalities);
  const meaning = isSentiment
    ? "A score below 0 means negative sentiment, a score above 0 positive sentiment, and the distance from 0 how strong it is."
    : `The page shows the most probable ${bundle.task.kind === "classes" ? "class" : "emotion"}, and the probability of each one.`;
  find("bundle").textContent = `Predicts ${predicts} from ${names.join(", ")}. ${meaning}`;
  const letters = { language: "l is language (words)", audio: "a is audio (sound)", vision: "v is vision (pictures)" };
  const explained = names.map((name) => letters[name]).join(", ");
  const all = names.map((name) => name[0]).join("");
  find("letters").textContent = `Letters name the modalities of a prediction: ${explained}${names.length > 1 ? `; ${all} is ${names.join(" and ")} together` : ""}.`;
  find("microphone-label").hidden = !bundle.needs.microphone;
  find("camera-label").hidden = !bundle.needs.camera;
  const modes = bundle.needs.words;
  find("words-label").hidden = find("words-section").hidden = !modes.length;
  for (const mode of [...modes, "none"]) {
    const option = document.createElement("option");
    option.value = mode === "none" ? "" : mode;
    option.textContent = mode;
    find("words-mode").append(option);
  }
  showWordsMode();
  showLegend();
  const canStart = bundle.needs.microphone || bundle.needs.camera || modes.length;
  find("start").disabled = !canStart;
  find("privacy").hidden = !canStart;
  tell(canStart ? "" : "This server predicts from frames only. See the HTTP interface below.");
  draw();
}

find("start").addEventListener("click", () => {
  if (!find("start").hasAttribute("aria-disabled")) {
    if (live) {
      stop();
    } else {
      start();
    }
  }
});
find("end").addEventListener("click", () => live && live.send({ type: "end_utterance", time: live.now() }));
find("reset").addEventListener("click", () => {
  if (live) {
    live.send({ type: "reset", time: live.now() });
    shown.predictions = [];
    shown.latest = null;
    clearResult();
    draw();
  }
});
find("words-mode").addEventListener("change", showWordsMode);
find("typing").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("typed").value.trim();
  if (live && text) {
    live.send({ type: "words", text, time: live.now() });
    find("typed").value = "";
  }
});
window.addEventListener("resize", () => bundle && draw());
window.addEventListener("pagehide", () => live && live.close());
fetch("bundle")
  .then((response) => response.json())
  .then((value) => {
    bundle = value;
    showBundle();
  })
  .catch(() => tell("The server does not answer. Start it again, and reload this page.", true));
