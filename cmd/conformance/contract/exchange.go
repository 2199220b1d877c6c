package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	invalid "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/paths"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// Exchange returns the faults of a request and its answer. The bodies are given apart, because whoever calls has read
// them; answer is nil where the body is none of a document: of a stream, or of a handshake.
func (c *Contract) Exchange(r *http.Request, body []byte, resp *http.Response, answer []byte) []string {
	return c.openapi.faults(c.tables.Implicit, r, body, resp, answer)
}

// openAPI is openapi.yaml, compiled.
type openAPI struct {
	mu        sync.Mutex // serialises validator, which caches as it goes
	validator validator.Validator
	options   *config.ValidationOptions
	document  *v3.Document
}

func newOpenAPI(text []byte) (exchanges, error) {
	doc, err := libopenapi.NewDocument(text)
	if err != nil {
		return nil, err
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		return nil, err
	}
	options := config.NewValidationOptions(config.WithFormatAssertions(), config.WithoutSecurityValidation())
	v, errs := validator.NewValidator(doc, config.WithExistingOpts(options))
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &openAPI{validator: v, options: options, document: &model.Model}, nil
}

// faults implements exchanges.
func (o *openAPI) faults(implicit []string, r *http.Request, body []byte, resp *http.Response, answer []byte) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := exchange{openAPI: o, implicit: implicit, request: r, response: resp, body: body, answer: answer}
	e.check()
	return e.found
}

// exchange is one request and its answer under examination.
type exchange struct {
	*openAPI
	implicit []string
	request  *http.Request
	response *http.Response
	body     []byte
	answer   []byte
	found    []string
}

func (e *exchange) fault(format string, args ...any) {
	what := fmt.Sprintf("%s %s: %d: ", e.request.Method, e.request.URL.Path, e.response.StatusCode)
	e.found = append(e.found, what+fmt.Sprintf(format, args...))
}

func (e *exchange) check() {
	// The validator reads bodies and may change what it is given.
	asked := e.request.Clone(e.request.Context())
	if path := asked.URL.Path; len(path) > 1 && strings.HasSuffix(path, "/") {
		e.checkUnknownPath() // the validator would take it for a path with an empty parameter
		return
	}
	asked.URL.Path = strings.ReplaceAll(asked.URL.Path, "//", "/none/") // and would not know these
	item, _, found := paths.FindPath(asked, e.document, e.options)
	if found == "" {
		item, found = e.findPath(asked)
	}
	if item == nil {
		e.checkUnknownPath()
		return
	}
	operation := item.GetOperations().GetOrZero(strings.ToLower(e.request.Method))
	if operation == nil || e.response.StatusCode == http.StatusMethodNotAllowed {
		// The 405 of a path is described with its operation for OPTIONS.
		if e.response.StatusCode != http.StatusMethodNotAllowed && !e.refusedBefore() {
			e.fault("the method is not described, and should be answered with 405")
			return
		}
		asked.Method = http.MethodOptions
		operation = item.Options
	}
	if operation == nil {
		e.fault("%s has no description of other methods", found)
		return
	}
	described := operation.Responses.Codes.GetOrZero(strconv.Itoa(e.response.StatusCode))
	if described == nil {
		e.fault("the status is not described for %s", found)
		return
	}
	e.checkHeaders(described)
	e.checkContentType(described)
	e.checkAnswer(asked, described)
	// After a handshake a refusal comes as bye, so 101 says nothing about the request.
	if e.response.StatusCode < http.StatusBadRequest && e.response.StatusCode != http.StatusSwitchingProtocols {
		e.checkQuery(operation)
		e.checkRequest(asked)
	}
}

// refusedBefore tells of refusals that come before the method is looked at.
func (e *exchange) refusedBefore() bool {
	return e.response.StatusCode == http.StatusForbidden || e.response.StatusCode == http.StatusMisdirectedRequest
}

// findPath finds the path for a method that it does not have.
func (e *exchange) findPath(r *http.Request) (*v3.PathItem, string) {
	probe := r.Clone(r.Context())
	probe.Method = http.MethodOptions
	item, _, found := paths.FindPath(probe, e.document, e.options)
	return item, found
}

