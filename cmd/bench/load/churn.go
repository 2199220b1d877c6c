package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// ChurnArgs say how many subscriptions to make and delete, by so many workers.
type ChurnArgs struct {
	URL      string `json:"url"` // of the gateway, or of the broker
	Exchange string `json:"exchange"`
	Count    int    `json:"count"`
	Workers  int    `json:"workers"`
}

// ChurnTimes are how long that took, in seconds.
type ChurnTimes struct {
	Create float64 `json:"create"`
	Delete float64 `json:"delete"`
}

// unused is for how long a connection is kept on which nothing is asked: less than the 5 s after which the gateway closes one that
// was never used, for a request that crosses with that is lost.
const unused = 4 * time.Second

// churn makes subscriptions by REST, then deletes them.
func churn(ctx context.Context, args ChurnArgs) (ChurnTimes, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: args.Workers, IdleConnTimeout: unused}, Timeout: helloTimeout}
	defer client.CloseIdleConnections()
	made := make([]string, args.Count)
	var took ChurnTimes
	var err error
	took.Create, err = Parallel(args.Count, args.Workers, func(i int) error {
		body := fmt.Sprintf(`{"bindings":[{"exchange":%q,"routing_key":"k.%d"}]}`, args.Exchange, i)
		var answer struct{ ID string }
		err := call(ctx, client, http.MethodPost, args.URL+"/v1/subscriptions", []byte(body), &answer)
		made[i] = answer.ID
		return err
	})
	if err != nil {
		return took, err
	}
	took.Delete, err = Parallel(args.Count, args.Workers, func(i int) error {
		return call(ctx, client, http.MethodDelete, args.URL+"/v1/subscriptions/"+made[i], nil, nil)
	})
	return took, err
}

func call(ctx context.Context, client *http.Client, method, url string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// Parallel does n tasks with so many workers and answers how many seconds that took.
func Parallel(n, workers int, task func(i int) error) (seconds float64, err error) {
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var tasks sync.WaitGroup
	errs := make([]error, workers)
	begun := time.Now()
	for w := range workers {
		tasks.Go(func() {
			for i := range next {
				if errs[w] = task(i); errs[w] != nil {
					return
				}
			}
		})
	}
	tasks.Wait()
	return time.Since(begun).Seconds(), errors.Join(errs...)
}
