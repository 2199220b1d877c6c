package transport

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/warren-gateway/warren/broker"
)

// TestSocketsTakeInPartsWhatReadersShare has sockets with little room: what one of them did not take at once it gets while the
// buffer waits for it, and the next reader finds that whole.
func TestSocketsTakeInPartsWhatReadersShare(t *testing.T) {
	const messages, rounds = 100, 3 // about 50 KB at a time
	w := newStretchWorld(t)
	defer w.close()
	log, b := w.logs[0], w.batches[0]
	for _, kind := range []broker.Transport{broker.SSE, broker.SSE, broker.WS, broker.WS} {
		w.attach(t, log, kind, 0)
	}
	var peers sync.WaitGroup
	got, waited := make([]bytes.Buffer, len(w.readers)), 0
	for i, r := range w.readers {
		conn, peer := pair(t)
		if err := conn.SetWriteBuffer(8 << 10); err != nil {
			t.Fatal(err)
		}
		r.onto(conn)
		r.out = waitingOutput{r.out, &waited}
		peers.Go(func() { _, _ = io.Copy(&got[i], peer) })
		w.turn(t, r, b)
	}
	for range rounds {
		w.publish(t, log, messages, 250)
		for _, r := range w.readers {
			w.turn(t, r, b)
		}
	}
	for _, r := range w.readers {
		r.out.close()
	}
	peers.Wait()
	for i, r := range w.readers {
		r.out, r.raw, r.got.bytes = &r.got, nil, got[i].Bytes()
	}
	w.check(t)
	if waited == 0 {
		t.Error("no socket left a part of a write to wait for")
	}
}

// waitingOutput counts the writes that have to wait for the client.
type waitingOutput struct {
	output
	waited *int
}

func (o waitingOutput) write(b *batch) (whole bool, err error) {
	*o.waited++
	return o.output.write(b)
}
