package api

import (
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/broker/brokertest"
)

func TestAudienceOfNobodyIsForgotten(t *testing.T) {
	core := broker.New(broker.Options{Source: brokertest.NewFake(), Limits: broker.DefaultLimits()})
	defer func() { _ = core.Close(t.Context()) }()
	sub, err := core.Create(t.Context(), broker.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	attachment, err := sub.Attach(broker.AttachSpec{})
	if err != nil {
		t.Fatal(err)
	}
	defer attachment.Close()
	a := &API{}
	s := &session{api: a, attachment: attachment}
	a.guests.add(s)
	change := a.guests.begin(a, sub, nil)
	a.guests.remove(s)
	if len(a.guests.bySub) != 1 {
		t.Error("it is forgotten while a change is under way")
	}
	if change.end(); len(a.guests.bySub) != 0 {
		t.Error("it is kept")
	}
}
