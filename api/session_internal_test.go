package api

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/warren-gateway/warren/api/admission"
	"github.com/warren-gateway/warren/api/identity"
	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

// oneSubject takes any token for one of alice's, good for an hour.
type oneSubject struct{}

func (oneSubject) Verify(context.Context, identity.Token) (identity.Identity, error) {
	return identity.Identity{Subject: "alice", Expires: time.Now().Add(time.Hour)}, nil
}

// TestTokenThatComesAfterTheEndIsRefused has the end of a stream's token just before, and just after, a new one comes.
func TestTokenThatComesAfterTheEndIsRefused(t *testing.T) {
	core := broker.New(broker.Options{Source: brokertest.NewFake(), Limits: broker.DefaultLimits()})
	defer func() { _ = core.Close(t.Context()) }()
	a := &API{
		opts:     Options{Verifier: oneSubject{}, Broker: core, Admission: admission.New(admission.DefaultLimits())},
		refusals: &refusalLog{logger: slog.New(slog.DiscardHandler)},
	}
	for _, endFirst := range []bool{true, false} {
		c := caller{Identity: identity.Identity{Subject: "alice", Expires: time.Now().Add(-time.Second)}}
		c.key = c.Caller()
		sub, err := core.Create(t.Context(), broker.Spec{Owner: c.key, Linger: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		s := &session{api: a, caller: c, expiry: time.NewTimer(time.Hour)}
		if s.attachment, err = sub.Attach(broker.AttachSpec{}); err != nil {
			t.Fatal(err)
		}
		defer s.attachment.Close()
		if endFirst {
			s.expired()
		}
		_, err = s.Auth(t.Context(), "token")
		if !endFirst {
			s.expired()
		}
		_, ended := s.attachment.Next(nil, 1, 1)
		if endFirst != (broker.CodeOf(err) == broker.CodeUnauthorized) || endFirst != (ended != nil) {
			t.Errorf("the end is first: %v; the token got %v, the stream %v", endFirst, err, ended)
		}
		s.Closed()
	}
}
