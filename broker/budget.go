package broker

import (
	"slices"
	"sync/atomic"
)

// budget bounds what all logs hold together. A log that grows while the budget
// is exhausted gives way itself at once, as long as it holds more than the
// level; the broker's reclaimer computes the level (the fair share) and shrinks
// the logs that nothing is appended to.
type budget struct {
	limit int64
	used  atomic.Int64
	level atomic.Int64 // what a log may hold under pressure; 0 until there was any
	kick  chan struct{}
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, kick: make(chan struct{}, 1)}
}

// add accounts for a change and calls the reclaimer when memory gets short.
func (b *budget) add(delta int64) {
	if used := b.used.Add(delta); delta > 0 && used > b.limit-b.limit/16 {
		select {
		case b.kick <- struct{}{}:
		default:
		}
	}
}

// levelFor returns to how many bytes a log of this size must shrink right now,
// 0 if it need not.
func (b *budget) levelFor(size int) int64 {
	if b.used.Load() <= b.limit {
		return 0
	}
	level := b.level.Load()
	if level == 0 || int64(size) <= level {
		return 0
	}
	return level
}

// fairShare returns the level L at which the sum of min(size, L) is at most
// target: small logs keep what they have, large ones share the rest evenly.
func fairShare(sizes []int64, target int64) int64 {
	slices.Sort(sizes)
	rest := target
	for i, size := range sizes {
		share := rest / int64(len(sizes)-i)
		if size > share {
			return max(share, 1)
		}
		rest -= size
	}
	return max(target, 1)
}
