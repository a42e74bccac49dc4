package imapd

import (
	"bytes"
	"slices"
	"strings"
)

// Limits of what THREAD looks at: octets of References, its last ones, and
// identifiers of messages that are not there.
const (
	maxReferences = 16 << 10
	maxDummies    = 1 << 20
)

// references builds the trees of RFC 5256 §3, REFERENCES, step 1. Its nodes
// are messages and dummies, known by a hash of their Message-ID.
type references struct {
	ids     map[uint64]int32
	message []int32 // of each node; none is a dummy
	parent  []int32
	dummies int
	deep    *forest // made once a tree is deep
}

func newReferences(count int) *references {
	return &references{ids: make(map[uint64]int32, count),
		message: make([]int32, 0, count), parent: make([]int32, 0, count)}
}

func (r *references) newNode(message int32) int32 {
	n := int32(len(r.parent))
	r.message, r.parent = append(r.message, message), append(r.parent, none)
	if r.deep != nil {
		r.deep.add()
	}
	return n
}

// add takes in a message, whose identifiers are as packIDs has them: steps 1.A
// and 1.B.
func (r *references) add(message int32, packed string) {
	node := r.own(message, idAt(packed, 0))
	last := none
	for at := 8; at < len(packed); at += 8 {
		ref := r.refer(idAt(packed, at))
		if ref == none {
			continue
		}
		if last != none && r.parent[ref] == none {
			r.link(last, ref)
		}
		last = ref
	}
	r.unlink(node)
	if last != none {
		r.link(last, node)
	}
}

func idAt(packed string, at int) (id uint64) {
	for i := range 8 {
		id |= uint64(packed[at+i]) << (8 * i)
	}
	return id
}

// own finds the node of a message. One without a valid Message-ID, or with one
// that was there before, has a node that nobody refers to.
func (r *references) own(message int32, id uint64) int32 {
	if id == 0 {
		return r.newNode(message)
	}
	node, known := r.ids[id]
	switch {
	case !known:
		node = r.newNode(message)
		r.ids[id] = node
	case r.message[node] == none:
		r.message[node] = message
		r.dummies--
	default:
		return r.newNode(message)
	}
	return node
}

// refer finds the node of an identifier in References.
func (r *references) refer(id uint64) int32 {
	if node, ok := r.ids[id]; ok {
		return node
	}
	if r.dummies >= maxDummies {
		return none
	}
	r.dummies++
	node := r.newNode(none)
	r.ids[id] = node
	return node
}

// link makes child, which has no parent, one of parent, unless that makes a
// loop.
func (r *references) link(parent, child int32) {
	if r.root(parent) == child {
		return
	}
	r.parent[child] = parent
	if r.deep != nil {
		r.deep.link(parent, child)
	}
}

func (r *references) unlink(child int32) {
	if r.parent[child] == none {
		return
	}
	r.parent[child] = none
	if r.deep != nil {
		r.deep.cut(child)
	}
}

// maxClimb is how far a root is looked for by climbing.
const maxClimb = 200

// root returns the root of a node's tree.
func (r *references) root(n int32) int32 {
	if r.deep == nil {
		for range maxClimb {
			if r.parent[n] == none {
				return n
			}
			n = r.parent[n]
		}
		r.deep = newForest(r.parent)
	}
	return r.deep.root(n)
}

// lastOctets bounds a field that names many messages.
func lastOctets(value []byte) []byte {
	if len(value) <= maxReferences {
		return value
	}
	value = value[len(value)-maxReferences:]
	return value[max(bytes.IndexByte(value, '<'), 0):]
}

// eachID calls f with each valid Message-ID of a field, without its brackets
// and as RFC 5256 §3 compares them, until f returns false.
func eachID(value []byte, f func(id []byte) bool) {
	for {
		open := bytes.IndexByte(value, '<')
		if open < 0 {
			return
		}
		value = value[open+1:]
		n := bytes.IndexAny(value, "<>\"(\\ \t\r\n")
		if n < 0 {
			return
		}
		id, rest := value[:n], value[n:]
		if rest[0] != '>' && rest[0] != '<' {
			id, rest = oddID(value)
		}
		if len(rest) > 0 && rest[0] == '>' && isID(id) && !f(id) {
			return
		}
		value = rest
	}
}

// isID: left and right of an @ there must be something.
func isID(id []byte) bool {
	i := bytes.IndexByte(id, '@')
	return i > 0 && i < len(id)-1
}

// oddID reads an identifier with quotes, comments or blanks in it, and what
// follows. <"a"@b> is <a@b> (RFC 5256 §3).
func oddID(value []byte) (id, rest []byte) {
	quoted, depth := false, 0
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(value):
			i++
			if quoted {
				id = append(id, value[i])
			}
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
			id = append(id, c)
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0 || strings.IndexByte(" \t\r\n", c) >= 0:
		case c == '<' || c == '>':
			return id, value[i:]
		default:
			id = append(id, c)
		}
	}
	return nil, nil
}

// isDummy reports whether a node of the threads is no message.
func (t *threads) isDummy(n int32) bool { return int(n) >= t.count }

