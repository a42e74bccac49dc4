package imapd

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/mailbox"
)

// A slowSearch message is what the slow evaluator knows of one.
type slowMessage struct {
	flags    string // letters of Maildir
	keyword  bool
	size     int64
	received time.Time
	sent     time.Time // zero: no date
}

// slowSearch evaluates keys one message at a time, reading the text of the query
// itself: prefix notation, as RFC 3501 §6.4.4 has it.
type slowSearch struct {
	words []string
	all   []slowMessage
	now   time.Time
}

func (e *slowSearch) word() string {
	w := e.words[0]
	e.words = e.words[1:]
	return w
}

func (e *slowSearch) list() []bool {
	out := e.yes(func(int) bool { return true })
	for len(e.words) > 0 && e.words[0] != ")" {
		out = both(out, e.key(), func(a, b bool) bool { return a && b })
	}
	return out
}

func (e *slowSearch) yes(f func(i int) bool) []bool {
	out := make([]bool, len(e.all))
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func both(a, b []bool, f func(a, b bool) bool) []bool {
	for i := range a {
		a[i] = f(a[i], b[i])
	}
	return a
}

func (e *slowSearch) key() []bool {
	w := e.word()
	flag := map[string]string{"SEEN": "S", "FLAGGED": "F", "DELETED": "T", "DRAFT": "D", "ANSWERED": "R"}
	switch w {
	case "(":
		out := e.list()
		e.word()
		return out
	case "NOT":
		out := e.key()
		return both(out, out, func(a, _ bool) bool { return !a })
	case "OR":
		return both(e.key(), e.key(), func(a, b bool) bool { return a || b })
	case "ALL":
		return e.yes(func(int) bool { return true })
	case "KEYWORD", "UNKEYWORD":
		known := e.word() == "known"
		return e.yes(func(i int) bool { return (known && e.all[i].keyword) == (w == "KEYWORD") })
	case "UID":
		return e.set(e.word(), true)
	}
	if f, ok := flag[strings.TrimPrefix(w, "UN")]; ok {
		return e.yes(func(i int) bool { return strings.Contains(e.all[i].flags, f) != strings.HasPrefix(w, "UN") })
	}
	if w[0] == '*' || isDigit(w[0]) {
		return e.set(w, false)
	}
	return e.measured(w, e.word())
}

// measured knows sizes and dates.
func (e *slowSearch) measured(w, arg string) []bool {
	var n int64
	fmt.Sscan(arg, &n)
	day, _ := time.Parse(dateLayout, arg)
	on := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
	return e.yes(func(i int) bool {
		m := e.all[i]
		at, ok := m.received, true
		if rest, sent := strings.CutPrefix(w, "SENT"); sent {
			at, ok = m.sent, !m.sent.IsZero()
			return ok && onDay(rest, on(at), day)
		}
		switch w {
		case "LARGER":
			return m.size > n
		case "SMALLER":
			return m.size < n
		case "OLDER":
			return e.now.Sub(at) >= time.Duration(n)*time.Second
		case "YOUNGER":
			return e.now.Sub(at) <= time.Duration(n)*time.Second
		}
		return onDay(w, on(at), day)
	})
}

func onDay(w string, at, day time.Time) bool {
	switch w {
	case "SINCE":
		return !at.Before(day)
	case "BEFORE":
		return at.Before(day)
	}
	return at.Equal(day)
}

// set knows 1:3,*; UIDs are twice the message number.
func (e *slowSearch) set(text string, uid bool) []bool {
	out := make([]bool, len(e.all))
	for _, part := range strings.Split(text, ",") {
		from, to, ranged := strings.Cut(part, ":")
		if !ranged {
			to = from
		}
		number := func(s string) uint64 {
			if s == "*" {
				return uint64(len(e.all))
			}
			var n uint64
			fmt.Sscan(s, &n)
			return n
		}
		a, b := number(from), number(to)
		for i := range out {
			n := uint64(i + 1)
			out[i] = out[i] || min(a, b) <= n && n <= max(a, b)
		}
	}
	return out
}

// slowQuery makes a query of random octets.
type slowQuery struct{ seed []byte }

func (q *slowQuery) n(below int) int {
	if len(q.seed) == 0 {
		return 0
	}
	c := q.seed[0]
	q.seed = q.seed[1:]
	return int(c) % below
}

func (q *slowQuery) key(depth int) string {
	dates := []string{"1-Jan-2020", "2-Jan-2020", "3-Jan-2020", "29-Feb-2020", "31-Dec-2019"}
	plain := []string{"ALL", "SEEN", "UNSEEN", "FLAGGED", "UNFLAGGED", "DELETED", "UNDELETED", "DRAFT", "UNDRAFT", "ANSWERED", "UNANSWERED",
		"KEYWORD known", "UNKEYWORD known", "KEYWORD unknown", "UNKEYWORD unknown"}
	number := func() string { return []string{"0", "1", "30", "60", "61", "90", "4294967295"}[q.n(7)] }
	switch k := q.n(10); {
	case k < 2 && depth < 6:
		return "NOT " + q.key(depth+1)
	case k == 2 && depth < 6:
		return "OR " + q.key(depth+1) + " " + q.key(depth+1)
	case k == 3 && depth < 6:
		return "( " + q.key(depth+1) + " " + q.key(depth+1) + " )"
	case k == 4:
		return []string{"SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON"}[q.n(6)] + " " + dates[q.n(len(dates))]
	case k == 5:
		return []string{"LARGER", "SMALLER"}[q.n(2)] + " " + number()
	case k == 6:
		return []string{"OLDER", "YOUNGER"}[q.n(2)] + " " + []string{"1", "86400", "172800", "4294967295"}[q.n(4)]
	case k == 7:
		ends := []string{"1", "2", "5", "9", "12", "*", "4294967295"}
		set := ends[q.n(7)] + ":" + ends[q.n(7)] + "," + ends[q.n(7)]
		return []string{"", "UID "}[q.n(2)] + set
	}
	return plain[q.n(len(plain))]
}

// slowMailbox makes a mailbox whose messages differ in what keys without
// text ask for.
func slowMailbox(t testing.TB, now time.Time) (*Options, []slowMessage) {
	host := newHost(t)
	root := filepath.Join(t.TempDir(), "m")
	account, err := host.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	f, err := account.Folder(mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []slowMessage
	for i := range 12 {
		m := slowMessage{keyword: i%3 == 0, received: now.Add(-time.Duration(i) * 7 * time.Hour)}
		var flags mailbox.Flags
		for bit, letter := range "DFPRST" {
			if i>>(bit%4)&1 == bit%2 {
				flags |= 1 << bit
				m.flags += string(letter)
			}
		}
		header := "X: " + strings.Repeat("x", 5*i) + "\r\n"
		if i%4 != 3 {
			m.sent = now.Add(time.Duration(i) * 11 * time.Hour).In(time.FixedZone("", (i-6)*3600))
			header += "Date: " + m.sent.Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\r\n"
		}
		header += "\r\n"
		m.size = int64(len(header))
		var keywords []string
		if m.keyword {
			keywords = []string{"Known"}
		}
		if _, err := f.Append(flags, keywords, m.received, func(w io.Writer) error { _, err := io.WriteString(w, header); return err }); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return &Options{Host: host, Now: func() time.Time { return now }, Rand: rand.Reader, Limits: DefaultLimits(), Preauth: root, Hostname: "h"}, all
}

// FuzzSearch compares SEARCH with an evaluator that knows no shortcuts.
func FuzzSearch(f *testing.F) {
	for _, seed := range []string{"", "\x00\x02\x04\x01\x02", "\x03\x01\x02\x00\x09\x0b\x04\x02\x01", "\x07\x01\x05\x06\x01\x00\x02\x05\x01\x03"} {
		f.Add([]byte(seed))
	}
	now := time.Date(2020, 1, 3, 12, 0, 0, 0, time.UTC)
	o, all := slowMailbox(f, now)
	f.Fuzz(func(t *testing.T, seed []byte) { compareSearch(t, o, all, seed) })
}

// TestSearchIsThatOfASlowOne runs some hundred queries of FuzzSearch.
func TestSearchIsThatOfASlowOne(t *testing.T) {
	o, all := slowMailbox(t, time.Date(2020, 1, 3, 12, 0, 0, 0, time.UTC))
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for range 300 {
		seed := make([]byte, 4+r.IntN(40))
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		compareSearch(t, o, all, seed)
	}
}

func compareSearch(t *testing.T, o *Options, all []slowMessage, seed []byte) {
	q := &slowQuery{seed}
	query := q.key(0)
	for len(q.seed) > 0 && len(query) < 500 {
		query += " " + q.key(0)
	}
	e := &slowSearch{words: strings.Fields(query), all: all, now: o.Now()}
	want := "* SEARCH"
	for i, ok := range e.list() {
		if ok {
			want += fmt.Sprintf(" %d", i+1)
		}
	}
	sent := strings.NewReplacer("( ", "(", " )", ")").Replace(query)
	out := talk(o, []byte("a EXAMINE INBOX\r\nb SEARCH "+sent+"\r\n"))
	if !bytes.Contains(out, []byte(want+"\r\nb OK")) {
		t.Fatalf("SEARCH %s\ngot  %s\nwant %s", sent, out[max(0, bytes.LastIndex(out, []byte("* "))):], want)
	}
}
