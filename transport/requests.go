package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/warren-gateway/warren/broker"
)

// requestKind is the type of a WebSocket request.
type requestKind string

const (
	requestBind   requestKind = "bind"
	requestUnbind requestKind = "unbind"
	requestPause  requestKind = "pause"
	requestResume requestKind = "resume"
	requestAuth   requestKind = "auth"
	requestPing   requestKind = "ping"
)

// requestMembers are the members that each type takes besides type and ref. All
// of them are needed.
var requestMembers = map[requestKind][]string{
	requestBind:   {"bindings"},
	requestUnbind: {"bindings"},
	requestPause:  nil,
	requestResume: nil,
	requestAuth:   {"token"},
	requestPing:   nil,
}

// RequestTypes lists the types of WebSocket requests, sorted.
func RequestTypes() []string {
	out := make([]string, 0, len(requestMembers))
	for kind := range requestMembers {
		out = append(out, string(kind))
	}
	slices.Sort(out)
	return out
}

// request is one WebSocket request.
type request struct {
	kind requestKind
	// ref is the client's own mark, echoed as it was written; nil if it gave none.
	ref      json.RawMessage
	bindings json.RawMessage
	token    string
}

// maxRef is the longest ref, in characters.
const maxRef = 128

// parseRequest reads a message. ok is false when it is not JSON at all. The
// request's ref is set, where it can be, even with a problem.
func parseRequest(p []byte) (req request, ok bool, problem *broker.Error) {
	if !utf8.Valid(p) || !json.Valid(p) {
		return req, false, nil
	}
	members, twice, err := readMembers(p)
	if err != nil {
		return req, true, invalid("", "a request has to be a JSON object")
	}
	if problem = req.setRef(members); problem != nil {
		return req, true, problem
	}
	if twice != "" {
		return req, true, invalid(twice, "the member is given twice")
	}
	var kind string
	if !isString(members["type"], &kind) {
		return req, true, invalid("type", "a request needs a type, which is a string")
	}
	req.kind = requestKind(kind)
	wanted, known := requestMembers[req.kind]
	if !known {
		return req, true, invalid("type", "there is no such type of request")
	}
	return req, true, req.setMembers(members, wanted)
}

// readMembers reads the members of an object; twice is one that is given more
// than once, which encoding/json would let pass.
func readMembers(p []byte) (members map[string]json.RawMessage, twice string, err error) {
	d := json.NewDecoder(bytes.NewReader(p))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, "", errNoObject
	}
	members = map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, "", fmt.Errorf("member of a request: %w", err)
		}
		name, _ := token.(string) // as every name of a member
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, "", fmt.Errorf("member of a request: %w", err)
		}
		if _, given := members[name]; given {
			twice = name
		}
		members[name] = value
	}
	return members, twice, nil
}

var errNoObject = errors.New("not an object")

func (req *request) setRef(members map[string]json.RawMessage) *broker.Error {
	raw, given := members["ref"]
	if !given {
		return nil
	}
	var ref string
	if !isString(raw, &ref) || ref == "" || utf8.RuneCountInString(ref) > maxRef {
		return invalid("ref", "ref has to be a string of 1 to 128 characters")
	}
	req.ref = raw
	return nil
}

func (req *request) setMembers(members map[string]json.RawMessage, wanted []string) *broker.Error {
	var unknown []string
	for name := range members {
		if name != "type" && name != "ref" && !slices.Contains(wanted, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown) // the same answer to the same request
		return invalid(unknown[0], "a request of this type has no such member")
	}
	for _, name := range wanted {
		if _, given := members[name]; !given {
			return invalid(name, "a request of this type needs this member")
		}
	}
	req.bindings = members["bindings"]
	if raw, given := members["token"]; given && (!isString(raw, &req.token) || req.token == "") {
		return invalid("token", "token has to be a string that is not empty")
	}
	return nil
}

func isString(raw json.RawMessage, s *string) bool {
	return len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, s) == nil
}

func invalid(field, detail string) *broker.Error {
	return broker.Errorf(broker.CodeInvalidRequest, detail).WithField(field)
}

// serve answers one message. A reason ends the stream with it.
func (st *stream) serve(p []byte) Reason {
	req, ok, problem := parseRequest(p)
	if !ok {
		return ReasonProtocolError
	}
	st.srv.requests.Add(1)
	var answer broker.Frame
	err := st.session.Allow()
	switch {
	case err != nil:
	case problem != nil:
		err = problem
	default:
		answer, err = st.perform(req)
	}
	if err != nil {
		answer = broker.ErrorFrame(req.ref, st.srv.opts.Problem(broker.AsError(err)))
	}
	st.ws.reply(answer)
	return ""
}

// perform does what the request asks for.
func (st *stream) perform(req request) (answer broker.Frame, err error) {
	switch req.kind {
	case requestPing:
		return broker.PongFrame(req.ref), nil
	case requestPause:
		st.att.Pause()
	case requestResume:
		st.att.Resume()
	case requestBind, requestUnbind, requestAuth:
		return st.askCaller(req)
	}
	return broker.OKFrame(req.ref, st.session.Resource()), nil
}

// askCaller does what may take a while: until it is done nothing is read, so a
// client that leaves is noticed by the poller.
func (st *stream) askCaller(req request) (answer broker.Frame, err error) {
	var resource json.RawMessage
	st.srv.poll.again(st, pollHangUp)
	st.operation(func(ctx context.Context) {
		switch req.kind { //nolint:exhaustive // perform does the others
		case requestBind:
			resource, err = st.session.Bind(ctx, req.bindings)
		case requestUnbind:
			resource, err = st.session.Unbind(ctx, req.bindings)
		case requestAuth:
			resource, err = st.session.Auth(ctx, req.token)
		}
	})
	return broker.OKFrame(req.ref, resource), err
}