func (e *exchange) checkUnknownPath() {
	if e.refusedBefore() {
		return
	}
	if e.response.StatusCode != http.StatusNotFound {
		e.fault("the path is not described, and should be answered with 404")
		return
	}
	described := e.document.Components.Responses.GetOrZero("NotFound") // x-fallback-responses
	if e.request.Method == http.MethodHead {
		described = e.document.Components.Responses.GetOrZero("HeadNotFound")
	}
	if described == nil {
		e.fault("components/responses has no NotFound")
		return
	}
	e.checkHeaders(described)
	e.checkContentType(described)
	// An operation that has the same answer stands in, so that its schema is applied.
	probe := e.request.Clone(e.request.Context())
	probe.Method, probe.URL.Path, probe.URL.RawPath = http.MethodPut, "/v1/exchanges/none", ""
	e.checkAnswer(probe, described)
}

func (e *exchange) checkHeaders(described *v3.Response) {
	known := map[string]bool{}
	for _, name := range e.implicit {
		known[name] = true
	}
	if described.Headers != nil {
		for name := range described.Headers.KeysFromOldest() {
			known[http.CanonicalHeaderKey(name)] = true
		}
	}
	for name := range e.response.Header {
		if !known[name] {
			e.fault("the header %s is not described", name)
		}
	}
}

func (e *exchange) checkContentType(described *v3.Response) {
	given := e.response.Header.Get("Content-Type")
	if e.request.Method == http.MethodHead {
		return // described without a body; the content type is that of GET
	}
	if described.Content == nil || described.Content.Len() == 0 {
		if given != "" || len(e.answer) > 0 {
			e.fault("no body is described, but %d bytes of %q came", len(e.answer), given)
		}
		return
	}
	kind, _, err := mime.ParseMediaType(given)
	var may []string
	for name := range described.Content.KeysFromOldest() {
		plain, _, _ := mime.ParseMediaType(name)
		may = append(may, plain)
	}
	if err != nil || !slices.Contains(may, kind) {
		e.fault("the content type is %q, not one of %v", given, may)
	}
}

// checkAnswer has the validator look at headers and body.
func (e *exchange) checkAnswer(asked *http.Request, described *v3.Response) {
	body := e.answer
	if body == nil && described.Content != nil && described.Content.Len() > 0 {
		body = []byte("{}") // a stream: its schema is a string, and its lines are looked at elsewhere
	}
	resp := &http.Response{
		StatusCode: e.response.StatusCode, Header: e.response.Header.Clone(), Request: asked,
		Body: io.NopCloser(bytes.NewReader(body)),
	}
	if e.response.ProtoMajor > 1 && e.response.StatusCode == http.StatusUpgradeRequired {
		// HTTP/2 has no headers about the connection (RFC 9113, 8.2.2), which are described for HTTP/1.1: they are taken as given.
		resp.Header.Set("Connection", "Upgrade")
		resp.Header.Set("Upgrade", "websocket")
	}
	if ok, errs := e.validator.ValidateHttpResponse(asked, resp); !ok {
		e.add("answer", errs)
	}
}

// checkQuery looks for parameters that are not described, where some are.
func (e *exchange) checkQuery(operation *v3.Operation) {
	known := map[string]bool{"access_token": true} // a security scheme
	for _, p := range operation.Parameters {
		if p.In == "query" {
			known[p.Name] = true
		}
	}
	if len(known) == 1 {
		return
	}
	for name := range e.request.URL.Query() {
		if !known[name] {
			e.fault("the query parameter %q was taken, and is not described", name)
		}
	}
}

// checkRequest holds a request that was taken to its description.
func (e *exchange) checkRequest(asked *http.Request) {
	asked.Body = io.NopCloser(bytes.NewReader(e.body))
	asked.ContentLength = int64(len(e.body))
	if ok, errs := e.validator.ValidateHttpRequestSync(asked); !ok {
		e.add("the request should have been refused", errs)
	}
}

func (e *exchange) add(what string, errs []*invalid.ValidationError) {
	for _, err := range errs {
		more := make([]string, 0, len(err.SchemaValidationErrors))
		for _, s := range err.SchemaValidationErrors {
			more = append(more, s.Reason+" at "+s.KeywordLocation)
		}
		e.fault("%s: %s: %s %s", what, err.Message, err.Reason, strings.Join(more, "; "))
	}
}
