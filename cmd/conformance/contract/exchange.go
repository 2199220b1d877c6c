package contract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Exchange returns the faults of a request and its answer. The bodies are given apart, because whoever calls has read
// them; answer is nil where the body is none of a document: of a stream, or of a handshake.
func (c *Contract) Exchange(r *http.Request, body []byte, resp *http.Response, answer []byte) []string {
	e := exchange{openAPI: c.openapi, implicit: c.tables.Implicit, request: r, response: resp, body: body, answer: answer}
	e.check(r.Context())
	return e.found
}

// openAPI is openapi.yaml, compiled. The OpenAPI library knows paths, parameters and headers; bodies are held to their schemas by
// the library that frames are held to theirs, which knows all of JSON Schema 2020-12.
type openAPI struct {
	document *openapi3.T
	router   routers.Router

	mu       sync.Mutex // guards what follows
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by JSON pointer
}

const openAPIAddress = "openapi.yaml"

func newOpenAPI(text []byte) (*openAPI, error) {
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := document.Validate(context.Background()); err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		return nil, err
	}
	compiler, err := newCompiler(openAPIAddress, text)
	if err != nil {
		return nil, err
	}
	return &openAPI{document: document, router: router, compiler: compiler, schemas: map[string]*jsonschema.Schema{}}, nil
}

// schema compiles the schema at a JSON pointer, once.
func (o *openAPI) schema(pointer string) (*jsonschema.Schema, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.schemas[pointer]; s != nil {
		return s, nil
	}
	s, err := o.compiler.Compile(openAPIAddress + pointer)
	if err == nil {
		o.schemas[pointer] = s
	}
	return s, err
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

// place is what JSON pointers begin with.
type place string

// in returns the place of a member, unless it is described elsewhere, at ref.
func (p place) in(ref string, names ...string) place {
	if ref != "" {
		return place(ref)
	}
	for _, name := range names {
		p += place("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return p
}

func (e *exchange) fault(format string, args ...any) {
	what := fmt.Sprintf("%s %s: %d: ", e.request.Method, e.request.URL.Path, e.response.StatusCode)
	e.found = append(e.found, what+fmt.Sprintf(format, args...))
}

func (e *exchange) check(ctx context.Context) {
	route, parameters, ok := e.route(e.request.Method)
	notAllowed := e.response.StatusCode == http.StatusMethodNotAllowed
	if !ok || notAllowed {
		// The 405 of a path is described with its operation for OPTIONS, which each path has.
		described, _, known := e.route(http.MethodOptions)
		if !known {
			e.checkUnknownPath(ctx)
			return
		}
		missing := e.response.StatusCode == http.StatusNotFound && described.Operation.Responses.Value("404") != nil // whatever the method
		if !notAllowed && !missing && !e.refusedBefore() {
			e.fault("the method is not described, and should be answered with 405")
			return
		}
		route = described
	}
	status := fmt.Sprint(e.response.StatusCode)
	described := route.Operation.Responses.Value(status)
	if described == nil {
		e.fault("the status is not described for %s", route.Path)
		return
	}
	at := place("#").in("", "paths", route.Path, strings.ToLower(route.Method))
	e.checkAnswer(ctx, described, at.in(described.Ref, "responses", status))
	// After a handshake a refusal comes as bye, so 101 says nothing about the request.
	if e.response.StatusCode < http.StatusBadRequest && e.response.StatusCode != http.StatusSwitchingProtocols {
		e.checkQuery(route.Operation)
		e.checkParameters(ctx, route, parameters)
		e.checkRequestBody(route.Operation, at)
	}
}

// route finds what is described for the path of the request and a method.
func (e *exchange) route(method string) (*routers.Route, map[string]string, bool) {
	probe := *e.request
	probe.Method = method
	route, parameters, err := e.router.FindRoute(&probe)
	return route, parameters, err == nil
}

// refusedBefore tells of refusals that come before the method is looked at.
func (e *exchange) refusedBefore() bool {
	return e.response.StatusCode == http.StatusForbidden || e.response.StatusCode == http.StatusMisdirectedRequest
}

func (e *exchange) checkUnknownPath(ctx context.Context) {
	if e.refusedBefore() {
		return
	}
	if e.response.StatusCode != http.StatusNotFound {
		e.fault("the path is not described, and should be answered with 404")
		return
	}
	name := "NotFound" // x-fallback-responses
	if e.request.Method == http.MethodHead {
		name = "HeadNotFound"
	}
	described := e.document.Components.Responses[name]
	if described == nil {
		e.fault("components/responses has no %s", name)
		return
	}
	e.checkAnswer(ctx, described, place("#").in(described.Ref, "components", "responses", name))
}

func (e *exchange) checkAnswer(ctx context.Context, described *openapi3.ResponseRef, at place) {
	e.checkHeaderNames(described.Value)
	e.checkHeaders(ctx, described.Value)
	if e.request.Method == http.MethodHead {
		return // described without a body; the content type is that of GET
	}
	given := e.response.Header.Get("Content-Type")
	if len(described.Value.Content) == 0 {
		if given != "" || len(e.answer) > 0 {
			e.fault("no body is described, but %d bytes of %q came", len(e.answer), given)
		}
		return
	}
	e.checkBody("answer", described.Value.Content, given, e.answer, at)
}

// checkHeaderNames looks for headers that are not described.
func (e *exchange) checkHeaderNames(described *openapi3.Response) {
	known := map[string]bool{}
	for _, name := range e.implicit {
		known[name] = true
	}
	for name := range described.Headers {
		known[http.CanonicalHeaderKey(name)] = true
	}
	for name := range e.response.Header {
		if !known[name] {
			e.fault("the header %s is not described", name)
		}
	}
}

// checkHeaders holds headers to what is described.
func (e *exchange) checkHeaders(ctx context.Context, described *openapi3.Response) {
	header := e.response.Header
	if e.response.ProtoMajor > 1 && e.response.StatusCode == http.StatusUpgradeRequired {
		// HTTP/2 has no headers about the connection (RFC 9113, 8.2.2), which are described for HTTP/1.1: they are taken as given.
		header = header.Clone()
		header.Set("Connection", "Upgrade")
		header.Set("Upgrade", "websocket")
	}
	// The library looks neither at answers to HEAD nor at some statuses, such as 304, so it is told of another method and status.
	operation := &openapi3.Operation{
		Responses: openapi3.NewResponses(openapi3.WithStatus(http.StatusOK, &openapi3.ResponseRef{Value: described})),
	}
	err := openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: http.MethodGet}, Route: &routers.Route{Spec: e.document, Operation: operation},
		},
		Status: http.StatusOK, Header: header, Options: options(),
	})
	if err != nil {
		e.fault("answer: %v", err)
	}
}

