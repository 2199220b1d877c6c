package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// object is a JSON object.
type object = map[string]any

// Reply is an answer with its body read.
type Reply struct {
	Status int
	Proto  int // the major version of HTTP
	Header http.Header
	Raw    []byte
	Body   object // nil if the body is no JSON object
}

// Code returns the code of a problem document, or "".
func (r *Reply) Code() string { return str(r.Body, "code") }

// Refused tells whether the answer is a problem of this status, code and field ("" for any).
func (r *Reply) Refused(status int, code, field string) bool {
	return r.Status == status && r.Code() == code && (field == "" || str(r.Body, "field") == field) &&
		strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json")
}

// String is what to say was seen.
func (r *Reply) String() string {
	if code := r.Code(); code != "" {
		out := []string{statusText(r.Status), code}
		for _, name := range []string{"field", "binding", "limit"} {
			if v, ok := r.Body[name]; ok {
				out = append(out, name, text(v))
			}
		}
		return strings.Join(out, " ")
	}
	return statusText(r.Status)
}

// Call is a request to be made.
type Call struct {
	Method string
	Path   string // with its query
	Body   any    // string and []byte as they are, nil for none, anything else as JSON
	Header http.Header
	Host   string
	Plain  bool // not held to the contract: one of many large ones, all alike
}

// header makes a header of name, value pairs.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for pair := range slices.Chunk(pairs, 2) {
		h.Add(pair[0], pair[1])
	}
	return h
}

// client makes a client whose exchanges are held to the contract; faults fail the check.
func (t *T) client(next http.RoundTripper) *http.Client {
	if t.options.Front != nil {
		next = proxied{next}
	}
	return &http.Client{
		Transport:     t.contract.RoundTripper(next, func(fault string) { t.Errorf("against the contract: %s", fault) }),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do makes a request and reads the answer.
func (t *T) Do(c Call) *Reply {
	req := t.request(c)
	if err := t.requests.Wait(t.ctx); err != nil {
		t.Fatalf("%s %s: %v", c.Method, c.Path, err)
	}
	client := t.client(t.transport)
	if c.Plain {
		client = &http.Client{Transport: t.transport}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", c.Method, c.Path, err)
	}
	return t.read(resp)
}

// atOnce makes n requests at the same time.
func (t *T) atOnce(n int, call func(i int) Call) []*Reply {
	replies, errs := make([]*Reply, n), make([]error, n)
	client := t.client(t.transport)
	var all sync.WaitGroup
	for i := range n {
		req := t.request(call(i))
		t.Must(t.requests.Wait(t.ctx))
		all.Go(func() {
			resp, err := client.Do(req)
			if errs[i] = err; err != nil {
				return
			}
			raw, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			replies[i], errs[i] = reply(resp, raw), err
		})
	}
	all.Wait()
	t.Must(errors.Join(errs...))
	return replies
}

// read reads an answer to its end.
func (t *T) read(resp *http.Response) *Reply {
	raw, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	t.Must(err)
	return reply(resp, raw)
}

func reply(resp *http.Response, raw []byte) *Reply {
	r := &Reply{Status: resp.StatusCode, Proto: resp.ProtoMajor, Header: resp.Header, Raw: raw}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		r.Body = parse(raw)
	}
	return r
}

func (t *T) request(c Call) *http.Request {
	var body io.Reader
	typed := false
	switch b := c.Body.(type) {
	case nil:
	case string:
		body, typed = strings.NewReader(b), true
	case []byte:
		body, typed = bytes.NewReader(b), true
	default:
		raw, err := json.Marshal(b)
		t.Must(err)
		body, typed = bytes.NewReader(raw), true
	}
	req, err := http.NewRequestWithContext(t.ctx, c.Method, t.URL(c.Path), body)
	t.Must(err)
	if typed {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.Header {
		req.Header[name] = values
		if values == nil {
			req.Header.Del(name)
		}
	}
	req.Host = c.Host
	t.authorize(req.Header)
	return req
}

// authorize adds the token of the run, if there is one and the check brings none of its own.
func (w *World) authorize(h http.Header) {
	if w.options.Token != "" && h.Get("Authorization") == "" {
		h.Set("Authorization", "Bearer "+w.options.Token)
	}
}

// URL resolves a path against the gateway's address.
func (t *T) URL(path string) string {
	return strings.TrimSuffix(t.base.String(), "/") + path
}

// Get makes a GET request.
func (t *T) Get(path string, pairs ...string) *Reply {
	return t.Do(Call{Method: http.MethodGet, Path: path, Header: header(pairs...)})
}

// Post makes a POST request with a JSON body.
func (t *T) Post(path string, body any) *Reply {
	return t.Do(Call{Method: http.MethodPost, Path: path, Body: body})
}

// query makes a query string of name, value pairs.
func query(pairs ...string) string {
	q := url.Values{}
	for pair := range slices.Chunk(pairs, 2) {
		q.Add(pair[0], pair[1])
	}
	return "?" + q.Encode()
}

// parse decodes a JSON object, numbers as they are written; nil if it is none.
func parse(raw []byte) object {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o object
	if d.Decode(&o) != nil {
		return nil
	}
	return o
}

// str returns the string at a path of names, or "".
func str(o object, path ...string) string {
	s, _ := at(o, path...).(string)
	return s
}

// num returns the integer at a path of names, or -1.
func num(o object, path ...string) int64 {
	n, ok := at(o, path...).(json.Number)
	if !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
}

func at(o object, path ...string) any {
	var v any = o
	for _, name := range path {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// list returns the array of objects at a name.
func list(o object, name string) []object {
	items, _ := o[name].([]any)
	out := make([]object, 0, len(items))
	for _, item := range items {
		o, _ := item.(object)
		out = append(out, o)
	}
	return out
}

func statusText(status int) string { return strconv.Itoa(status) }

// text writes a value as JSON, to say what was seen.
func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
