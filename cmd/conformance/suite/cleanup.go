package suite

import (
	"context"
	"net/http"
	"time"
)

// delete deletes a subscription after its check; it is gone already where the check deleted it.
func (w *World) delete(path string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if w.requests.Wait(ctx) != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, w.base.JoinPath(path).String(), nil)
	if err != nil {
		return
	}
	w.authorize(req.Header)
	resp, err := (&http.Client{Transport: w.transport}).Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
}
