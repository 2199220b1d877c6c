import { ref, shallowRef, toValue, watch } from "vue";

/**
 * The newest messages of some bindings (which may be a ref or a getter), newest first, and how the stream is.
 * `warren` is one for the whole page: new Warren(url, options), made outside of components.
 */
export function useWarren(warren, bindings, limit = 100) {
  const messages = shallowRef([]);
  const state = ref("connecting");
  const gap = shallowRef(null); // something is missing: load what you show anew
  const error = shallowRef(null); // refused for good

  watch(() => JSON.stringify(toValue(bindings)), (wanted, _, onCleanup) => {
    messages.value = [];
    state.value = "connecting";
    gap.value = error.value = null;
    const sub = warren.open(JSON.parse(wanted));
    sub.on("state", (change) => (state.value = change.state));
    sub.on("gap", (frame) => (gap.value = frame));
    sub.on("error", (refusal) => (error.value = refusal));
    sub.on("message", (message) => (messages.value = [message, ...messages.value].slice(0, limit)));
    onCleanup(() => sub.close()); // also when the component goes
  }, { immediate: true });

  return { messages, state, gap, error };
}
