package imapd

import (
	"bytes"
	"cmp"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// container is a node of the model: RFC 5256 §3, REFERENCES, word by word.
type container struct {
	n        int // message, -1 for a dummy
	parent   *container
	children []*container
}

type modelMessage struct {
	id, subject string
	refs        []string
	date        int64
}

func (c *container) under(other *container) bool {
	for ; c != nil; c = c.parent {
		if c == other {
			return true
		}
	}
	return false
}

func (c *container) adopt(child *container) {
	if child.parent == nil && !c.under(child) {
		child.parent = c
		c.children = append(c.children, child)
	}
}

func (c *container) orphan() {
	if p := c.parent; p != nil {
		p.children = slices.DeleteFunc(p.children, func(x *container) bool { return x == c })
		c.parent = nil
	}
}

type model struct {
	messages []modelMessage
	root     container
}

func (m *model) date(c *container) (int64, int) {
	for c.n < 0 {
		c = c.children[0]
	}
	return m.messages[c.n].date, c.n
}

func (m *model) sort(list []*container) {
	slices.SortStableFunc(list, func(a, b *container) int {
		da, na := m.date(a)
		db, nb := m.date(b)
		return cmp.Or(cmp.Compare(da, db), cmp.Compare(na, nb))
	})
}

func (m *model) sortAll(list []*container) {
	for _, c := range list {
		m.sortAll(c.children)
	}
	m.sort(list)
}

func (m *model) build() {
	byID := map[string]*container{}
	var all []*container
	node := func(id string) *container {
		if byID[id] == nil {
			byID[id] = &container{n: -1}
			all = append(all, byID[id])
		}
		return byID[id]
	}
	for n, msg := range m.messages {
		c := &container{n: n}
		if msg.id != "" && node(msg.id).n < 0 {
			c = byID[msg.id]
			c.n = n
		} else {
			all = append(all, c)
		}
		var last *container
		for _, ref := range msg.refs {
			r := node(ref)
			if last != nil {
				last.adopt(r)
			}
			last = r
		}
		c.orphan()
		if last != nil {
			last.adopt(c)
		}
	}
	for _, c := range all {
		if c.parent == nil {
			m.root.children = append(m.root.children, c)
		}
	}
}

// prune is step 3.
func prune(list []*container, top bool) []*container {
	var out []*container
	for _, c := range list {
		c.children = prune(c.children, false)
		switch {
		case c.n >= 0 || top && len(c.children) > 1:
			out = append(out, c)
		default:
			out = append(out, c.children...)
		}
	}
	return out
}

func (m *model) base(c *container) (string, bool) {
	if c.n < 0 {
		base, _ := m.base(c.children[0])
		return base, false
	}
	return baseSubject(m.messages[c.n].subject)
}

// gather is step 5.
func (m *model) gather() {
	table := map[string]*container{}
	for _, c := range m.root.children {
		subject, reply := m.base(c)
		have := table[subject]
		if subject == "" {
			continue
		}
		if have == nil {
			table[subject] = c
			continue
		}
		_, haveReply := m.base(have)
		if c.n < 0 && have.n >= 0 || have.n >= 0 && haveReply && !reply {
			table[subject] = c
		}
	}
	subjects := map[*container]string{}
	for _, c := range m.root.children {
		subjects[c], _ = m.base(c)
	}
	var out []*container
	for _, c := range m.root.children {
		have := table[subjects[c]]
		if subjects[c] == "" || have == c {
			out = append(out, c)
			continue
		}
		_, reply := m.base(c)
		_, haveReply := m.base(have)
		switch {
		case c.n < 0:
			have.children = append(have.children, c.children...)
		case have.n < 0 || reply && !haveReply:
			have.children = append(have.children, c)
		default:
			dummy := &container{n: -1, children: []*container{have, c}}
			table[subjects[c]] = dummy
			out = append(slices.DeleteFunc(out, func(x *container) bool { return x == have }), dummy)
			m.root.children = slices.Clone(m.root.children)
			subjects[have] = "" // it is no child of the root any more
			if i := slices.Index(m.root.children, have); i > slices.Index(m.root.children, c) {
				m.root.children[i] = dummy
			}
		}
	}
	m.root.children = out
}

func (c *container) String() string {
	var b strings.Builder
	if c.n >= 0 {
		fmt.Fprint(&b, c.n+1)
	}
	if len(c.children) == 1 {
		if b.Len() > 0 {
			b.WriteString(" ")
		}
		return b.String() + c.children[0].String()
	}
	if len(c.children) > 0 && b.Len() > 0 {
		b.WriteString(" ")
	}
	for _, child := range c.children {
		b.WriteString("(" + child.String() + ")")
	}
	return b.String()
}

func (m *model) threads() string {
	m.build()
	m.root.children = prune(m.root.children, true)
	m.sortAll(m.root.children)
	m.gather()
	m.sortAll(m.root.children)
	out := "* THREAD"
	for i, c := range m.root.children {
		if i == 0 {
			out += " "
		}
		out += "(" + c.String() + ")"
	}
	return out + "\r\n"
}

// threaded runs the code under test on the same messages.
func threaded(messages []modelMessage) string {
	n := len(messages)
	view := make([]mailbox.Message, n)
	t := newThreads(n, []string{"SUBJECT", kindReferences})
	for i, m := range messages {
		view[i].UID = uint32(i + 1)
		t.at = append(t.at, uint32(i))
		k := keyFields{subject: []byte(m.subject)}
		if m.id != "" {
			k.id = []byte("<" + m.id + "@x>")
		}
		for _, r := range m.refs {
			k.references = append(k.references, "<"+r+"@x>\r\n "...)
		}
		for _, kind := range []string{"SUBJECT", kindReferences} {
			t.take(kind, i, keyOf(kind, &k))
		}
		t.date = append(t.date, m.date)
	}
	t.sortByDate()
	t.byReferences()
	pipe := &pipeConn{in: bytes.NewReader(nil)}
	s := &session{conn: guardconn.NewConn(pipe, guardconn.Options{Now: time.Now}), sel: &selected{view: mailbox.ListOf(view)}}
	s.sendThreads(&parser{s: s}, t)
	s.flush()
	s.conn.Close()
	return pipe.out.String()
}

// FuzzThread compares threads with the model.
func FuzzThread(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x02\x03\x02\x01\x01\x04\x03\x02\x12\x05"))
	f.Add([]byte("\x01\x01\x01\x01\x01\x01\x01\x01\x02\x02\x02\x02\x03\x03\x12\x03"))
	f.Fuzz(func(t *testing.T, seed []byte) {
		subjects := []string{"", "a", "Re: a", "b", "[fwd: b]", "c (fwd)", "c", "d"}
		var messages []modelMessage
		for ; len(seed) >= 4 && len(messages) < 30; seed = seed[4:] {
			m := modelMessage{subject: subjects[seed[1]%8], date: int64(seed[1] / 8 % 8)}
			if id := seed[0] % 12; id > 0 {
				m.id = string('a' + rune(id))
			}
			for i := range int(seed[2] % 4) {
				m.refs = append(m.refs, string('a'+rune((int(seed[3])+i*int(seed[2]/4))%12)))
			}
			messages = append(messages, m)
		}
		want := (&model{messages: messages}).threads()
		if got := threaded(messages); got != want {
			t.Fatalf("%+v\ngot  %q\nwant %q", messages, got, want)
		}
	})
}

// TestLongChains: neither a chain of all messages, in whatever order, nor a
// circle overflows or takes more than a moment.
func TestLongChains(t *testing.T) {
	const n = 100_000
	for name, order := range map[string]func(i int) int{
		"ascending":  func(i int) int { return i },
		"descending": func(i int) int { return n - 1 - i },
		"mixed":      func(i int) int { return i * 31 % n },
		"halves":     func(i int) int { return i%2*n/2 + i/2 },
	} {
		messages := make([]modelMessage, n)
		for i := range messages {
			k := order(i)
			messages[i] = modelMessage{id: fmt.Sprint(k), refs: []string{fmt.Sprint((k + n - 1) % n)}, date: int64(k)}
			if k == 0 && name == "ascending" {
				messages[i].refs = nil
			}
		}
		start := time.Now()
		out := threaded(messages)
		t.Logf("%s: %v, %d octets", name, time.Since(start).Round(time.Millisecond), len(out))
		if depth := strings.Count(out, "("); depth != 1 {
			t.Errorf("%s: %d threads", name, depth)
		}
	}
}

// TestCutsInADeepTree: every second message breaks a link of a deep chain.
func TestCutsInADeepTree(t *testing.T) {
	const n = 50_000
	var messages []modelMessage
	for i := range n {
		messages = append(messages, modelMessage{id: fmt.Sprint(i), refs: []string{fmt.Sprint(i - 1)}})
	}
	for i := range n {
		messages = append(messages, modelMessage{id: fmt.Sprint("x", i), refs: []string{fmt.Sprint(n - 1), fmt.Sprint("x", i+1)}})
	}
	out := threaded(messages)
	if len(out) < 2*n {
		t.Error(len(out))
	}
}

// TestBaseSubject: RFC 5256 §2.1 and §5.
func TestBaseSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"":                                  "",
		"hello":                             "hello",
		"Re: hello":                         "hello!",
		"RE : hello":                        "hello!",
		"Fwd: Re:fw: hello":                 "hello!",
		"re[2]: hello":                      "hello!",
		"Re [a b] : hello":                  "hello!",
		"[list] hello":                      "hello",
		"[list] [b] Re: hello":              "hello!",
		"[list] [b]":                        "[b]",
		"[list]":                            "[list]",
		"[]":                                "[]",
		"Re: [list]":                        "[list]!",
		"hello (fwd) (FWD) ":                "hello!",
		"hello(fwd)":                        "hello!",
		"(fwd)":                             "!",
		"[fwd: hello]":                      "hello!",
		"[fwd:[Fwd: Re: hello (fwd)]]":      "hello!",
		"[fwd: hello] there":                "there",
		"[fwd: hello":                       "[fwd: hello",
		"[a[b] hello":                       "[a[b] hello",
		"\t a \t  b ":                       "a b",
		"regarding: x":                      "regarding: x",
		"Re:":                               "!",
		"Re":                                "Re",
		"Re: Re: [x] Re: [y] z":             "z!",
		"AW: hello":                         "AW: hello",
		"Fwded: x":                          "Fwded: x",
		"[" + strings.Repeat("x", 100) + "": "[" + strings.Repeat("x", 100),
	} {
		base, reply := baseSubject(subject)
		if reply {
			base += "!"
		}
		if base != want {
			t.Errorf("%q: %q, want %q", subject, base, want)
		}
	}
}

