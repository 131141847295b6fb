// Browsers refuse `new Worker()` on pages opened from a file. The search of this site is a worker, so run it in a
// hidden frame there instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.ready = new Promise((resolve, reject) => {
        // Firefox replaces the document of a new frame once it has loaded.
        this.frame.addEventListener("load", () => this.run(url, resolve, reject), { once: true });
      });
      document.body.append(this.frame);
    }

    run(url, resolve, reject) {
      const { contentWindow, contentDocument } = this.frame;
      contentWindow.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = contentDocument.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = reject;
      contentDocument.body.append(script);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
