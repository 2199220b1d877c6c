import { useEffect, useState } from "react";

const nothing = { messages: [], state: "connecting", gap: null, error: null };

/**
 * The newest messages of some bindings, newest first, and how the stream is.
 * `warren` is one for the whole page: new Warren(url, options), made outside of components.
 */
export function useWarren(warren, bindings, limit = 100) {
  const [view, setView] = useState(nothing);
  const wanted = JSON.stringify(bindings); // an equal array is no change

  useEffect(() => {
    const set = (change) => setView((now) => ({ ...now, ...change(now) }));
    const sub = warren.open(JSON.parse(wanted));
    sub.on("state", ({ state }) => set(() => ({ state })));
    sub.on("gap", (gap) => set(() => ({ gap }))); // something is missing: load what you show anew
    sub.on("error", (error) => set(() => ({ error }))); // refused for good
    sub.on("message", (message) => set(({ messages }) => ({ messages: [message, ...messages].slice(0, limit) })));
    return () => {
      sub.close();
      setView(nothing);
    };
  }, [warren, wanted, limit]);

  return view;
}
