package broker

import "time"

// rateWindow is over how long the rate of a subscription is taken.
const rateWindow = 10 * time.Second

// Lag is how far a reader is behind its log.
type Lag struct {
	// Events is how many of them it has not been given.
	Events uint64
	// Age is for how long the oldest of these has been in the log; 0 if there is none.
	Age time.Duration
}

// Load is what a subscription costs at one moment.
type Load struct {
	State State
	// SSE and WS count the attachments.
	SSE, WS int
	// LogBytes is what its log holds, with what that costs beside the frames.
	LogBytes int64
	// Rate is how many events per second came in during the last 10 s, or since
	// it was made.
	Rate float64
	// Lag is that of the readers furthest behind; one that is paused counts.
	Lag Lag
}

// Load returns what the subscription costs. each, if not nil, is called with the
// lag of each attachment, under a lock of the core: it must be quick.
func (s *Subscription) Load(each func(Transport, Lag)) Load {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	load := Load{
		State: s.state(), SSE: s.attached[SSE], WS: s.attached[WS],
		LogBytes: s.logBytes.Load(), Rate: s.rate(now),
	}
	for a := range s.attachments {
		lag := a.lag(now)
		load.Lag.Events = max(load.Lag.Events, lag.Events)
		load.Lag.Age = max(load.Lag.Age, lag.Age)
		if each != nil {
			each(a.transport, lag)
		}
	}
	return load
}

// rate is how many events per second came in lately. s.mu is held.
func (s *Subscription) rate(now time.Time) float64 {
	window := min(rateWindow, now.Sub(s.created))
	if window <= 0 {
		return 0
	}
	newest := s.log.newest
	return float64(newest-s.timeline.before(now.Add(-window), newest)) / window.Seconds()
}

// lag is how far the attachment is behind. sub.mu is held.
func (a *Attachment) lag(now time.Time) Lag {
	log := a.sub.log
	if a.pos >= log.newest {
		return Lag{}
	}
	lag := Lag{Events: log.newest - a.pos}
	// Markers and gaps between messages have no time; there are seldom many in a row.
	first := max(a.pos+1, log.first)
	for o := first; o <= log.newest && o < first+16; o++ {
		if at := log.slots[o&uint64(len(log.slots)-1)].received; at != 0 {
			lag.Age = max(sinceEpoch(now)-at, 0)
			break
		}
	}
	return lag
}