// prune takes the trees over and removes their dummies, but those at the root
// that have several children: steps 2 and 3.
func (t *threads) prune() {
	r := t.refs
	number := make([]int32, len(r.parent)) // nodes of r as nodes of t
	next := int32(t.count)
	for n, message := range r.message {
		number[n] = message
		if message == none {
			number[n] = next
			next++
		}
	}
	t.parent = make([]int32, next)
	for n, p := range r.parent {
		if p != none {
			p = number[p]
		}
		t.parent[number[n]] = p
	}
	t.refs = nil
	t.adopt()
	t.promote()
}

// adopt makes each message the child of the first message above it, or of the
// highest dummy.
func (t *threads) adopt() {
	var path []int32
	for d := int32(t.count); int(d) < len(t.parent); d++ {
		path = path[:0]
		top := d
		for t.parent[top] != none && t.isDummy(t.parent[top]) {
			path = append(path, top)
			top = t.parent[top]
		}
		if p := t.parent[top]; p != none { // a message
			path = append(path, top)
			top = p
		}
		for _, n := range path {
			t.parent[n] = top
		}
	}
	for n := range t.count {
		if p := t.parent[n]; p != none && t.isDummy(p) {
			t.parent[n] = p
			if up := t.parent[p]; up != none {
				t.parent[n] = up
			}
		}
	}
}

// promote removes dummies that have one child only.
func (t *threads) promote() {
	only := make(map[int32]int32)
	for n := range int32(t.count) {
		if p := t.parent[n]; p != none && t.isDummy(p) {
			if _, second := only[p]; second {
				only[p] = none
			} else {
				only[p] = n
			}
		}
	}
	for _, n := range only {
		if n != none {
			t.parent[n] = none
		}
	}
}

// roots returns the children of the root by date; a dummy has that of its
// first child. head is the first child of each dummy.
func (t *threads) roots() (roots []int32, head []int32) {
	head = filled(len(t.parent) - t.count)
	for _, n := range t.order {
		p := t.parent[n]
		if p != none && !t.isDummy(p) {
			continue
		}
		if p == none {
			roots = append(roots, int32(n))
		} else if d := int(p) - t.count; head[d] == none {
			head[d] = int32(n)
			roots = append(roots, p)
		}
	}
	return roots, head
}

// byReferences: RFC 5256 §3, REFERENCES.
func (t *threads) byReferences() {
	t.prune()
	t.mergeSubjects()
	roots, _ := t.roots()
	t.linkBelow(roots)
}

// linkBelow makes the lists of children, with the given ones at the root:
// step 6.
func (t *threads) linkBelow(roots []int32) {
	t.link(nil)
	for i := t.count - 1; i >= 0; i-- {
		if n := int32(t.order[i]); t.parent[n] != none {
			t.push(n)
		}
	}
	for _, n := range slices.Backward(roots) {
		t.sibling[n], t.first = t.first, n
	}
}

// mergeSubjects gathers the threads of one subject: steps 4 and 5.
func (t *threads) mergeSubjects() {
	roots, head := t.roots()
	subject := func(n int32) string {
		if t.isDummy(n) {
			n = head[int(n)-t.count]
		}
		return t.subject[n]
	}
	table := make(map[string]int32, len(roots))
	for _, n := range roots {
		key := subject(n)
		have, ok := table[key]
		if key != "" && (!ok || t.better(n, have)) {
			table[key] = n
		}
	}
	merged := make(map[int32]int32) // dummies into others
	for _, n := range roots {
		key := subject(n)
		if have, ok := table[key]; ok && have != n {
			table[key] = t.merge(n, have, merged)
		}
	}
	for n := range t.count {
		if into, ok := merged[t.parent[n]]; ok {
			t.parent[n] = into
		}
	}
}

func (t *threads) isReply(n int32) bool { return !t.isDummy(n) && t.reply[n] }

// better reports whether n replaces what the subject table has: step 5.B.iv.
func (t *threads) better(n, have int32) bool {
	return !t.isDummy(have) && (t.isDummy(n) || t.isReply(have) && !t.isReply(n))
}

// merge is step 5.C for a node and the one in the subject table. It returns
// what the table has then.
func (t *threads) merge(n, have int32, merged map[int32]int32) int32 {
	switch {
	case t.isDummy(n):
		merged[n] = have
	case t.isDummy(have) || t.isReply(n) && !t.isReply(have):
		t.parent[n] = have
	default:
		dummy := int32(len(t.parent))
		t.parent = append(t.parent, none)
		t.parent[n], t.parent[have] = dummy, dummy
		return dummy
	}
	return have
}

// byRefs is REFS: the same trees, whatever their subjects, and those with the
// newest message last.
func (t *threads) byRefs() {
	t.prune()
	roots, _ := t.roots()
	newest := make([]int32, len(t.parent)) // place in t.order of the newest message of a root
	var path []int32
	top := filled(len(t.parent))
	for place, m := range t.order {
		n := int32(m)
		path = path[:0]
		for top[n] == none && t.parent[n] != none {
			path = append(path, n)
			n = t.parent[n]
		}
		if top[n] != none {
			n = top[n]
		}
		top[n] = n
		for _, below := range path {
			top[below] = n
		}
		newest[n] = int32(place)
	}
	slices.SortFunc(roots, func(a, b int32) int {
		return int(newest[a] - newest[b])
	})
	t.linkBelow(roots)
}
