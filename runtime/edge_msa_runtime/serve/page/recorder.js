// Runs in the audio thread: collects the samples of the microphone, and sends them in blocks with their time.
"use strict";

const BLOCK = 2048;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(BLOCK);
    this.size = 0;
    this.time = 0;
  }

  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) {
      return true;
    }
    for (let index = 0; index < channels[0].length; index += 1) {
      if (this.size === 0) {
        this.time = (currentFrame + index) / sampleRate;
      }
      let sum = 0;
      for (const channel of channels) {
        sum += channel[index];
      }
      this.samples[this.size] = sum / channels.length;
      this.size += 1;
      if (this.size === BLOCK) {
        this.port.postMessage({ time: this.time, samples: this.samples }, [this.samples.buffer]);
        this.samples = new Float32Array(BLOCK);
        this.size = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
