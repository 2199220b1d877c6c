package broker

// Contains reports whether every routing key that the requested pattern matches is matched by p too. The answer is exact
// over keys of every length. It is found by placing p's words once, from left to right, in the requested pattern itself, as
// if that were a key:
//
// Cut p at its "#" into blocks, and count a "*" next to a "#" to the gap between the blocks ("#.*" is "at least one word").
// So each block in the middle begins and ends with a literal, and the outer ones are tied to the ends. If some order-keeping
// placement of the blocks on the requested pattern's words exists, in which literals lie on equal literals, "*" on any one
// word, no block lies across a "#", and each gap has at least its number of words when every "#" there counts as none, then
// the same placement serves every key that the requested pattern matches: longer runs in place of "#" widen gaps only.
//
// And if p contains the pattern, then such a placement exists. There are always words that occur in neither pattern; fill
// every wildcard with one of those, which only a wildcard of p matches. Take one "#" of the requested pattern, the others
// being filled somehow. Filled with more words than p has, no block lies across it (a block ends in literals): placement
// A. Filled with none, p has a placement B, and at most one block lies across it there. In A that block lies wholly to
// the left or to the right. If left, take it and all before it from A and the rest from B; if right, all before it from B and it and
// the rest from A. Gaps only widen, and nothing lies across that "#" any more, whatever fills it. So for one "#" after the other.
//
// The bound: both have at most 256 words, so there are at most 65,536 comparisons of two words. It does not allocate.
func (p Pattern) Contains(requested Pattern) bool {
	switch {
	case p.shape == shapeAll || p.text == requested.text:
		return true
	case requested.shape == shapeExact:
		return p.Match(requested.text)
	case p.shape == shapeExact:
		return false // A wildcard matches more than one key.
	}
	var granted, asked wordList
	granted.split(p.text)
	asked.split(requested.text)
	before, after, lone := asked.loneEmptyWord()
	if !lone {
		return granted.contains(&asked)
	}
	// One word, the empty one, is no key: the empty key has no words. So here, and only here, the words that the pattern
	// matches are more than its keys, and the pattern stands for these two, of at least two words each.
	if before {
		asked.split(pick(after, "*.#..#", "*.#."))
		if !granted.contains(&asked) {
			return false
		}
	}
	if after {
		asked.split(pick(before, "#..#.*", ".#.*"))
		return granted.contains(&asked)
	}
	return true
}

func pick[T any](which bool, yes, no T) T {
	if which {
		return yes
	}
	return no
}

// wordList is a pattern cut into words, kept on the stack.
type wordList struct {
	words [MaxShortString + 1]string
	n     int
}

func (l *wordList) split(text string) {
	l.n = 0
	for at := firstWord(text); at <= len(text); l.n++ {
		l.words[l.n], at = nextWord(text, at)
	}
}

// loneEmptyWord reports whether the list is one empty word and at least one "#", and on which sides of it these are.
func (l *wordList) loneEmptyWord() (before, after, lone bool) {
	for _, word := range l.words[:l.n] {
		switch {
		case word == "#" && lone:
			after = true
		case word == "#":
			before = true
		case word == "" && !lone:
			lone = true
		default:
			return false, false, false
		}
	}
	return before, after, lone
}

// contains is the search that Contains describes: each block as far left as it fits, which leaves most for the rest.
func (l *wordList) contains(asked *wordList) bool {
	first, last := 0, l.n
	for first < l.n && l.words[first] != "#" {
		first++
	}
	if first == l.n {
		return l.n == asked.n && l.fits(0, l.n, asked, 0)
	}
	for l.words[last-1] != "#" {
		last--
	}
	// The outer blocks, without the wildcards at their inner ends.
	head, tail := first, last
	for head > 0 && l.words[head-1] == "*" {
		head--
	}
	for tail < l.n && l.words[tail] == "*" {
		tail++
	}
	room := asked.n - (l.n - tail)
	if head > room || !l.fits(0, head, asked, 0) || !l.fits(tail, l.n, asked, room) {
		return false
	}
	return l.place(head, tail, asked, head, room)
}

// place finds room for the words from..to of the list, which begin and end with a gap, in the words at..end of asked.
func (l *wordList) place(from, to int, asked *wordList, at, end int) bool {
	for {
		var need int
		from, need = l.gap(from, to)
		// Of asked, "#" counts as no word.
		for ; need > 0 && at < end; at++ {
			if asked.words[at] != "#" {
				need--
			}
		}
		if need > 0 || from == to {
			return need == 0
		}
		until := l.block(from)
		for at+until-from <= end && !l.fits(from, until, asked, at) {
			at++
		}
		at += until - from
		if at > end {
			return false
		}
		from = until
	}
}

// gap returns where the gap that begins at a word ends, at the latest at to, and how many words it needs.
func (l *wordList) gap(from, to int) (end, need int) {
	for ; from < to && isWildcard(l.words[from]); from++ {
		if l.words[from] == "*" {
			need++
		}
	}
	return from, need
}

// block returns where the block that begins at a word ends: before the next "#" and the "*" in front of that.
func (l *wordList) block(from int) (end int) {
	for i := from; l.words[i] != "#"; i++ {
		if l.words[i] != "*" {
			end = i + 1
		}
	}
	return end
}

// fits reports whether the words from..to of the list, none of them "#", lie on the words of asked that begin at a place.
func (l *wordList) fits(from, to int, asked *wordList, at int) bool {
	for i := from; i < to; i, at = i+1, at+1 {
		if asked.words[at] == "#" || l.words[i] != "*" && l.words[i] != asked.words[at] {
			return false
		}
	}
	return true
}

func isWildcard(word string) bool { return word == "*" || word == "#" }