// slowBase is RFC 5256 §2.1 step by step.
func slowBase(s string) string {
	s = strings.ReplaceAll(s, "\t", " ")
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	for {
		for {
			t := strings.TrimRight(s, " ")
			if len(t) >= 5 && strings.EqualFold(t[len(t)-5:], "(fwd)") {
				t = t[:len(t)-5]
			}
			if t == s {
				break
			}
			s = t
		}
		for {
			before := s
			s = strings.TrimLeft(s, " ")
			rest := s
			for {
				t, ok := cutBlob(rest)
				if !ok {
					break
				}
				rest = t
			}
			if t, ok := cutRefwd(rest); ok {
				s = t
			} else if t, ok := cutBlob(s); ok && t != "" {
				s = t
			}
			if s == before {
				break
			}
		}
		if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || s[len(s)-1] != ']' {
			return s
		}
		s = s[5 : len(s)-1]
	}
}

func FuzzBaseSubject(f *testing.F) {
	for _, s := range []string{"Re: [x] [fwd: a (fwd)]", "[a][b][c]re[x]:[d][e]", " \t(fwd)[fwd:]]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, _ := baseSubject(s)
		if want := slowBase(s[:min(len(s), maxSubject)]); base != want {
			t.Fatalf("%q: %q, want %q", s, base, want)
		}
		if again, reply := baseSubject(base); again != base || reply {
			t.Fatalf("%q: %q is no base, but %q", s, base, again)
		}
	})
}

