package imapd

import (
	"cmp"
	"slices"
)

// thread: RFC 5256 §3.
func (s *session) thread(p *parser) (reply, error) {
	q := &query{}
	algorithm, err := p.threadArguments(q)
	if err != nil {
		return reply{}, err
	}
	found, err := s.compile(s.sel, q.keys).find()
	if err != nil {
		return reply{}, err
	}
	t, err := s.gather(found, algorithm)
	if err != nil {
		return reply{}, err
	}
	switch algorithm {
	case "ORDEREDSUBJECT":
		t.orderedSubject()
	case "REFERENCES":
		t.byReferences()
	default:
		t.byRefs()
	}
	return reply{}, s.sendThreads(p, t)
}

func (p *parser) threadArguments(q *query) (algorithm string, err error) {
	if err := p.sp(); err != nil {
		return "", err
	}
	algorithm, err = p.word()
	if err != nil {
		return "", err
	}
	if algorithm != "ORDEREDSUBJECT" && algorithm != "REFERENCES" && algorithm != "REFS" {
		return "", p.fail("unknown threading algorithm")
	}
	return algorithm, p.charsetAndKeys(q)
}

// threads are the messages that were found, and how they hang together. A
// message is known by its place among those found; nodes from count on are
// dummies, messages that are referred to but were not found (RFC 5256 §3).
type threads struct {
	count    int
	at       []uint32 // indexes into the view
	date     []int64
	subject  []string // base subjects; nil where no algorithm needs them
	reply    []bool
	order    []uint32 // messages by date
	refs     *references
	parent   []int32 // of each node; none is a child of the root
	children []int32 // first child
	sibling  []int32 // next sibling
	first    int32   // child of the root
}

// none is no node.
const none int32 = -1

// gather reads what an algorithm needs of each message.
func (s *session) gather(found *hits, algorithm string) (*threads, error) {
	kinds := []string{"DATE"}
	if algorithm != "REFS" {
		kinds = append(kinds, "SUBJECT")
	}
	if algorithm != "ORDEREDSUBJECT" {
		kinds = append(kinds, kindReferences)
	}
	keys, err := s.keysOf(found, kinds)
	if err != nil {
		return nil, err
	}
	t := newThreads(found.n, kinds)
	if t.date, err = s.dates(found, keys[0]); err != nil {
		return nil, err
	}
	for i := range found.from(0) {
		t.at = append(t.at, uint32(i))
	}
	for i, kind := range kinds {
		for n, key := range keys[i] {
			t.take(kind, n, key)
		}
	}
	t.sortByDate()
	return t, nil
}

func newThreads(n int, kinds []string) *threads {
	t := &threads{count: n, at: make([]uint32, 0, n)}
	if slices.Contains(kinds, "SUBJECT") {
		t.subject, t.reply = make([]string, n), make([]bool, n)
	}
	if slices.Contains(kinds, kindReferences) {
		t.refs = newReferences(n)
	}
	return t
}

func (t *threads) take(kind string, n int, key sortKey) {
	switch kind {
	case "SUBJECT":
		t.subject[n], t.reply[n] = key.Text, key.N != 0
	case kindReferences:
		t.refs.add(int32(n), key.Text)
	}
}

// before orders messages by sent date, then as in the mailbox (RFC 5256 §2.2).
func (t *threads) before(a, b int32) int {
	if c := cmp.Compare(t.date[a], t.date[b]); c != 0 {
		return c
	}
	return cmp.Compare(a, b)
}

func (t *threads) sortByDate() {
	t.order = make([]uint32, t.count)
	for i := range t.order {
		t.order[i] = uint32(i)
	}
	slices.SortFunc(t.order, func(a, b uint32) int { return t.before(int32(a), int32(b)) })
}

// orderedSubject: the first message of a subject has all others as children.
func (t *threads) orderedSubject() {
	t.parent = make([]int32, t.count)
	head := make(map[string]int32, t.count)
	for _, n := range t.order {
		t.parent[n] = none
		if h, ok := head[t.subject[n]]; ok {
			t.parent[n] = h
			continue
		}
		head[t.subject[n]] = int32(n)
	}
	t.link(t.order)
}

// link makes the lists of children, and of the root's, in the given order of
// messages.
func (t *threads) link(order []uint32) {
	t.children, t.sibling = filled(len(t.parent)), filled(len(t.parent))
	t.first = none
	for i := len(order) - 1; i >= 0; i-- {
		t.push(int32(order[i]))
	}
}

// push puts a node before the other children of its parent.
func (t *threads) push(n int32) {
	list := &t.first
	if p := t.parent[n]; p != none {
		list = &t.children[p]
	}
	t.sibling[n], *list = *list, n
}

func filled(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = none
	}
	return s
}

// sendThreads sends THREAD (RFC 5256 §4). Threads may be as deep as there are
// messages, so this keeps a stack of its own.
func (s *session) sendThreads(p *parser, t *threads) error {
	s.text("* THREAD")
	if t.first != none {
		s.text(" ")
	}
	var open []int32 // siblings to go on with, for each parenthesis
	for n := t.first; n != none || len(open) > 0; {
		if n == none {
			n, open = open[len(open)-1], open[:len(open)-1]
			s.text(")")
			continue
		}
		s.text("(")
		open = append(open, t.sibling[n])
		var err error
		if n, err = s.sendMembers(p, t, n); err != nil {
			return err
		}
	}
	s.text("\r\n")
	return nil
}

// sendMembers sends a node and all that follows it in one line, and returns
// the first of the threads below.
func (s *session) sendMembers(p *parser, t *threads, n int32) (below int32, err error) {
	space := ""
	for {
		if int(n) < t.count {
			s.text(space)
			s.out = appendUint(s.out, s.sel.number(int(t.at[n]), p.uid))
			space = " "
			if err := s.relieve(); err != nil {
				return none, err
			}
		}
		child := t.children[n]
		if child == none {
			return none, nil
		}
		if t.sibling[child] != none {
			s.text(space)
			return child, nil
		}
		n = child
	}
}
