// Debian's Chromium, driven by playwright-core: no browser is downloaded.
import { chromium } from "playwright-core";

/** Launches one; close it yourself. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.WARREN_TEST_CHROMIUM || "/usr/bin/chromium",
    ignoreDefaultArgs: ["--disable-back-forward-cache"], // users have it
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--hide-scrollbars"],
  });
}
