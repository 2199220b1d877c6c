package oracle

// groups is a union-find over small integers.
type groups []int

func newGroups(n int) groups {
	g := make(groups, n)
	for i := range g {
		g[i] = i
	}
	return g
}

func (g groups) find(i int) int {
	for g[i] != i {
		g[i] = g[g[i]]
		i = g[i]
	}
	return i
}

func (g groups) join(a, b int) { g[g.find(a)] = g.find(b) }

// all returns the members of every group, in order.
func (g groups) all() [][]int {
	var out [][]int
	index := make(map[int]int)
	for i := range g {
		root := g.find(i)
		k, ok := index[root]
		if !ok {
			k = len(out)
			index[root] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}

// unbounded is more than any count of messages.
const unbounded = int64(1) << 50

// fits reports whether the gaps can stand for what is missing: each exact gap for its count, each part for all of its
// confirmed messages and any of the others. It is a flow with lower bounds: from a gap to the parts that it covers.
func fits(parts []*part, gaps []int, covers []cover) bool {
	const source, sink, extraSource, extraSink = 0, 1, 2, 3
	n := newNetwork(4 + len(gaps) + len(parts))
	n.add(sink, source, unbounded)
	demand := int64(0)
	bounded := func(from, to int, low, high int64) {
		n.add(from, to, high-low)
		n.add(extraSource, to, low)
		n.add(from, extraSink, low)
		demand += low
	}
	node := make(map[int]int)
	for i, k := range gaps {
		node[k] = 4 + i
		if covers[k].missed == Unknown {
			bounded(source, 4+i, 0, unbounded)
		} else {
			bounded(source, 4+i, covers[k].missed, covers[k].missed)
		}
	}
	for i, p := range parts {
		at := 4 + len(gaps) + i
		for _, k := range p.covers {
			n.add(node[k], at, unbounded)
		}
		bounded(at, sink, int64(p.required()), int64(p.size()))
	}
	return n.flow(extraSource, extraSink) == demand
}

// network is a flow network.
type network struct {
	edges []edge
	from  [][]int // indexes of edges by node
}

type edge struct {
	to   int
	left int64
}

func newNetwork(nodes int) *network { return &network{from: make([][]int, nodes)} }

func (n *network) add(from, to int, capacity int64) {
	n.from[from] = append(n.from[from], len(n.edges))
	n.edges = append(n.edges, edge{to: to, left: capacity})
	n.from[to] = append(n.from[to], len(n.edges))
	n.edges = append(n.edges, edge{to: from})
}

// flow returns the greatest flow (Edmonds and Karp: always along a shortest path).
func (n *network) flow(source, sink int) (total int64) {
	for {
		via := n.path(source, sink)
		if via == nil {
			return total
		}
		amount := unbounded
		for at := sink; at != source; at = n.edges[via[at]^1].to {
			amount = min(amount, n.edges[via[at]].left)
		}
		for at := sink; at != source; at = n.edges[via[at]^1].to {
			n.edges[via[at]].left -= amount
			n.edges[via[at]^1].left += amount
		}
		total += amount
	}
}

// path returns the edges by which a shortest path reaches each node, nil if there is none to the sink.
func (n *network) path(source, sink int) []int {
	via := make([]int, len(n.from))
	seen := make([]bool, len(n.from))
	seen[source] = true
	for queue := []int{source}; len(queue) > 0; queue = queue[1:] {
		for _, e := range n.from[queue[0]] {
			if to := n.edges[e].to; n.edges[e].left > 0 && !seen[to] {
				seen[to], via[to] = true, e
				if to == sink {
					return via
				}
				queue = append(queue, to)
			}
		}
	}
	return nil
}