// FuzzSentDate: what net/mail understands is understood, and as the same.
func FuzzSentDate(f *testing.F) {
	for _, s := range []string{"Fri, 21 Nov 1997 09:55:06 -0600", "21 Nov 97 09:55 GMT", "Thu,\r\n 13 Feb 1969\t23:32 -0330 (Newfoundland Time)",
		"1 Jan 2000 24:00:00 +0000", "31 Feb 2000 00:00 +0000", "Tue, 1 Jul 2003 10:52:37 +0260", "(a(b)) 1 jan 2000", ", 1 Jan 2000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseSent(s)
		want, err := mail.ParseDate(s)
		if err != nil || want.Year() < 1900 || want.Year() > 9999 {
			return
		}
		_, zone := want.Zone()
		if name, _ := want.Zone(); name != "" && name != "GMT" && name != "UT" && name != "UTC" || zone%60 != 0 {
			return // a zone that net/mail takes from the machine
		}
		y, m, day := want.Date()
		if at := time.Date(y, m, day, 0, 0, 0, 0, time.UTC).Unix() / 86400; !ok || int64(d.day) != at {
			t.Fatalf("%q: %+v, %v, want %v", s, d, ok, want)
		}
		if d.unix != want.Unix() {
			t.Fatalf("%q: %v, want %v", s, time.Unix(d.unix, 0).UTC(), want)
		}
	})
}

