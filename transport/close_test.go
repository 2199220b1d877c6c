package transport_test

import (
	"testing"

	"github.com/warren-gateway/warren/broker"
	"github.com/warren-gateway/warren/transport"
)

func TestEveryCodeAndEveryEndHasARowInTheTable(t *testing.T) {
	inTable := map[transport.Reason]bool{}
	for _, rule := range transport.CloseRules() {
		if inTable[rule.Reason] {
			t.Errorf("%s is there twice", rule.Reason)
		}
		inTable[rule.Reason] = true
		if rule.Code < 1000 || rule.Code > 4999 || transport.RuleOf(rule.Reason) != rule {
			t.Errorf("bad row %+v", rule)
		}
	}
	for _, code := range broker.Codes() {
		if reason := transport.ReasonOf(code); !inTable[reason] {
			t.Errorf("%s leads to %s", code, reason)
		}
	}
	for _, end := range []broker.EndReason{
		broker.EndDeleted, broker.EndExpired, broker.EndTokenExpired, broker.EndShutdown, broker.EndSlow, broker.EndInternal,
	} {
		if !inTable[transport.Reason(end)] {
			t.Errorf("%s is not in the table", end)
		}
	}
	if rule := transport.RuleOf("nonsense"); rule.Reason != transport.ReasonInternalError {
		t.Errorf("nonsense is %+v", rule)
	}
}

func TestARefusalWithAReasonOfItsOwnKeepsIt(t *testing.T) {
	for _, rule := range transport.CloseRules() {
		for _, code := range broker.Codes() {
			if string(code) == string(rule.Reason) && transport.ReasonOf(code) != rule.Reason {
				t.Errorf("%s becomes %s", code, transport.ReasonOf(code))
			}
		}
	}
}
