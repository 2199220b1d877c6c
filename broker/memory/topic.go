package memory

import (
	"strings"

	"github.com/warren-gateway/warren/broker"
)

// topicRouter is a trie of patterns by their words, so that a message costs
// what its own key and the patterns near it cost, however many there are. It
// agrees with broker.Pattern, which a test holds it to.
type topicRouter struct {
	root *topicNode
	// hashes is how many slots were given to nodes of "#", free those of them
	// that are unused again.
	hashes int
	free   []int
}

// topicNode is a prefix of at least one pattern.
type topicNode struct {
	bound set // those whose pattern ends here
	words map[string]*topicNode
	star  *topicNode // "*": exactly one word
	hash  *topicNode // "#": any number of words

	parent *topicNode
	word   string // in parent
	slot   int    // in scratch.seenHash, for a node of "#"
}

func (r *topicRouter) add(e *bound) {
	if r.root == nil {
		r.root = new(topicNode)
	}
	n := r.root
	for word, rest, more := cutWord(e.binding.RoutingKey()); more; word, rest, more = rest.cut() {
		n = r.child(n, word)
	}
	e.node = n
	n.bound.add(e)
}

// child returns the node below n for a word of a pattern, made if need be.
func (r *topicRouter) child(n *topicNode, word string) *topicNode {
	at := n.place(word)
	if at == nil {
		return n.literal(word)
	}
	if *at == nil {
		*at = &topicNode{parent: n, word: word}
		if word == "#" {
			(*at).slot = r.slot()
		}
	}
	return *at
}

// literal is child for a word that is no wildcard.
func (n *topicNode) literal(word string) *topicNode {
	if n.words == nil {
		n.words = make(map[string]*topicNode)
	}
	if n.words[word] == nil {
		n.words[word] = &topicNode{parent: n, word: word}
	}
	return n.words[word]
}

// place returns where the node of a wildcard is kept, nil for another word.
func (n *topicNode) place(word string) **topicNode {
	switch word {
	case "*":
		return &n.star
	case "#":
		return &n.hash
	}
	return nil
}

func (r *topicRouter) slot() int {
	if n := len(r.free); n > 0 {
		slot := r.free[n-1]
		r.free = r.free[:n-1]
		return slot
	}
	r.hashes++
	return r.hashes - 1
}

func (r *topicRouter) remove(e *bound) {
	n := e.node
	n.bound.remove(e)
	e.node = nil
	for n.parent != nil && n.empty() {
		if n.word == "#" {
			r.free = append(r.free, n.slot)
		}
		if at := n.parent.place(n.word); at != nil {
			*at = nil
		} else {
			delete(n.parent.words, n.word)
		}
		n = n.parent
	}
}

func (n *topicNode) empty() bool {
	return len(n.bound) == 0 && len(n.words) == 0 && n.star == nil && n.hash == nil
}

// match walks the trie with all prefixes at once that the words so far can be
// read as. A node of "#" stays in once it is reached, for it takes any word; so
// each node is visited at most once per word, whatever the patterns are.
func (r *topicRouter) match(s *scratch, key string, _ broker.Table) {
	if r.root == nil {
		return
	}
	s.nodes = append(s.nodes[:0], r.root)
	s.reach(r.root.hash)
	for word, rest, more := cutWord(key); more; word, rest, more = rest.cut() {
		s.next = s.next[:0]
		reached := s.hashes // What this word reaches takes words from the next one on.
		for _, n := range s.nodes {
			s.step(n, word)
		}
		for _, n := range reached {
			s.step(n, word)
		}
		s.nodes, s.next = s.next, s.nodes
	}
	for _, n := range s.nodes {
		s.hitAll(n)
	}
	for _, n := range s.hashes {
		s.hitAll(n)
		s.seenHash.unset(n.slot)
	}
	clear(s.nodes[:cap(s.nodes)])
	clear(s.next[:cap(s.next)])
	clear(s.hashes)
	s.nodes, s.next, s.hashes = s.nodes[:0], s.next[:0], s.hashes[:0]
}

func (s *scratch) step(n *topicNode, word string) {
	if c := n.words[word]; c != nil {
		s.next = append(s.next, c)
		s.reach(c.hash)
	}
	if n.star != nil {
		s.next = append(s.next, n.star)
		s.reach(n.star.hash)
	}
}

// reach adds a node of "#" and those right below it, which match no word as well.
func (s *scratch) reach(n *topicNode) {
	for ; n != nil && s.seenHash.set(n.slot); n = n.hash {
		s.hashes = append(s.hashes, n)
	}
}

func (s *scratch) hitAll(n *topicNode) {
	for _, e := range n.bound {
		s.hit(e)
	}
}

// words is what is left of a key; more tells an empty last word from none.
type words struct {
	text string
	more bool
}

// cutWord returns a key's first word and the others. The empty key has none.
func cutWord(key string) (word string, rest words, ok bool) {
	return words{text: key, more: key != ""}.cut()
}

func (w words) cut() (word string, rest words, ok bool) {
	if !w.more {
		return "", words{}, false
	}
	word, text, more := strings.Cut(w.text, ".")
	return word, words{text: text, more: more}, true
}
