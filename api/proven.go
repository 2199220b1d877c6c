package api

import (
	"crypto/sha256"
	"sync"

	"github.com/warren-gateway/warren/api/identity"
)

// provenMost bounds each of the two generations of provenTokens: 1 MiB together
// with what a map takes besides.
const provenMost = 8192

// provenTokens remembers which tokens were good when they were last shown, by
// their hash. It vouches for nothing: it only says which tokens are worth
// checking again while their address is over its rate. What has not been shown
// while provenMost others were is forgotten.
type provenTokens struct {
	mu       sync.Mutex // guards all below
	now, old map[[sha256.Size]byte]struct{}
}

// add remembers a token that has just been found good.
func (p *provenTokens) add(token identity.Token) {
	hash := sha256.Sum256([]byte(token))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(hash)
}

func (p *provenTokens) keep(hash [sha256.Size]byte) {
	if _, ok := p.now[hash]; ok {
		return
	}
	if p.now == nil || len(p.now) >= provenMost {
		p.now, p.old = make(map[[sha256.Size]byte]struct{}), p.now
	}
	p.now[hash] = struct{}{}
}

// has reports whether the token was good when it was last shown.
func (p *provenTokens) has(token identity.Token) bool {
	hash := sha256.Sum256([]byte(token))
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.now[hash]; ok {
		return true
	}
	_, ok := p.old[hash]
	return ok
}