func TestSentDate(t *testing.T) {
	for text, want := range map[string]string{
		"Fri, 21 Nov 1997 09:55:06 -0600":     "1997-11-21T15:55:06Z",
		"Fri Nov 21 1997":                     "",
		"21 Nov 97 09:55 GMT":                 "1997-11-21T09:55:00Z",
		"21 Nov 49 09:55 Z":                   "2049-11-21T09:55:00Z",
		"Fri, 21 November 1997 9:55 (at) EST": "1997-11-21T14:55:00Z",
		"21 Nov 1997 99:55:06 -0600":          "1997-11-21T00:00:00Z", // RFC 5256 §2.2
		"21 Nov 1997 09:55:06 -9999":          "1997-11-21T09:55:06Z",
		"21 Nov 1997":                         "1997-11-21T00:00:00Z",
		"29 Feb 1900 00:00 +0000":             "",
		"29 Feb 2000 23:59:60 +0000":          "2000-03-01T00:00:00Z",
		"":                                    "",
		"Thu, (comment \\) here) 1 Jan 1970 00:00 -0001": "1970-01-01T00:01:00Z",
	} {
		d, ok := parseSent(text)
		got := ""
		if ok {
			got = time.Unix(d.unix, 0).UTC().Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzMessageID: no octets are no identifiers, and reading them ends.
func FuzzMessageID(f *testing.F) {
	f.Add([]byte("<a@b> (<c@d>) <\"e\\\"\"@f> <g h@i>"), 3)
	f.Fuzz(func(t *testing.T, value []byte, _ int) {
		eachID(value, func(id []byte) bool {
			if !isID(id) || len(id) > len(value) {
				t.Fatalf("%q of %q", id, value)
			}
			return true
		})
	})
}

func TestMessageID(t *testing.T) {
	for text, want := range map[string][]string{
		"<a@b>":                                {"a@b"},
		"x <a@b>y<c@d>, <e@f":                  {"a@b", "c@d"},
		"<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>": {"01KF8JCEOCBS0045PS@xxx.yyy.com"},
		"<a(comment <x@y>)@b>":                 {"a@b"},
		"<a\r\n @b>":                           {"a@b"},
		"<ab> <@b> <a@> <<a@b>":                {"a@b"},
		"<\"a\\\"b\"@c>":                       {"a\"b@c"},
		"<\"unclosed@b> <c@d>":                 nil,
	} {
		var got []string
		eachID([]byte(text), func(id []byte) bool {
			got = append(got, string(id))
			return true
		})
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzPage compares pages with a slow model.
func FuzzPage(f *testing.F) {
	f.Add("1:10", 5)
	f.Add("-1:-3", 7)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = int(uint(n) % 50)
		p := &parser{s: &session{}, line: []byte(text)}
		g, err := p.page()
		if err != nil || !p.done() {
			return
		}
		found := &hits{}
		var want []int
		for i := range n {
			found.add(3 * i)
			place := i + 1
			if g.from < 0 {
				place = i - n
			}
			if min(g.from, g.to) <= place && place <= max(g.from, g.to) {
				want = append(want, 3*i)
			}
		}
		var got []int
		each(found, *g, func(i int) error {
			got = append(got, i)
			return nil
		})
		if !slices.Equal(got, want) {
			t.Fatalf("%q of %d: %v, want %v", text, n, got, want)
		}
	})
}

// BenchmarkSortKeys is what the first SORT or THREAD of a folder computes.
func BenchmarkSortKeys(b *testing.B) {
	header := []byte("Return-Path: <ann@a.example>\r\nReceived: from a by b; Tue, 3 Mar 2020 10:00:00 +0100\r\nDate: Tue, 3 Mar 2020 10:00:00 +0100\r\nFrom: =?utf-8?q?J=C3=B6rg?= Example <joerg@b.example>\r\n" +
		"To: Bob <bob@b.example>\r\nSubject: Re: [list] A subject of some words\r\nMessage-ID: <12345.67890@a.example>\r\nReferences: <1@a.example> <2@a.example>\r\nX-Mailer: none\r\n\r\n")
	for _, kind := range []string{"", "DATE", "SUBJECT", "FROM", kindReferences} {
		b.Run("key "+kind, func(b *testing.B) {
			b.ReportAllocs()
			var k keyFields
			wanted := k.wanted([]string{kind})
			for b.Loop() {
				k.take(header, wanted)
				if kind != "" {
					keyOf(kind, &k)
				}
			}
		})
	}
}
