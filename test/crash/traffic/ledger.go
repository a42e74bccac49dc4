// Package traffic makes mail for the tests that break things meanwhile: it
// sends and reads by all protocols, and keeps a ledger of what was promised.
package traffic

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Ledger knows every message that was made, and which of them a server
// promised to keep.
type Ledger struct {
	count atomic.Int64 // acknowledged

	mu       sync.Mutex
	made     map[string][sha256.Size]byte
	promised map[string]bool
	arrived  map[string]map[string]bool // by id: the names of copies that were seen
	doubtful map[string]bool            // deleted, or not: nobody heard the answer
	wrong    []string
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{made: map[string][sha256.Size]byte{}, promised: map[string]bool{}, arrived: map[string]map[string]bool{}, doubtful: map[string]bool{}}
}

// field begins the part of a message that no server may change.
const field = "X-Ledger: "

// MakeLarge makes a message of about size octets.
func (l *Ledger) MakeLarge(id string, size int) []byte {
	return l.make(id, func(b *bytes.Buffer) {
		b.Write(bytes.Repeat([]byte("0123456789 0123456789 0123456789\r\n"), size/34))
	})
}

// Make makes a message of at most about most octets, with lines that begin
// with dots, octets above 127, and empty lines.
func (l *Ledger) Make(r *rand.Rand, id string, most int) []byte {
	return l.make(id, func(b *bytes.Buffer) {
		for size := r.IntN(most); b.Len() < size; {
			b.WriteString([]string{".", "..", "", "سلام ", "0123456789 "}[r.IntN(5)])
			b.WriteString(strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(70)))
			b.WriteString("\r\n")
		}
	})
}

func (l *Ledger) make(id string, fill func(*bytes.Buffer)) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\r\nFrom: <alice@example.test>\r\nTo: <b@client.example>\r\nDate: Mon, 23 Nov 2026 05:00:00 +0000\r\nMessage-ID: <%s@client.example>\r\nSubject: %s\r\n\r\n", field, id, id, id)
	fill(&b)
	fmt.Fprintf(&b, "end of %s\r\n", id)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made[id] = sha256.Sum256(b.Bytes())
	return b.Bytes()
}

// Promise notes that a message was acknowledged.
func (l *Ledger) Promise(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.promised[id] {
		l.promised[id] = true
		l.count.Add(1)
	}
}

// Promised is how many messages were acknowledged so far.
func (l *Ledger) Promised() int { return int(l.count.Load()) }

var idOf = regexp.MustCompile(`(?m)^` + field + `(\S+)\r?$`)

// See notes one copy of a message that was found, by a name that this copy
// alone has, and returns its id; "" is no message of ours. A message that is
// not, octet for octet, what was made is an error of the verdict.
func (l *Ledger) See(copy string, text []byte) (id string) {
	at := idOf.FindSubmatchIndex(text)
	if at == nil {
		return ""
	}
	id = string(text[at[2]:at[3]])
	rest := text[at[0]:]
	if !bytes.Contains(rest, []byte("\r\n")) { // as in a Maildir
		rest = bytes.ReplaceAll(rest, []byte("\n"), []byte("\r\n"))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch sum, ok := l.made[id]; {
	case !ok:
		l.wrongLocked("%s: %s was never sent", copy, id)
	case sum != sha256.Sum256(rest):
		l.wrongLocked("%s: %s is not what was sent: %d octets", copy, id, len(rest))
	default:
		if l.arrived[id] == nil {
			l.arrived[id] = map[string]bool{}
		}
		l.arrived[id][copy] = true
	}
	return id
}

// Doubt notes that a copy was about to be deleted when the answer was lost.
func (l *Ledger) Doubt(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubtful[id] = true
}

// Wrong notes something that must not happen.
func (l *Ledger) Wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrongLocked(format, args...)
}

func (l *Ledger) wrongLocked(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// A Verdict is what became of all messages.
type Verdict struct {
	Promised   int
	Lost       []string // promised, and nowhere
	Extra      int      // copies beyond the first
	Copies     []string // of some that have several
	Unpromised int      // not acknowledged, and there: allowed
	Wrong      []string // not what was sent, and whatever else was noted
}

// Verdict counts. Copies that were seen earlier under another name and are
// now elsewhere must have been forgotten with Forget.
func (l *Ledger) Verdict() Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Promised: len(l.promised), Wrong: l.wrong}
	for id := range l.promised {
		if len(l.arrived[id]) == 0 && !l.doubtful[id] {
			v.Lost = append(v.Lost, id)
		}
	}
	for id, copies := range l.arrived {
		v.Extra += len(copies) - 1
		if len(copies) > 1 && len(v.Copies) < 10 {
			v.Copies = append(v.Copies, fmt.Sprint(id, ": ", slices.Sorted(maps.Keys(copies))))
		}
		if !l.promised[id] {
			v.Unpromised++
		}
	}
	return v
}

// Missing reports how many promised messages were not seen yet.
func (l *Ledger) Missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.promised {
		if len(l.arrived[id]) == 0 && !l.doubtful[id] {
			n++
		}
	}
	return n
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d acknowledged, %d lost, %d wrong, %d extra copies, %d more than was acknowledged", v.Promised, len(v.Lost), len(v.Wrong), v.Extra, v.Unpromised)
}
