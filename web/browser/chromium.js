// Debian's Chromium, driven by playwright-core: no browser is downloaded.
import { chromium } from "playwright-core";

/** The browser that people have. */
const WHOLE = process.env.WARREN_TEST_CHROMIUM || "/usr/bin/chromium";

/**
 * Chromium without tabs, windows and all that is around a page, where it is installed: pages are the same in it, and a new one
 * costs a third of the time.
 */
export const SHELL = process.env.WARREN_TEST_HEADLESS_SHELL || WHOLE;

/** Launches one; close it yourself. */
export function launch(executablePath = WHOLE) {
  return chromium.launch({
    executablePath,
    ignoreDefaultArgs: ["--disable-back-forward-cache"], // users have it
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--hide-scrollbars"],
  });
}
