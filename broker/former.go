package broker

// former is a binding that is none any more, or never came to be one. What was
// routed by it may be in the log, on the way to it or still in the queue, until
// the event at offset until has left the log. Its arguments are not kept: they
// may be large, and nobody is granted arguments.
type former struct {
	binding Binding
	until   uint64
}

// Reach returns the bindings by which anything may have come that an attachment
// could read: those of now, and, without their arguments, former ones of which
// messages are retained or may still come. complete is false when there were more former ones than the
// subscription remembers.
func (s *Subscription) Reach() (bindings []Binding, complete bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetFormer()
	bindings = append(bindings, s.bindings...)
	for _, f := range s.former {
		bindings = append(bindings, f.binding)
	}
	return dedupe(bindings), s.log.first > s.blurred
}

// remember says that bindings have just ended: a queue holds Limits.QueueBacklog
// messages at most that came by them, and the pump a batch.
func (s *Subscription) remember(gone []Binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetFormer()
	for _, b := range gone {
		delete(s.missing, b.id) // or it would be when it is bound again
	}
	if s.broker.limits.FormerBindings == 0 {
		return
	}
	until := s.log.newest + pumpBatch + uint64(s.broker.limits.QueueBacklog)
	gone = withoutArguments(gone)
	ids := idsOf(gone)
	kept := s.former[:0]
	for _, f := range s.former {
		if _, again := ids[f.binding.id]; !again {
			kept = append(kept, f)
		}
	}
	for _, b := range gone {
		kept = append(kept, former{binding: b, until: until})
	}
	if more := len(kept) - s.broker.limits.FormerBindings; more > 0 {
		s.blurred = kept[more-1].until // they are in the order of their ends
		kept = append(kept[:0], kept[more:]...)
	}
	s.former = kept
}

// forgetFormer drops those of which nothing can be read any more. s.mu is held.
func (s *Subscription) forgetFormer() {
	over := 0
	for over < len(s.former) && s.former[over].until < s.log.first {
		over++
	}
	if over > 0 {
		s.former = append([]former(nil), s.former[over:]...)
	}
}

func withoutArguments(bindings []Binding) []Binding {
	var plain []Binding
	for _, b := range bindings {
		if p, err := NewBinding(b.exchange, b.routingKey, nil); err == nil { // as it was with them
			plain = append(plain, p)
		}
	}
	return dedupe(plain)
}
