/* Search for pages that are opened as files. Browsers refuse web workers for file: URLs, so the search worker of
   mkdocs-material runs in a hidden frame of the same page instead. Over http nothing is changed. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.loaded = new Promise(resolve => {
        document.addEventListener("DOMContentLoaded", () => this.start(url, resolve))
        if (document.readyState !== "loading") this.start(url, resolve)
      })
    }

    start(url, resolve) {
      if (this.frame.isConnected) return
      document.body.append(this.frame)
      const worker = this.frame.contentWindow
      worker.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      worker.importScripts = (...urls) => urls.reduce((last, next) => last.then(() => load(worker, next)), Promise.resolve())
      load(worker, url).then(resolve)
    }

    postMessage(data) {
      this.loaded.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }

  const load = (worker, url) =>
    new Promise((resolve, reject) => {
      const script = worker.document.createElement("script")
      Object.assign(script, { src: new URL(url, location.href).href, onload: resolve, onerror: reject })
      worker.document.body.append(script)
    })
}