// checkQuery looks for parameters that are not described, where some are, and for those that came twice and are no list, of which the
// library sees the first alone.
func (e *exchange) checkQuery(operation *openapi3.Operation) {
	most := map[string]int{}
	for _, p := range operation.Parameters {
		if p.Value.In == openapi3.ParameterInQuery {
			most[p.Value.Name] = 1
			if p.Value.Schema.Value.Type.Is(openapi3.TypeArray) {
				most[p.Value.Name] = math.MaxInt
			}
		}
	}
	if len(most) == 0 {
		return
	}
	most["access_token"] = 1 // a security scheme
	for name, values := range e.request.URL.Query() {
		switch n, known := most[name]; {
		case !known:
			e.fault("the query parameter %q was taken, and is not described", name)
		case len(values) > n:
			e.fault("the query parameter %q was taken %d times, and is no list", name, len(values))
		}
	}
}

// checkParameters holds the parameters of a request that was taken to their description.
func (e *exchange) checkParameters(ctx context.Context, route *routers.Route, parameters map[string]string) {
	err := openapi3filter.ValidateRequest(ctx, &openapi3filter.RequestValidationInput{
		Request: e.request.Clone(ctx), PathParams: parameters, Route: route,
		Options: options(),
	})
	if err != nil {
		e.fault("the request should have been refused: %v", err)
	}
}

// options tells the library to leave bodies and tokens alone, and to say what is wrong in one line.
func options() *openapi3filter.Options {
	o := &openapi3filter.Options{
		ExcludeRequestBody: true, ExcludeResponseBody: true, SkipSettingDefaults: true,
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	o.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
			return reasons(invalid)
		}
		return err.Reason
	})
	return o
}

// checkRequestBody holds the body of a request that was taken to its description.
func (e *exchange) checkRequestBody(operation *openapi3.Operation, at place) {
	described := operation.RequestBody
	switch {
	case described == nil: // a body is not looked at
	case len(e.body) > 0:
		e.checkBody("the request should have been refused", described.Value.Content, e.request.Header.Get("Content-Type"), e.body,
			at.in(described.Ref, "requestBody"))
	case described.Value.Required:
		e.fault("the request should have been refused: it has no body")
	}
}

// checkBody holds a body to what content describes, which is at a place. A nil body is a stream's.
func (e *exchange) checkBody(what string, content openapi3.Content, given string, body []byte, at place) {
	kind, _, err := mime.ParseMediaType(given)
	names := slices.Sorted(maps.Keys(content))
	i := slices.IndexFunc(names, func(name string) bool {
		plain, _, _ := mime.ParseMediaType(name)
		return plain == kind
	})
	if err != nil || i < 0 {
		e.fault("%s: the content type is %q, not one of %v", what, given, names)
		return
	}
	if body == nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return // the lines of a stream are looked at elsewhere, and other text has no more of a schema than that it is text
	}
	schema, err := e.schema(string(at.in("", "content", names[i], "schema")))
	value, invalid := decode(body)
	if err := cmp.Or(err, invalid); err != nil {
		e.fault("%s: %v", what, err)
		return
	}
	if err := schema.Validate(value); err != nil {
		e.fault("%s: %s", what, reasons(err))
	}
}
