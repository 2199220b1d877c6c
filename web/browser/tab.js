// Tabs as a browser has them: those of playwright are always visible, and never frozen.
import { after } from "node:test";
import { launch } from "./chromium.js";

let whole;
after(async () => (await whole)?.close());

/** Opens tabs of one window, closed after the test; `open(url)` answers `{ front(), send(method, params), evaluate(expression) }`. */
export async function browserWindow(t) {
  const browser = await (await (whole ??= launch())).newBrowserCDPSession();
  const { browserContextId } = await browser.send("Target.createBrowserContext");
  t.after(() => browser.send("Target.disposeBrowserContext", { browserContextId }));
  return {
    async open(url) {
      const { targetId } = await browser.send("Target.createTarget", { url, browserContextId });
      const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: false });
      const waiting = new Map();
      browser.on("Target.receivedMessageFromTarget", (event) => {
        if (event.sessionId !== sessionId) return;
        const { id, result, error } = JSON.parse(event.message);
        waiting.get(id)?.(error ? Promise.reject(new Error(error.message)) : result);
        waiting.delete(id);
      });
      let last = 0;
      const send = (method, params = {}) => new Promise((resolve) => {
        waiting.set(++last, resolve);
        browser.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: last, method, params }) });
      });
      return {
        send,
        front: () => browser.send("Target.activateTarget", { targetId }),
        async evaluate(expression) {
          const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
          if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
          return result.value;
        },
      };
    },
  };
}
